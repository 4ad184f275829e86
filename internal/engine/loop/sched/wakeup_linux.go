package sched

import (
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
)

// What tasks of one loop wait for each other with. All of them run on one goroutine, one at
// a time, so a wakeup is a flag and a list, and a lock is nothing: neither goes through the
// mailbox, as a signal has to.
//
// Set hands itself over to the task that waits longest, and that task need not compete with
// those that call Wait before it runs:
//
//	A: Wait     -> parks, is in the list
//	B: Set      -> takes A off the list, marks it as granted, wakes it
//	C: Wait     -> parks: the Set of B is A's
//	A:          -> runs in the same turn, sees that it was granted, returns nil

// wokenMost bounds the tasks that wakeups wake and that run in the same turn: two tasks that
// wake each other must not keep the loop from its sockets.
const wokenMost = 64

// A wakeup is an engine.Wakeup of a loop.
type wakeup struct {
	loop        *Loop
	set         bool  // no task has taken it; then none waits
	first, last *Task // that wait, linked by task.behind; nil: none
}

// NewWakeup returns an unset Wakeup.
func (l *Loop) NewWakeup() engine.Wakeup { return &wakeup{loop: l} }

// Set may also be called by an event of a socket, which no task is running for.
func (u *wakeup) Set() {
	t := u.first
	if t == nil {
		u.set = true
		return
	}
	u.unlink(nil, t)
	t.granted = true
	u.loop.wakeSoon(t)
}

// Reset is for a wakeup that no task waits for, and does nothing to others.
func (u *wakeup) Reset() { u.set = false }

// Wait parks the calling task until a Set is handed to it.
func (u *wakeup) Wait(by time.Duration) error {
	l := u.loop
	l.Spend()
	switch {
	case u.set:
		u.set = false
		return nil
	case l.stopping:
		l.Pause() // a task that waits again and again, in spite of the error, blocks no other
		return engine.ErrStopping
	case by != 0 && by <= l.now:
		return engine.ErrTimeout
	}
	t := l.caller()
	u.link(t)
	for {
		t.parkUntil(by)
		switch {
		case t.granted:
			t.granted = false
			return nil
		case l.stopping:
			u.remove(t)
			return engine.ErrStopping
		case by != 0 && by <= l.now:
			u.remove(t)
			return engine.ErrTimeout
		}
	}
}

// link puts t at the end of the list.
func (u *wakeup) link(t *Task) {
	if u.last == nil {
		u.first = t
	} else {
		u.last.behind = t
	}
	u.last = t
}

// remove takes t, which is in the list, out of it.
func (u *wakeup) remove(t *Task) {
	var before *Task
	for x := u.first; x != t; x = x.behind {
		before = x
	}
	u.unlink(before, t)
}

// unlink takes t out of the list; before is the one in front of it, nil: t is the first.
func (u *wakeup) unlink(before, t *Task) {
	if before == nil {
		u.first = t.behind
	} else {
		before.behind = t.behind
	}
	if u.last == t {
		u.last = before
	}
	t.behind = nil
}

// A lock is an engine.Lock of a loop. Without the tag invariants its methods are empty.
type lock struct {
	loop *Loop
	held bool
}

// NewLock returns a Lock that is not held.
func (l *Loop) NewLock() engine.Lock { return &lock{loop: l} }

func (k *lock) Lock() {
	if !invariants.Enabled {
		return
	}
	if k.held {
		panic("sched: a lock is taken that is held")
	}
	k.held = true
	if t := k.loop.current; t != nil {
		t.locks++
	}
}

func (k *lock) Unlock() {
	if !invariants.Enabled {
		return
	}
	k.MustHold()
	k.held = false
	if t := k.loop.current; t != nil {
		t.locks--
	}
}

func (k *lock) MustHold() {
	if invariants.Enabled && !k.held {
		panic("sched: a lock is not held")
	}
}
