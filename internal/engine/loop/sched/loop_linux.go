package sched

import (
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/invariants"
)

// Burst is how often in a row a task may read and write before others have their turn: see
// Loop.Spend.
const Burst = 32

// A Loop runs tasks, one at a time, on the goroutine main. It is part of a larger struct,
// which must not move, and starts with Group.Add. All fields belong to the loop but those
// that say so.
type Loop struct {
	group  *Group
	number int

	clock   atomic.Int64 // now; 0 while the kernel waits for events. Read from any goroutine
	mailbox mailbox      // written to by any goroutine

	now     time.Duration // when the present task was resumed
	yielded time.Duration // when goroutines last had a chance
	poller  poller
	gate    gate
	slots   slots
	timers  timers
	ready   queue // tasks for this turn; those woken meanwhile are for the next
	woken   queue // tasks woken by events of tasks: for this turn still
	heavy   heavy
	current *Task
	running atomic.Pointer[Task] // current, for Group.Watch; nil if no one watches
	budget  int                  // of current
	alive   int                  // tasks that have not returned
	turns   uint32               // so far; it may come round
	spare   []*Task              // coroutines without work
	leaving []int                // descriptors to be closed before the next turn

	stopping bool
	over     bool
}

// open makes what the loop waits with.
func (l *Loop) open(g *Group, number int) error {
	l.group, l.number = g, number
	if err := l.poller.open(); err != nil {
		return err
	}
	if err := l.gate.init(l.poller.epoll, l.poller.poll); err != nil {
		l.poller.close()
		return err
	}
	// The first slot is the mailbox's: its event only ends a wait, and messages are looked
	// for every turn anyway.
	l.mailbox.wakeFD = l.poller.wakeFD
	if err := l.poller.control(opAdd, l.poller.wakeFD, eventsWake, l.slots.take(nothing{})); err != nil {
		l.close()
		return err
	}
	l.tick()
	return nil
}

func (l *Loop) close() {
	l.gate.close()
	l.poller.close()
}

// nothing is a source whose events need no attention.
type nothing struct{}

func (nothing) Event(uint32) {}
func (nothing) Stop()        {}
func (nothing) End()         {}

// main is the loop. A Goexit of a task ends the goroutine that resumed it too: another
// one goes on, since all there is to know is in l.
func (l *Loop) main() {
	defer func() {
		if l.over {
			l.group.done.Done()
			return
		}
		l.current = nil
		l.running.Store(nil)
		go l.main()
	}()
	for !l.finished() {
		l.turn()
	}
	l.end()
	l.over = true
}

// turn waits for something to do and does it. A Goexit may end it in the middle; the next
// turn does what is left. No task runs before all events of the batch are noted: what a
// task closes cannot have one to come.
func (l *Loop) turn() {
	for _, fd := range l.leaving {
		closeFD(fd)
	}
	l.leaving = l.leaving[:0]
	l.admitHeavy()
	l.turns++
	l.wait()
	for i := range l.poller.happened() {
		e := &l.poller.events[i]
		l.slots.dispatch(Slot{uint32(e.Fd), uint32(e.Pad)}, e.Events)
	}
	l.poller.n = 0
	l.timers.expire(l.now)
	if l.mailbox.any.Load() {
		l.mailbox.deliver()
	}
	for range l.ready.begin() {
		l.resume(l.ready.pop())
	}
	for n := wokenMost; n > 0 && l.woken.len() > 0; n-- {
		l.resume(l.woken.pop())
	}
	l.woken.begin()
}

// wait fetches events, and waits for them if there is nothing else to do.
func (l *Loop) wait() {
	l.poller.poll()
	l.tick()
	if l.poller.n > 0 || l.ready.len() > 0 || l.woken.len() > 0 || l.mailbox.any.Load() {
		return
	}
	at, timed := l.timers.first()
	if timed && at <= l.now {
		return
	}
	l.mailbox.asleep.Store(true)
	// Looked at after asleep is set: either post sees that, or this sees the message.
	if !l.mailbox.any.Load() {
		l.sleep(at, timed)
	}
	l.mailbox.asleep.Store(false)
}

// tick reads the clock.
func (l *Loop) tick() time.Duration {
	l.now = time.Since(l.group.epoch)
	l.clock.Store(int64(l.now))
	return l.now
}

