package sched

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// A signal wakes tasks of its loop from any goroutine. Between tasks of one loop a wakeup
// (event_linux.go) does the same in the same turn and without a lock.

// A signal is one slot. Set posts a message, since any goroutine may call it.
type signal struct {
	loop    *Loop
	set     atomic.Bool
	posted  atomic.Bool // the message is on its way
	waiting []*Task
}

// NewSignal returns an unset Signal, whose Wait is called by tasks of this loop only.
func (l *Loop) NewSignal() engine.Signal { return &signal{loop: l} }

func (g *signal) Set() {
	g.set.Store(true)
	if !g.posted.Swap(true) {
		g.loop.Post(g)
	}
}

// Receive implements Message. It wakes all tasks that wait: the first to run takes the slot.
func (g *signal) Receive() {
	g.posted.Store(false)
	for _, t := range g.waiting {
		g.loop.Wake(t)
	}
}

func (g *signal) Wait(by time.Duration) bool {
	l := g.loop
	l.Spend()
	for {
		if g.set.Swap(false) {
			return true
		}
		if l.stopping {
			l.Pause()
			return false
		}
		if by != 0 && by <= l.now {
			return false
		}
		t := l.caller()
		g.waiting = append(g.waiting, t)
		t.parkUntil(by)
		i := slices.Index(g.waiting, t)
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
}
