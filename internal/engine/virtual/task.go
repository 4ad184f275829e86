package virtual

import (
	"container/heap"
	"iter"
	"slices"
	"time"
)

// state is what a task is doing.
type state uint8

const (
	ready   state = iota // in World.ready
	running              // World.current
	parked               // waiting for a cond or a timer
	ended
)

// A task is one coroutine. Its stop function is dropped on purpose: ending a coroutine
// from outside would unwind code in the middle of its work; blocked tasks get sticky
// errors instead and return by themselves.
type task struct {
	name   string
	daemon bool
	state  state
	waits  string // what for, while parked
	next   func() (struct{}, bool)
	yield  func(struct{}) bool
	timer  *timer
	late   bool // resumed by the timer
	end    cond // woken when the task has returned
	locks  int  // that it holds
}

func (t *task) String() string {
	if t.state == parked {
		return t.name + " waits: " + t.waits
	}
	return t.name
}

func (w *World) start(name string, daemon bool, f func()) *task {
	t := &task{name: name, daemon: daemon, waits: "start"}
	t.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			if cause := recover(); cause != nil {
				w.fail(t, cause)
			}
		}()
		f()
	})
	w.tasks = append(w.tasks, t)
	w.ready = append(w.ready, t)
	return t
}

// running returns the task that is calling.
func (w *World) running() *task {
	if w.current == nil {
		panic("virtual: a blocking call from outside of a task")
	}
	return w.current
}

// A cond is something tasks wait for. A task that is woken looks again whether it has come.
type cond struct{ waiting []*task }

// wait parks the calling task until c is woken, and returns true, or until the given
// instant (zero: no limit), and returns false. While the world stops it does not wait, so
// every loop around it must look at World.stopping.
func (w *World) wait(c *cond, by time.Duration, why string) bool {
	t := w.running()
	if by != 0 && by <= w.Now() {
		return false
	}
	if w.stopping {
		w.pass(t)
		return true
	}
	if by != 0 {
		t.timer = w.after(by, func() { t.late = true; w.makeReady(t) })
	}
	c.waiting = append(c.waiting, t)
	t.state, t.waits, t.late = parked, why, false
	t.leave()
	// A task resumed by its timer or by Stop is still on the list.
	if i := slices.Index(c.waiting, t); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	return !t.late
}

// pass lets other tasks run. Waits that fail because the world stops go through it, so
// that a task which ignores their errors is a livelock that is found and not a hang.
func (w *World) pass(t *task) {
	t.state, t.waits = ready, "stop"
	w.ready = append(w.ready, t)
	t.leave()
}

// maybePreempt keeps the calling task from running for a moment, if the world wants that.
func (w *World) maybePreempt() {
	if w.Preempt > 0 && w.choice.IntN(w.Preempt) == 0 {
		w.wait(&w.nobody, w.Now()+1+time.Duration(w.choice.Int64N(int64(preemptMax))), "preempted")
	}
}

// wake lets all tasks that wait for c look again.
func (w *World) wake(c *cond) {
	for _, t := range c.waiting {
		w.makeReady(t)
	}
	clear(c.waiting)
	c.waiting = c.waiting[:0]
}

func (w *World) makeReady(t *task) {
	if t.state != parked {
		return
	}
	if t.timer != nil {
		w.timers.remove(t.timer)
		t.timer = nil
	}
	t.state = ready
	w.ready = append(w.ready, t)
}

// A timer is something that happens at an instant: fire is called by the scheduler, not
// by a task.
type timer struct {
	at    time.Duration
	seq   int // equal instants fire in the order in which they were set
	fire  func()
	index int // in the heap; -1: not in it
}

func (w *World) after(at time.Duration, fire func()) *timer {
	w.timers.born++
	t := &timer{at: at, seq: w.timers.born, fire: fire}
	heap.Push(&w.timers, t)
	return t
}

// timers is a heap, the earliest first.
type timers struct {
	heap []*timer
	born int
}

func (q *timers) first() *timer {
	if len(q.heap) == 0 {
		return nil
	}
	return q.heap[0]
}

func (q *timers) remove(t *timer) {
	if t.index >= 0 {
		heap.Remove(q, t.index)
	}
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (q *timers) Len() int { return len(q.heap) }

func (q *timers) Less(i, j int) bool {
	a, b := q.heap[i], q.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *timers) Swap(i, j int) {
	q.heap[i], q.heap[j] = q.heap[j], q.heap[i]
	q.heap[i].index, q.heap[j].index = i, j
}

func (q *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(q.heap)
	q.heap = append(q.heap, t)
}

func (q *timers) Pop() any {
	last := len(q.heap) - 1
	t := q.heap[last]
	q.heap[last] = nil
	q.heap = q.heap[:last]
	t.index = -1
	return t
}