// resume lets t run until it waits.
func (l *Loop) resume(t *Task) {
	l.tick()
	l.budget = Burst
	l.current = t
	t.queued = false
	if l.group.watch != nil {
		l.running.Store(t)
		t.next()
		l.running.Store(nil)
	} else {
		t.next()
	}
	l.current = nil
	if l.now-l.yielded >= turnMax {
		l.yield()
	}
}

// Wake lets t, which is parked, go on in this turn if it is called by the Event of a Source,
// else in the next one; nil: nothing. A task that is woken looks again at what it waits for.
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

// Park stops the calling task until it is woken.
func (l *Loop) Park() {
	t := l.caller()
	if invariants.Enabled && t.locks > 0 {
		panic("sched: a task waits while it holds a lock")
	}
	t.yield(struct{}{})
}

// Pause lets other tasks run, and events be looked at.
func (l *Loop) Pause() {
	l.Wake(l.current)
	l.Park()
}

// Spend is called for each read and write, and lets others run if the calling task has done
// Burst of them.
func (l *Loop) Spend() {
	if l.budget--; l.budget < 0 {
		l.Pause()
	}
}

// Charge counts n more reads and writes, without letting others run.
func (l *Loop) Charge(n int) { l.budget -= n }

// CloseLater closes fd before the next turn: the events that were fetched may still name it.
func (l *Loop) CloseLater(fd int) { l.leaving = append(l.leaving, fd) }

// stop makes everything that waits fail.
func (l *Loop) stop() {
	if l.stopping {
		return
	}
	l.stopping = true
	for s := range l.slots.sources() {
		s.Stop()
	}
	for _, t := range l.timers.heap {
		if t, ok := t.Owner.(*Task); ok && t.until != 0 {
			l.Wake(t)
		}
	}
}

// finished reports whether the loop has stopped and nothing is left to run. From then on
// it takes no messages.
func (l *Loop) finished() bool {
	return l.stopping && l.alive == 0 && l.ready.len() == 0 && l.woken.len() == 0 && l.mailbox.close()
}

// end gives back what the loop holds, sources that their owners have not closed included.
func (l *Loop) end() {
	for s := range l.slots.sources() {
		s.End()
	}
	for _, fd := range l.leaving {
		closeFD(fd)
	}
	for _, t := range l.spare {
		t.next() // without work it returns
	}
	l.spare, l.leaving = nil, nil
	l.close()
	l.clock.Store(0)
}

// Stopping reports whether the group is being closed: waits fail with engine.ErrStopping.
func (l *Loop) Stopping() bool { return l.stopping }

// Now is when the calling task was resumed. Any goroutine may call it; for those that are
// no tasks it may lag by as long as the loop runs one.
func (l *Loop) Now() time.Duration {
	if now := l.clock.Load(); now != 0 {
		return time.Duration(now)
	}
	return time.Since(l.group.epoch)
}

// Instant is Now for code that runs on the loop, and costs less.
func (l *Loop) Instant() time.Duration { return l.now }

// Turn is the number of the present turn. It may come round.
func (l *Loop) Turn() uint32 { return l.turns }

// Rand draws from the runtime's generator, which is per thread and needs no lock.
func (l *Loop) Rand() uint64 { return rand.Uint64() }

// Worker is the loop's number among all workers.
func (l *Loop) Worker() int { return l.group.first + l.number }

// Log logs where it delays no loop.
func (l *Loop) Log(level slog.Level, text string, args ...any) { l.group.log(level, text, args...) }

// Stats are figures of a loop.
type Stats struct {
	Tasks   int // that have not returned
	Spare   int // coroutines that are kept without work
	Sources int // that are registered
	Timers  int // that are set
	Heavy   int // heavy steps since events were looked at
	Budget  int // reads and writes that are left to the present task
	Epoll   int // the descriptor
}

// Stats returns the present figures.
func (l *Loop) Stats() Stats {
	return Stats{Tasks: l.alive, Spare: len(l.spare), Sources: l.slots.taken(), Timers: len(l.timers.heap), Heavy: l.heavy.steps, Budget: l.budget, Epoll: l.poller.epoll}
}
