package loop

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"github.com/poise-lb/poise/internal/record"
)

// A Serve serves one client connection on the calling task, a task of rt, until it ends, or has it
// served by tasks that s starts (WhenReady). It closes s. remote is the zero value for unix sockets.
type Serve func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort)

// An Engine is a set of loops. Its methods may be called from any goroutine; Serve,
// Close and Listener.Close wait, and so not from a task.
type Engine struct {
	// Logger logs panics, and that accepting fails. Nil: slog.Default(). It is set
	// before the first Start or Serve.
	Logger *slog.Logger

	group *sched.Group
	loops []*loop
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
	e := &Engine{group: sched.NewGroup(epoch, first)}
	e.group.Logger = func() *slog.Logger { return cmp.Or(e.Logger, slog.Default()) }
	for range n {
		l := &loop{engine: e}
		if err := e.group.Add(&l.Loop); err != nil {
			return nil, fmt.Errorf("event loop: %w", err)
		}
		e.loops = append(e.loops, l)
	}
	e.group.Run()
	return e, nil
}

// Runtime is the runtime of loop i.
func (e *Engine) Runtime(i int) engine.Runtime { return e.loops[i] }

// Start runs f as a task of loop i and does not wait for it. After Close it fails with
// engine.ErrStopping.
func (e *Engine) Start(i int, f func()) error { return e.group.Start(i, f) }

// Loops is how many there are.
func (e *Engine) Loops() int { return len(e.loops) }

// Busy is how long loop i has not waited for events since it began.
func (e *Engine) Busy(i int) time.Duration { return e.loops[i].Busy() }

// Lag is how long events of loop i waited at most until they were fetched.
func (e *Engine) Lag(i int) *record.Histogram { return e.loops[i].Lag() }

// Clients is how many connections that Serve has accepted loop i has.
func (e *Engine) Clients(i int) int { return int(e.loops[i].clients.Load()) }

// A Block is a task that did not wait for too long: see Watch.
type Block = sched.Block

// Watch has report called, on a goroutine of its own, when a task keeps a loop for longer
// than limit; once for each time. It costs too much for every day and belongs in tests.
// It is called before the first Start or Serve, and ends with Close.
func (e *Engine) Watch(limit time.Duration, report func(Block)) { e.group.Watch(limit, report) }

// Close ends the engine. Everything that waits fails with engine.ErrStopping, then and
// later; Close returns when every task has returned, so tasks have to heed that error.
func (e *Engine) Close() {
	e.group.Close()
	for _, l := range e.loops {
		l.pipes.closeAll() // the loop has ended
	}
}
