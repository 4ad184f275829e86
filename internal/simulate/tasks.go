package simulate

// A runtime for the tasks of services: keepers and probers. They are coroutines, of which one
// runs at a time, on the clock and the events of a world. Of those that can run, the one that
// was started first runs, whatever woke them in which order: package service wakes probers in the
// order of a map, and a run has to be repeatable all the same.

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// A task is one coroutine.
type task struct {
	n       int
	next    func() (struct{}, bool)
	yield   func(struct{}) bool
	waits   uint32 // number of its waits: a wake-up for an earlier one is void
	ready   bool
	ended   bool
	waiting *task // for its end; nil: none
}

// tasks is an engine.Runtime that can do what a service asks for: a clock, forks, signals.
type tasks struct {
	engine.Runtime // nothing of it: a service neither dials nor watches
	w              *world
	all            []*task
	ready          int // how many of them are
	current        *task
	rand           *rand.Rand
	stopping       bool
}

func newTasks(w *world, seed uint64) *tasks {
	return &tasks{w: w, rand: rand.New(rand.NewPCG(seed, 3))}
}

// Now implements engine.Clock.
func (r *tasks) Now() time.Duration { return r.w.now }

// Rand implements engine.Runtime.
func (r *tasks) Rand() uint64 { return r.rand.Uint64() }

// Worker implements engine.Runtime.
func (r *tasks) Worker() int { return 0 }

// Sleep implements engine.Clock.
func (r *tasks) Sleep(until time.Duration) error {
	for !r.stopping && until > r.w.now {
		r.park(until)
	}
	if r.stopping {
		return engine.ErrStopping
	}
	return nil
}

// NewSignal implements engine.Primitives.
func (r *tasks) NewSignal() engine.Signal { return &signal{r: r} }

// Fork implements engine.Tasks.
func (r *tasks) Fork(f func()) engine.Join { return &join{r, r.start(f)} }

func (r *tasks) start(f func()) *task {
	t := &task{n: len(r.all)}
	t.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		f()
	})
	r.all = append(r.all, t)
	r.wake(t)
	return t
}

// park keeps the calling task from running until it is woken, or until the given instant; 0: no
// limit. Its caller looks whether what it waits for has come.
func (r *tasks) park(by time.Duration) {
	t := r.current
	t.waits++
	if by > 0 {
		r.w.events.add(event{at: max(by, r.w.now), kind: evWake, n: int32(t.n), gen: t.waits})
	}
	t.yield(struct{}{})
}

func (r *tasks) wake(t *task) {
	if !t.ready && !t.ended {
		t.ready = true
		r.ready++
	}
}

// run lets tasks run until none can.
func (r *tasks) run() {
	for r.ready > 0 {
		t := r.all[slices.IndexFunc(r.all, func(t *task) bool { return t.ready })]
		t.ready = false
		r.ready--
		r.current = t
		_, alive := t.next()
		r.current = nil
		if !alive {
			t.ended = true
			if t.waiting != nil {
				r.wake(t.waiting)
			}
		}
	}
}

// stop has all waits fail, and lets the tasks run until they have returned.
func (r *tasks) stop() {
	r.stopping = true
	for _, t := range r.all {
		r.wake(t)
	}
	r.run()
}

type join struct {
	r *tasks
	t *task
}

// Wait implements engine.Join.
func (j *join) Wait() {
	j.t.waiting = j.r.current
	for !j.t.ended {
		j.r.park(0)
	}
}

// A signal is an engine.Signal of one waiting task.
type signal struct {
	r      *tasks
	set    bool
	waiter *task
}

// Set implements engine.Signal.
func (s *signal) Set() {
	s.set = true
	if s.waiter != nil {
		s.r.wake(s.waiter)
	}
}

// Wait implements engine.Signal.
func (s *signal) Wait(by time.Duration) bool {
	for !s.set {
		if s.r.stopping || by > 0 && by <= s.r.w.now {
			return false
		}
		s.waiter = s.r.current
		s.r.park(by)
		s.waiter = nil
	}
	s.set = false
	return true
}
