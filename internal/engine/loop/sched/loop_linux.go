package sched

import (
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// What a loop consists of, how it begins and ends, and its clock. turn_linux.go is what it
// does again and again, park_linux.go how tasks wait and are woken.
//
// A loop ends in steps, since tasks are never unwound in the middle of their work:
//
//	Group.Close posts stop
//	stop          sources fail what waits for them, and tasks that sleep or wait for an
//	              event or a signal are woken: their waits return engine.ErrStopping
//	more turns    the tasks return, each when its own code does
//	finished      no task is left, and the mailbox is empty and closed
//	end           sources that no task has closed give back what they hold

// A Loop runs tasks, one at a time, on the goroutine main. It is part of a larger struct,
// which must not move, and starts with Group.Add. All fields belong to the loop but those
// that say so.
type Loop struct {
	group  *Group
	number int

	clock   atomic.Int64 // now; 0 while the kernel waits for events. Read from any goroutine
	mailbox mailbox      // written to by any goroutine

	measures measures

	now     time.Duration // when the present task was resumed
	yielded time.Duration // when goroutines last had a chance
	poller  poller
	gate    gate
	slots   slots
	timers  timers
	ready   queue // tasks for this turn; those woken meanwhile are for the next
	woken   queue // tasks woken by Wakeups: for this turn still
	heavy   heavy
	current *Task
	running atomic.Pointer[Task] // current, for Group.Watch; nil unless loops are watched
	budget  int                  // of current
	alive   int                  // tasks that have not returned
	turns   uint32               // so far; it may come round
	spare   []*Task              // coroutines without work
	leaving []int                // descriptors to be closed before the next turn

	stopping bool
	over     bool
}

// open makes what the loop waits with, on the goroutine of Group.Add. If it fails, nothing is
// left open.
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
	l.measures.started = l.tick()
	l.measures.looked = l.now
	return nil
}

// close closes what open has made.
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

// stop makes everything that waits fail, now and later. It is received as a message.
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

// Instant is Now for code that runs on the loop, and costs less. It stands still while a task
// runs, and says in an Event or Expire when the events were fetched.
func (l *Loop) Instant() time.Duration { return l.now }

// Turn is the number of the present turn: as long as it is the same, no events were fetched.
// It may come round, after 2^32 turns.
func (l *Loop) Turn() uint32 { return l.turns }

// Rand draws from the runtime's generator, which is per thread and needs no lock.
func (l *Loop) Rand() uint64 { return rand.Uint64() }

// Worker is the loop's number among all workers.
func (l *Loop) Worker() int { return l.group.first + l.number }

// Log logs on a goroutine, since a log may block, and returns at once.
func (l *Loop) Log(level slog.Level, text string, args ...any) { l.group.log(level, text, args...) }

// Stats are figures of a loop, for tests.
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
