package sched

import (
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
)

// What tasks of one loop wait for each other with. All of them run on one goroutine, one at
// a time, so an event is a flag and a list, and a lock is nothing: neither goes through the
// mailbox, as a signal has to.
//
// Set hands itself over to the task that waits longest, and that task need not compete with
// those that call Wait before it runs:
//
//	A: Wait     -> parks, is in the list
//	B: Set      -> takes A off the list, marks it as granted, wakes it
//	C: Wait     -> parks: the Set of B is A's
//	A:          -> runs in the same turn, sees that it was granted, returns nil

// wokenMost bounds the tasks that events wake and that run in the same turn: two tasks that
// wake each other must not keep the loop from its sockets.
const wokenMost = 64

// An event is an engine.Event of a loop.
type event struct {
	loop        *Loop
	set         bool  // no task has taken it; then none waits
	first, last *Task // that wait, linked by task.behind; nil: none
}

// NewEvent returns an unset Event.
func (l *Loop) NewEvent() engine.Event { return &event{loop: l} }

// Set may also be called by an event of a socket, which no task is running for.
func (e *event) Set() {
	t := e.first
	if t == nil {
		e.set = true
		return
	}
	e.unlink(nil, t)
	t.granted = true
	e.loop.wakeSoon(t)
}

// Reset is for an event that no task waits for, and does nothing to others.
func (e *event) Reset() { e.set = false }

// Wait parks the calling task until a Set is handed to it.
func (e *event) Wait(by time.Duration) error {
	l := e.loop
	l.Spend()
	switch {
	case e.set:
		e.set = false
		return nil
	case l.stopping:
		l.Pause() // a task that waits again and again, in spite of the error, blocks no other
		return engine.ErrStopping
	case by != 0 && by <= l.now:
		return engine.ErrTimeout
	}
	t := l.caller()
	e.link(t)
	for {
		t.parkUntil(by)
		switch {
		case t.granted:
			t.granted = false
			return nil
		case l.stopping:
			e.remove(t)
			return engine.ErrStopping
		case by != 0 && by <= l.now:
			e.remove(t)
			return engine.ErrTimeout
		}
	}
}

// link puts t at the end of the list.
func (e *event) link(t *Task) {
	if e.last == nil {
		e.first = t
	} else {
		e.last.behind = t
	}
	e.last = t
}

// remove takes t, which is in the list, out of it.
func (e *event) remove(t *Task) {
	var before *Task
	for x := e.first; x != t; x = x.behind {
		before = x
	}
	e.unlink(before, t)
}

// unlink takes t out of the list; before is the one in front of it, nil: t is the first.
func (e *event) unlink(before, t *Task) {
	if before == nil {
		e.first = t.behind
	} else {
		before.behind = t.behind
	}
	if e.last == t {
		e.last = before
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
