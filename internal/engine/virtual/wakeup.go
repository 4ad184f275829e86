package virtual

import (
	"fmt"
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// What tasks of a world wait for each other with. The world chooses at random which task
// runs next, but not whose Wait a Set is for: that is part of the contract.

// Start starts a task that Run expects to end, unless the calling task is a daemon.
func (r runtime) Start(f func()) { r.w.child(f) }

// child starts f as a task of the same kind as the calling one.
func (w *World) child(f func()) *task {
	parent := w.running()
	w.born++
	return w.start(fmt.Sprintf("%s/%d", parent.name, w.born), parent.daemon, f)
}

// A wakeup is an engine.Wakeup of a world.
type wakeup struct {
	w       *World
	set     bool      // no task has taken it; then none waits
	waiting []*waiter // in the order in which they came
}

// A waiter is one call of Wait.
type waiter struct {
	wake    cond
	granted bool // a Set was handed over to it
}

func (r runtime) NewWakeup() engine.Wakeup { return &wakeup{w: r.w} }

func (u *wakeup) Set() {
	if len(u.waiting) == 0 {
		u.set = true
		return
	}
	first := u.waiting[0]
	u.waiting = slices.Delete(u.waiting, 0, 1)
	first.granted = true
	u.w.wake(&first.wake)
}

func (u *wakeup) Reset() { u.set = false }

func (u *wakeup) Wait(by time.Duration) error {
	w := u.w
	switch {
	case u.set:
		u.set = false
		return nil
	case w.stopping:
		w.pass(w.running())
		return engine.ErrStopping
	}
	self := &waiter{}
	u.waiting = append(u.waiting, self)
	for !self.granted {
		woken := w.wait(&self.wake, by, "wakeup")
		var err error
		switch {
		case self.granted:
		case w.stopping:
			err = engine.ErrStopping
		case !woken:
			err = engine.ErrTimeout
		}
		if err != nil {
			i := slices.Index(u.waiting, self)
			u.waiting = slices.Delete(u.waiting, i, i+1)
			return err
		}
	}
	return nil
}

// A lock is an engine.Lock of a world, where one task runs at a time: it only finds
// mistakes.
type lock struct {
	w    *World
	held bool
}

func (r runtime) NewLock() engine.Lock { return &lock{w: r.w} }

func (k *lock) Lock() {
	if k.held {
		panic("virtual: a lock is taken that is held")
	}
	k.held = true
	if t := k.w.current; t != nil {
		t.locks++
	}
}

func (k *lock) Unlock() {
	k.MustHold()
	k.held = false
	if t := k.w.current; t != nil {
		t.locks--
	}
}

func (k *lock) MustHold() {
	if !k.held {
		panic("virtual: a lock is not held")
	}
}

// leave gives the processor back until t is resumed.
func (t *task) leave() {
	if t.locks > 0 {
		panic("virtual: a task waits while it holds a lock")
	}
	t.yield(struct{}{})
}
