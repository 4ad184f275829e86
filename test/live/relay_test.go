package live

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A relay is the network between poise and a server, which can be cut.
type relay struct {
	address, target string

	mu       sync.Mutex
	changed  *sync.Cond
	mode     mode
	listener net.Listener
	conns    map[net.Conn]struct{}
	accepted int
	group    sync.WaitGroup
}

type mode int

const (
	open    mode = iota
	hole         // connections live, and nothing passes; what was sent waits
	cut          // connections are reset, and there is no listener
	stopped      // for ever
)

// newRelay listens on address for a server that listens, sooner or later, on target.
func newRelay(t *testing.T, address, target string) *relay {
	t.Helper()
	r := &relay{address: address, target: target, mode: cut, conns: make(map[net.Conn]struct{})}
	r.changed = sync.NewCond(&r.mu)
	r.set(t, open)
	t.Cleanup(func() {
		r.set(t, stopped)
		r.group.Wait()
	})
	return r
}

// set changes what the network does.
func (r *relay) set(t *testing.T, m mode) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode == m {
		return
	}
	r.mode = m
	r.changed.Broadcast()
	if m == cut || m == stopped {
		if r.listener != nil {
			r.listener.Close()
			r.listener = nil
		}
		for c := range r.conns {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
		clear(r.conns)
		return
	}
	if r.listener == nil {
		l, err := net.Listen("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		r.listener = l
		r.group.Go(func() { r.accept(l) })
	}
}

func (r *relay) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r.group.Go(func() { r.serve(c) })
	}
}

// serve joins a connection with one to the server. What does not belong together any more
// is closed at both ends.
func (r *relay) serve(c net.Conn) {
	defer c.Close()
	defer r.forget(c)
	if !r.pass(c) {
		return
	}
	s, err := net.Dial("tcp", r.target)
	if err != nil {
		c.(*net.TCPConn).SetLinger(0) // as if there were no listener
		return
	}
	defer s.Close()
	defer r.forget(s)
	r.mu.Lock()
	r.accepted++
	r.mu.Unlock()
	if !r.pass(s) {
		return
	}
	var there sync.WaitGroup
	there.Go(func() { r.copy(s, c) })
	r.copy(c, s)
	there.Wait()
}

// pass waits while nothing passes, and reports whether something may now. It notes the
// connection, so that a cut ends it.
func (r *relay) pass(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = struct{}{}
	for r.mode == hole {
		r.changed.Wait()
	}
	_, mine := r.conns[c] // unless it was cut meanwhile
	return mine && r.mode == open
}

func (r *relay) forget(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *relay) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !r.pass(to) {
				break
			}
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err == io.EOF {
			to.(*net.TCPConn).CloseWrite()
			return
		}
		if err != nil {
			break
		}
	}
	to.Close()
	from.Close()
}

// count is the number of connections that were made since the last call.
func (r *relay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.accepted
	r.accepted = 0
	return n
}
