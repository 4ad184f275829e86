package loop

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/engine"
)

// A Serve serves one client connection on the calling task, a task of rt, until it ends.
// It closes s. remote is the zero value for unix sockets.
type Serve func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort)

// An Engine is a set of loops. Its methods may be called from any goroutine; Serve,
// Close and Listener.Close wait, and so not from a task.
type Engine struct {
	// Logger is told of panics and of accepting that fails. Nil: slog.Default(). It is set
	// before the first Start or Serve.
	Logger *slog.Logger
	// Admission is asked before a connection is accepted. Nil: all are. It is set before the
	// first Serve.
	Admission *admission.Control

	epoch time.Time
	first int // number of the first loop as a worker
	loops []*loop
	watch *watch         // nil: nobody watches
	done  sync.WaitGroup // the loops
	side  sync.WaitGroup // what tasks have done elsewhere, and logging
	close sync.Once

	helpers helpers
	rooted  atomic.Bool // the system's roots of trust have been read
}

// New starts n loops; zero or less: as many as there are processors to run Go. Close
// ends them.
func New(n int) (*Engine, error) { return NewBeside(time.Now().Add(-time.Second), n, 0) }

// NewBeside is New for loops that work together with another runtime: their clocks count
// from the same epoch, which has to be in the past, and their numbers as workers are first
// and those after it.
func NewBeside(epoch time.Time, n, first int) (*Engine, error) {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	e := &Engine{epoch: epoch, first: first, helpers: helpers{most: max(1, runtime.GOMAXPROCS(0)/2)}}
	for i := range n {
		l, err := newLoop(e, i)
		if err != nil {
			for _, l := range e.loops {
				l.close()
			}
			return nil, fmt.Errorf("event loop: %w", err)
		}
		e.loops = append(e.loops, l)
	}
	for _, l := range e.loops {
		e.done.Add(1)
		go l.main() // ends with Close
	}
	return e, nil
}

// Runtime is the runtime of loop i.
func (e *Engine) Runtime(i int) engine.Runtime { return e.loops[i] }

// Start runs f as a task of loop i and does not wait for it. After Close it fails with
// engine.ErrStopping.
func (e *Engine) Start(i int, f func()) error {
	if !e.loops[i].mail.post(letterFunc(func(l *loop) { l.start(f, nil, nil) })) {
		return engine.ErrStopping
	}
	return nil
}

// Close ends the engine. Everything that waits fails with engine.ErrStopping, then and
// later; Close returns when every task has returned, so tasks have to heed that error.
func (e *Engine) Close() {
	e.close.Do(func() {
		for _, l := range e.loops {
			l.mail.post(letterFunc((*loop).stop))
		}
	})
	e.done.Wait()
	e.side.Wait()
	e.watch.end()
}

// emptiest is the loop with the fewest clients.
func (e *Engine) emptiest() *loop {
	best := e.loops[0]
	for _, l := range e.loops[1:] {
		if l.clients.Load() < best.clients.Load() {
			best = l
		}
	}
	return best
}

// place is the loop for a connection that l has accepted: l itself, or the emptiest if l
// has more than 1.1 times its share. The kernel wakes the loops unevenly.
func (e *Engine) place(l *loop) *loop {
	if len(e.loops) == 1 {
		return l
	}
	var total int64
	for _, o := range e.loops {
		total += int64(o.clients.Load())
	}
	if n := int64(len(e.loops)); 10*n*int64(l.clients.Load()) <= 11*total {
		return l
	}
	return e.emptiest()
}

// say logs where it delays no loop.
func (e *Engine) say(level slog.Level, text string, args ...any) {
	logger := e.Logger
	if logger == nil {
		logger = slog.Default()
	}
	e.side.Go(func() { logger.Log(context.Background(), level, text, args...) })
}
