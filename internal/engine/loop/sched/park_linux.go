package sched

import "github.com/poise-lb/poise/internal/invariants"

// How tasks stop and go on. Everything that waits is built of three calls:
//
//	Current   which task is this? It is noted where the waker finds it
//	Park      the loop goes on with others
//	Wake      the task is ready again; it has to look at what it waits for
//
// Park costs a switch of coroutines, some 100 ns, and no system call. No wake-up is lost,
// since nothing else runs on the loop between the look and the Park.

// Burst is how many reads and writes a task may do in a row before others have their turn:
// see Loop.Spend.
const Burst = 32

// Wake lets t, which is parked, go on: in this turn if an Event, an Expire or a Receive calls
// it, in the next one if a task does. It does nothing if t is nil or was woken already. A task
// that is woken looks again at what it waits for.
func (l *Loop) Wake(t *Task) {
	if t != nil && !t.queued {
		t.queued = true
		l.ready.push(t)
	}
}

// wakeSoon is Wake for a task that runs in this turn, before events are looked at again.
func (l *Loop) wakeSoon(t *Task) {
	if !t.queued {
		t.queued = true
		l.woken.push(t)
	}
}

// Current is the calling task; nil: no task runs, as in the Event of a Source.
func (l *Loop) Current() *Task { return l.current }

// caller is the calling task, which there must be.
func (l *Loop) caller() *Task {
	t := l.current
	if t == nil {
		panic("sched: a call that waits from outside of a task")
	}
	return t
}

// Park stops the calling task until Wake. The caller has noted the task (Current) where the
// waker finds it, or it stops for good; and it looks again when Park returns, since several
// things may wake a task.
func (l *Loop) Park() {
	t := l.caller()
	if invariants.Enabled && t.locks > 0 {
		panic("sched: a task waits while it holds a lock")
	}
	t.yield(struct{}{})
}

// Pause lets other tasks run, and events be looked at. The calling task goes on in the next
// turn.
func (l *Loop) Pause() {
	l.Wake(l.current)
	l.Park()
}

// Spend is called by a task before each read and write, and pauses it if it has done Burst of
// them since it was resumed: a peer that sends without end must not keep the loop.
func (l *Loop) Spend() {
	if l.budget--; l.budget < 0 {
		l.Pause()
	}
}

// Charge counts n more reads and writes, without a pause: for one that moved many bytes.
func (l *Loop) Charge(n int) { l.budget -= n }
