package loop

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// A signal is one slot. Set says so in a letter, since it may come from anywhere.
type signal struct {
	loop    *loop
	set     atomic.Bool
	posted  atomic.Bool // a letter is on its way
	waiting []*task
}

// NewSignal returns an unset Signal, whose Wait is called by tasks of this loop only.
func (l *loop) NewSignal() engine.Signal { return &signal{loop: l} }

func (g *signal) Set() {
	g.set.Store(true)
	if !g.posted.Swap(true) {
		g.loop.mail.post(g)
	}
}

// open wakes all who wait: the first to run takes the slot.
func (g *signal) open(l *loop) {
	g.posted.Store(false)
	for _, t := range g.waiting {
		l.wake(t)
	}
}

func (g *signal) Wait(by time.Duration) bool {
	l := g.loop
	l.spend()
	for {
		if g.set.Swap(false) {
			return true
		}
		if l.stopping {
			l.pause()
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
