package sched

import (
	"fmt"
	"iter"
	"log/slog"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// Tasks are coroutines of package iter: resuming one costs about 100 ns, and no other thread
// is involved. A coroutine whose task has ended is kept for the next task. Tasks end by
// returning, by a panic or by Goexit; they are never ended from outside.

// spareMax bounds the coroutines that are kept for later; a stack is some kilobytes.
const spareMax = 512

// A Task is a coroutine and what it runs at present. Only the loop calls next. The stop
// of iter.Pull is dropped: it would unwind code in the middle of its work. Waits fail
// instead, and the code returns by itself.
type Task struct {
	loop  *Loop
	next  func() (struct{}, bool)
	yield func(struct{}) bool

	f     func()  // nil: without work
	join  *join   // of the task that waits for its end; nil: none does
	owned Aborter // to be aborted should f not return; nil: nothing

	queued bool          // in loop.ready or loop.woken
	until  time.Duration // the deadline of parkUntil, forever if there is none; 0: elsewhere
	timer  Timer         // of parkUntil: set for until or sooner, and left set when the wait ends

	behind  *Task // the next task in the list of the wakeup that this one waits for
	granted bool  // a Set was handed to this task
	locks   int   // that it holds; counted with the tag invariants only

	goroutine atomic.Uint64 // its number; known if the loops are watched
}

// An Aborter is what a task works for: the peer is to notice that the task has failed.
type Aborter interface{ Abort() }

// StartFor starts f as a task that no caller waits for. If f panics or ends by Goexit, owned
// is aborted.
func (l *Loop) StartFor(owned Aborter, f func()) { l.start(f, nil, owned) }

// start runs f as a new task when it is its turn.
func (l *Loop) start(f func(), j *join, owned Aborter) {
	var t *Task
	if n := len(l.spare); n > 0 {
		t = l.spare[n-1]
		l.spare[n-1] = nil
		l.spare = l.spare[:n-1]
	} else {
		t = l.newTask()
	}
	t.f, t.join, t.owned = f, j, owned
	l.alive++
	l.Wake(t)
}

func (l *Loop) newTask() *Task {
	t := &Task{loop: l}
	t.timer.Owner = t
	t.next, _ = iter.Pull(t.live)
	return t
}

// live is the coroutine: it works, and waits for other work.
func (t *Task) live(yield func(struct{}) bool) {
	t.yield = yield
	if t.loop.group.watch != nil {
		t.goroutine.Store(goroutineID())
	}
	for t.f != nil {
		t.work()
		if len(t.loop.spare) >= spareMax {
			return
		}
		t.loop.spare = append(t.loop.spare, t)
		yield(struct{}{})
	}
}

// work runs f. A Goexit of f unwinds through it, and the coroutine is lost.
func (t *Task) work() {
	returned := false
	defer func() {
		var cause any
		if !returned {
			cause = recover()
			t.broke(cause)
		}
		t.f, t.owned, t.locks = nil, nil, 0
		t.loop.timers.remove(&t.timer)
		t.loop.alive--
		if j := t.join; j != nil {
			t.join = nil
			j.done, j.cause = true, cause
			t.loop.Wake(j.waiting)
		}
	}()
	t.f()
	returned = true
}

// broke is for a task that did not return: its panic surfaces in the task that waits for it,
// or in the log.
func (t *Task) broke(cause any) {
	if t.owned != nil {
		t.owned.Abort()
	}
	if cause != nil && t.join == nil {
		t.loop.Log(slog.LevelError, "panic in a task", "worker", t.loop.number, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	}
}

// forever is a deadline that never comes: a task that waits without one has a timer too,
// so that stop finds it.
const forever = time.Duration(math.MaxInt64)

// parkUntil stops the calling task, which is t, until it is woken or that instant has come;
// zero: no limit. The timer is left set when the task goes on, since most waits end before
// their deadline and the next deadline is mostly later: that moves nothing in the heap.
func (t *Task) parkUntil(by time.Duration) {
	if by == 0 {
		by = forever
	}
	t.until = by
	t.loop.SetTimerBy(&t.timer, by)
	t.loop.Park()
	t.until = 0
}

// Expire wakes the task if its deadline has come. A timer that was set for an earlier wait
// is moved, or not set any more.
func (t *Task) Expire(now time.Duration) {
	switch {
	case t.until == 0:
	case t.until <= now:
		t.loop.Wake(t)
	default:
		t.loop.timers.set(&t.timer, t.until)
	}
}

// Start starts a task that no caller waits for; Group.Close does.
func (l *Loop) Start(f func()) { l.start(f, nil, nil) }

// Fork starts a task of the same loop; a panic in f surfaces in Wait.
func (l *Loop) Fork(f func()) engine.Join {
	j := &join{loop: l}
	l.start(f, j, nil)
	return j
}

// join waits for one forked task.
type join struct {
	loop    *Loop
	waiting *Task
	cause   any
	done    bool
}

func (j *join) Wait() {
	for !j.done {
		j.waiting = j.loop.current
		j.loop.Park()
	}
	if j.cause != nil {
		panic(j.cause)
	}
}

// Sleep parks the calling task.
func (l *Loop) Sleep(until time.Duration) error {
	l.Spend()
	for until > l.now && !l.stopping {
		l.caller().parkUntil(until)
	}
	if l.stopping {
		l.Pause() // a task that sleeps again and again, in spite of the error, blocks no other
		return engine.ErrStopping
	}
	return nil
}
