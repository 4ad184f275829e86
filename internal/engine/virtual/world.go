// Package virtual runs tasks as coroutines over in-memory streams under a virtual
// clock. A World is single-threaded and draws every choice (which task runs next, into
// which pieces a write is cut) from one seed, so that a failure is repeated by its
// seed. Time stands still while anything can run and jumps to the next timer when
// nothing can: a minute of waiting costs microseconds.
//
// A World belongs to the goroutine that calls Run; tasks must not start goroutines that
// use it. Signals may be Set and the clock read from anywhere.
package virtual

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// bufferBytesDefault is how much one direction of a stream holds before Write blocks.
const bufferBytesDefault = 64 << 10

// stepsMaxDefault is far above what real work takes at one instant.
const stepsMaxDefault = 10_000_000

// preemptMax is the longest that Preempt keeps a task from running.
const preemptMax = 2 * time.Millisecond

// piecesMax is about half of how many pieces a long write is cut into.
const piecesMax = 100

// epoch is the first instant: above zero, because zero means "no deadline".
const epoch = time.Second

// A World is one network with its tasks and its clock. The exported fields may be set
// until the first task runs.
type World struct {
	// SegmentMax is the longest piece in which written bytes arrive; the pieces have
	// random lengths from 1 and arrive one by one, each when no task can run; those of a
	// write of more than 100 times that are longer, or content would take most of a
	// run's time. Zero: bytes arrive as they were written.
	SegmentMax int
	// BufferBytes is what one direction of a stream holds, in transit or unread, before
	// Write blocks; zero means 64 KiB.
	BufferBytes int
	// Delay is the time from writing to arriving, for bytes, FIN and resets. Connecting
	// takes two of them.
	Delay time.Duration
	// Preempt, if not zero, makes about one in that many Writes return late, as the task of
	// a busy machine finds itself descheduled: the peer may have read, answered and left.
	Preempt int
	// Shortage makes every Dial fail with engine.ErrExhausted, as in a process that has no
	// descriptors left. Connect, by which tests play clients, goes on.
	Shortage bool
	// StepsMax bounds how often tasks are resumed while the clock stands still: above it
	// they only keep each other busy, and Run fails. Zero means ten million.
	StepsMax int
	// Trace, if not nil, gets a line for every resumption of a task: the instant, the task and
	// what it had been waiting for.
	Trace io.Writer

	now     atomic.Int64
	choice  *rand.Rand // of the scheduler and the network; tasks draw from their own
	tasks   []*task    // alive, in the order of their birth
	ready   []*task
	timers  timers
	current *task
	born    int
	idle    int // resumptions since the clock moved

	listeners map[string]*Listener
	holes     map[string]bool
	streams   map[*Stream]struct{} // not yet closed, for Stop
	ports     uint16
	stopping  bool
	nobody    cond // waited for by tasks that only a deadline or Stop ends
	failures  []error

	outside struct { // what other goroutines may touch
		sync.Mutex
		chance *rand.Rand
		set    []*signal
	}
}

// New returns an empty world. Equal seeds and equal tasks give equal runs.
func New(seed uint64) *World {
	w := &World{
		choice:    rand.New(rand.NewPCG(seed, 1)),
		listeners: map[string]*Listener{},
		holes:     map[string]bool{},
		streams:   map[*Stream]struct{}{},
	}
	w.outside.chance = rand.New(rand.NewPCG(seed, 2))
	w.now.Store(int64(epoch))
	return w
}

// Go starts f as a task that is expected to end: Run reports it if it is blocked when
// nothing can happen any more. It may be called inside and outside of tasks.
func (w *World) Go(name string, f func()) { w.start(name, false, f) }

// Daemon starts f as a task that may wait for ever, such as one that accepts.
func (w *World) Daemon(name string, f func()) { w.start(name, true, f) }

// Now is the present instant.
func (w *World) Now() time.Duration { return time.Duration(w.now.Load()) }

// Wall is the present instant as people write it: time 0 of a world is the start of the year 2000,
// in UTC. A run that writes dates is repeatable only with these.
func (w *World) Wall() time.Time {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(w.Now())
}

// Run lets the tasks run until nothing can happen any more: no task can run and no
// timer is set. It returns the panics of tasks, and a *Stuck if tasks that are expected
// to end are blocked. A runtime.Goexit in a task, such as testing.T.FailNow, ends the
// goroutine that called Run as well.
func (w *World) Run() error {
	if err := w.run(0, nil); err != nil {
		return err
	}
	var stuck Stuck
	for _, t := range w.tasks {
		if !t.daemon {
			stuck = append(stuck, t.String())
		}
	}
	if len(stuck) > 0 {
		return stuck
	}
	return nil
}

