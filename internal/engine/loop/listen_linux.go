package loop

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
)

// A Listener of the engine is one listener of each loop, all for the same queue of
// connections in the kernel: here is how they are made and end. accept_linux.go has one
// loop's share, arrival_linux.go what becomes of a connection.

// A Listener accepts connections for an Engine.
type Listener struct {
	engine *Engine
	origin net.Listener // closed with it: that of a unix socket has to remove its name
	kind   kind
	serve  Serve
	waits  bool                // serve is called as a task; else by no task
	admit  *admission.Listener // asked before a connection is accepted; nil: all are
	shares []*listener
	open   sync.WaitGroup // shares that still accept
	warned atomic.Int64   // the last instant at which a failure to accept was logged; 0: never
	closed sync.Once
	err    error
}

// Serve accepts the connections of l, a *net.TCPListener or *net.UnixListener, and has
// serve called for each, as a task. It does not wait. All loops accept; one that has more
// connections than its share hands new ones to the emptiest. l belongs to the Listener:
// it is closed by Close. admit is asked before a connection is accepted; nil: all are.
func (e *Engine) Serve(l net.Listener, admit *admission.Listener, serve Serve) (*Listener, error) {
	return e.listen(&Listener{engine: e, origin: l, admit: admit, serve: serve, waits: true})
}

// Begin is Serve for a function that never waits: it is called on the loop, by no task, and
// returns at once. That saves a task, and two switches of coroutines, for each connection.
func (e *Engine) Begin(l net.Listener, admit *admission.Listener, begin Serve) (*Listener, error) {
	return e.listen(&Listener{engine: e, origin: l, admit: admit, serve: begin})
}

// listen has all loops accept for a.
func (e *Engine) listen(a *Listener) (*Listener, error) {
	l := a.origin
	c, ok := l.(syscall.Conn)
	switch l.(type) {
	case *net.TCPListener:
	case *net.UnixListener:
		a.kind = local
	default:
		ok = false
	}
	if !ok {
		return nil, fmt.Errorf("loop: %T is neither a TCP nor a unix listener", l)
	}
	for _, to := range e.loops {
		fd, err := duplicate(c)
		if err != nil {
			a.Close()
			return nil, err
		}
		if a.kind == tcp {
			prepare(fd)
		}
		x := &listener{owner: a, loop: to, fd: fd, most: 1}
		x.timer.Owner = x
		a.open.Add(1)
		a.shares = append(a.shares, x)
		failed := make(chan error, 1)
		if to.Post(sched.MessageFunc(func() { failed <- x.begin() })) {
			err = <-failed
		} else {
			closeFD(fd)
			a.open.Done()
			a.shares = a.shares[:len(a.shares)-1]
			err = net.ErrClosed
		}
		if err != nil {
			a.Close()
			return nil, err
		}
	}
	return a, nil
}

// Addr is where it listens. Any goroutine may call it.
func (a *Listener) Addr() net.Addr { return a.origin.Addr() }

// Close ends accepting. When it returns no further connection is accepted; those that
// were live on.
func (a *Listener) Close() error {
	a.closed.Do(func() {
		for _, x := range a.shares {
			x.loop.Post(sched.MessageFunc(func() { x.end() })) // a loop that has ended has done so
		}
		a.open.Wait()
		a.err = a.origin.Close()
	})
	return a.err
}
