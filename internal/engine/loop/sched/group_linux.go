package sched

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// A Group is a set of loops that start and end together, with the goroutines that work for
// them. Its methods may be called from any goroutine; Close waits, and so not from a task.
type Group struct {
	// Logger returns what is to log panics. It is set before Run.
	Logger func() *slog.Logger

	epoch   time.Time
	first   int // number of the first loop as a worker
	loops   []*Loop
	watch   *watch         // nil: the loops are not watched
	done    sync.WaitGroup // the loops
	side    sync.WaitGroup // what tasks have done elsewhere, and logging
	stopped sync.Once
	pool    pool
}

// NewGroup returns a group without loops. Their clocks will count from epoch, which has to
// be in the past, and their numbers as workers are first and those after it.
func NewGroup(epoch time.Time, first int) *Group {
	return &Group{epoch: epoch, first: first, Logger: slog.Default, pool: pool{most: max(1, runtime.GOMAXPROCS(0)/2)}}
}

// Add makes l, whose fields are zero, a loop of g, which does not run yet. If it fails the
// loops that were added are closed.
func (g *Group) Add(l *Loop) error {
	if err := l.open(g, len(g.loops)); err != nil {
		for _, l := range g.loops {
			l.close()
		}
		g.loops = nil
		return err
	}
	g.loops = append(g.loops, l)
	return nil
}

// Run starts the loops. Close ends them.
func (g *Group) Run() {
	for _, l := range g.loops {
		g.done.Add(1)
		go l.main()
	}
}

// Start runs f as a task of loop i and does not wait for it. After Close it fails with
// engine.ErrStopping.
func (g *Group) Start(i int, f func()) error {
	l := g.loops[i]
	if !l.Post(MessageFunc(func() { l.Start(f) })) {
		return engine.ErrStopping
	}
	return nil
}

// Close ends the loops. Everything that waits fails with engine.ErrStopping, then and
// later; Close returns when every task has returned, so tasks have to heed that error.
func (g *Group) Close() {
	g.stopped.Do(func() {
		for _, l := range g.loops {
			l.Post(MessageFunc(l.stop))
		}
	})
	g.done.Wait()
	g.side.Wait()
	g.watch.end()
}

// log logs on a goroutine: a log may block.
func (g *Group) log(level slog.Level, text string, args ...any) {
	logger := g.Logger()
	g.side.Go(func() { logger.Log(context.Background(), level, text, args...) })
}
