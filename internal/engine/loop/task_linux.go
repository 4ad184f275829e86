package loop

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

// spareMax bounds the coroutines that are kept for later; a stack is some kilobytes.
const spareMax = 512

// A task is a coroutine and what it runs at present. Only the loop calls next. The stop
// of iter.Pull is dropped: it would unwind code in the middle of its work. Waits fail
// instead, and the code returns by itself.
type task struct {
	loop  *loop
	next  func() (struct{}, bool)
	yield func(struct{}) bool

	f      func()  // nil: without work
	join   *join   // who waits for its end, nil: nobody
	stream *stream // to be aborted should f panic; may be nil

	queued bool          // in loop.ready or loop.woken
	until  time.Duration // the deadline of parkUntil, forever if there is none; 0: elsewhere
	timer  timer         // of parkUntil: set for until or sooner, and left set when the wait ends

	behind  *task // the next task in the list of the event that this one waits for
	granted bool  // a Set was handed to this task
	locks   int   // that it holds; counted with the tag invariants only

	goroutine atomic.Uint64 // its number; known if somebody watches
}

// start runs f as a new task when it is its turn.
func (l *loop) start(f func(), j *join, s *stream) {
	var t *task
	if n := len(l.spare); n > 0 {
		t = l.spare[n-1]
		l.spare[n-1] = nil
		l.spare = l.spare[:n-1]
	} else {
		t = l.newTask()
	}
	t.f, t.join, t.stream = f, j, s
	l.alive++
	l.wake(t)
}

func (l *loop) newTask() *task {
	t := &task{loop: l}
	t.timer.owner = t
	t.next, _ = iter.Pull(t.live)
	return t
}

// live is the coroutine: it works, and waits for other work.
func (t *task) live(yield func(struct{}) bool) {
	t.yield = yield
	if t.loop.engine.watch != nil {
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
func (t *task) work() {
	returned := false
	defer func() {
		var cause any
		if !returned {
			cause = recover()
			t.broke(cause)
		}
		t.f, t.stream, t.locks = nil, nil, 0
		t.loop.timers.remove(&t.timer)
		t.loop.alive--
		if j := t.join; j != nil {
			t.join = nil
			j.done, j.cause = true, cause
			t.loop.wake(j.waiting)
		}
	}()
	t.f()
	returned = true
}

// broke is for a task that did not return: of its panic learns whoever waits for it, or
// the log.
func (t *task) broke(cause any) {
	if t.stream != nil {
		t.stream.Abort()
	}
	if cause != nil && t.join == nil {
		t.loop.engine.say(slog.LevelError, "panic in a task", "worker", t.loop.number, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	}
}

// forever is a deadline that never comes: a task that waits without one has a timer too,
// so that stop finds it.
const forever = time.Duration(math.MaxInt64)

// parkUntil stops the calling task, which is t, until it is woken or that instant has come;
// zero: no limit. The timer is left set when the task goes on, since most waits end before
// their deadline and the next deadline is mostly later: that moves nothing in the heap.
func (t *task) parkUntil(by time.Duration) {
	if by == 0 {
		by = forever
	}
	t.until = by
	if t.timer.place == 0 || by < t.timer.at {
		t.loop.timers.set(&t.timer, by)
	}
	t.loop.park()
	t.until = 0
}

// expire wakes the task if its deadline has come. A timer that was set for an earlier wait
// is moved, or not set any more.
func (t *task) expire(now time.Duration) {
	switch {
	case t.until == 0:
	case t.until <= now:
		t.loop.wake(t)
	default:
		t.loop.timers.set(&t.timer, t.until)
	}
}

// Start starts a task that no caller waits for; Close of the engine does.
func (l *loop) Start(f func()) { l.start(f, nil, nil) }

// Fork starts a task of the same loop; a panic in f surfaces in Wait.
func (l *loop) Fork(f func()) engine.Join {
	j := &join{loop: l}
	l.start(f, j, nil)
	return j
}

// join waits for one forked task.
type join struct {
	loop    *loop
	waiting *task
	cause   any
	done    bool
}

func (j *join) Wait() {
	for !j.done {
		j.waiting = j.loop.current
		j.loop.park()
	}
	if j.cause != nil {
		panic(j.cause)
	}
}

// Do runs f on a goroutine.
func (l *loop) Do(f func()) {
	c := &call{task: l.current}
	l.engine.side.Go(func() {
		defer l.mail.post(c)
		defer func() { c.cause = recover() }()
		f()
	})
	l.await(c)
}

// await parks the calling task until c has ended, and panics if it did.
func (l *loop) await(c *call) {
	for !c.done {
		l.park()
	}
	if c.cause != nil {
		panic(c.cause)
	}
}

// A call is a Do under way, and the letter that says that it has ended.
type call struct {
	task  *task
	cause any
	done  bool
}

func (c *call) open(l *loop) {
	c.done = true
	l.wake(c.task)
}

// Sleep parks the calling task.
func (l *loop) Sleep(until time.Duration) error {
	l.spend()
	for until > l.now && !l.stopping {
		l.caller().parkUntil(until)
	}
	if l.stopping {
		l.pause() // a task that sleeps again and again, in spite of the error, blocks no other
		return engine.ErrStopping
	}
	return nil
}