// RunFor lets d of virtual time pass.
func (w *World) RunFor(d time.Duration) error {
	end := w.Now() + d
	if err := w.run(end, nil); err != nil {
		return err
	}
	w.advance(end)
	return nil
}

// RunUntil lets the tasks run until done says true, which is asked after each step. It
// fails when limit of virtual time passed before, or nothing can happen any more.
func (w *World) RunUntil(done func() bool, limit time.Duration) error {
	if err := w.run(w.Now()+limit, done); err != nil {
		return err
	}
	if !done() {
		return fmt.Errorf("not done at %v; blocked tasks:\n%w", w.Now(), Stuck(w.Blocked()))
	}
	return nil
}

// Stop ends the world: waits of all tasks fail for good with engine.ErrStopping, and
// the tasks run until they have returned. It reports those that did not.
func (w *World) Stop() error {
	w.stopping = true
	for _, s := range w.openStreams() {
		s.Interrupt(engine.ErrStopping)
	}
	for _, t := range slices.Clone(w.tasks) {
		w.makeReady(t)
	}
	err := w.run(0, nil)
	if len(w.tasks) > 0 {
		err = errors.Join(err, Stuck(w.Blocked()))
	}
	return err
}

// Blocked describes the tasks that are waiting, in the order of their birth.
func (w *World) Blocked() []string {
	var blocked []string
	for _, t := range w.tasks {
		if t.state == parked {
			blocked = append(blocked, t.String())
		}
	}
	return blocked
}

// Stuck lists tasks that wait for what cannot happen, and for what that is.
type Stuck []string

func (s Stuck) Error() string { return "stuck: " + strings.Join(s, "; ") }

// run is the scheduler: it resumes tasks, and moves the clock when there are none,
// until done says true, nothing is left to happen or, if end is not zero, the next
// thing would happen after end.
func (w *World) run(end time.Duration, done func() bool) error {
	if w.current != nil {
		panic("virtual: Run called by a task")
	}
	for len(w.failures) == 0 && (done == nil || !done()) {
		w.takeSignals()
		if len(w.ready) > 0 {
			w.step()
			continue
		}
		next := w.timers.first()
		if next == nil || end != 0 && next.at > end {
			break
		}
		w.timers.remove(next)
		w.advance(next.at)
		next.fire()
	}
	err := errors.Join(w.failures...)
	w.failures = nil
	return err
}

// step resumes one task that can run; which one is drawn from the seed, because code
// that is right only in one order is wrong.
func (w *World) step() {
	i := 0
	if len(w.ready) > 1 {
		i = w.choice.IntN(len(w.ready))
	}
	t := w.ready[i]
	w.ready = slices.Delete(w.ready, i, i+1)
	if w.idle++; w.idle > cmp.Or(w.StepsMax, stepsMaxDefault) {
		w.failures = append(w.failures, fmt.Errorf("livelock: %d steps at %v, the last by %s", w.idle, w.Now(), t))
		w.idle = 0
	}
	if w.Trace != nil {
		fmt.Fprintf(w.Trace, "%v %s: %s\n", w.Now(), t.name, t.waits)
	}
	t.state = running
	w.current = t
	// Reset also when a Goexit of the task passes through here.
	defer func() { w.current = nil }()
	if _, alive := t.next(); !alive {
		w.tasks = slices.DeleteFunc(w.tasks, func(o *task) bool { return o == t })
		t.state = ended
		w.wake(&t.end)
	}
}

// advance moves the clock, never backwards.
func (w *World) advance(to time.Duration) {
	if to > w.Now() {
		w.now.Store(int64(to))
		w.idle = 0
	}
}

// takeSignals does in the world what Set asked for, maybe from another goroutine.
func (w *World) takeSignals() {
	w.outside.Lock()
	set := w.outside.set
	w.outside.set = nil
	w.outside.Unlock()
	for _, s := range set {
		s.set = true
		w.wake(&s.wake)
	}
}

// fail records a panic of a task with its stack; Run returns it.
func (w *World) fail(t *task, cause any) {
	w.failures = append(w.failures, fmt.Errorf("task %s: panic: %v\n%s", t.name, cause, debug.Stack()))
}
