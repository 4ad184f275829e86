package sched

import (
	"time"

	"golang.org/x/sys/unix"
)

// One turn of a loop. For example, with two connections that have a request each, and a
// third that has timed out:
//
//	poll             events of sockets 1 and 2 (if there were none, the loop would wait here
//	                 until one comes, or until the first timer)
//	dispatch         stream 1 is readable, its task is ready; so is stream 2
//	timers.expire    the timer of stream 3 has come, its task is ready
//	mailbox.deliver  nothing
//	resume           task 1 reads and answers, waits for the next request
//	                 task 2 sets an event that task 4 waits for, and waits for its next request
//	                 task 3 finds that its deadline has passed, and returns
//	                 task 4 was woken by an event of this turn, and runs in it
//
// Tasks that tasks wake otherwise (Wake) are ready for the next turn: however busy they are,
// sockets are looked at between.

// turn waits for something to do and does it. A Goexit may end it in the middle; the next
// turn does what is left. No task runs before all events of the batch are noted: what a
// task closes cannot have one to come.
func (l *Loop) turn() {
	for _, fd := range l.leaving {
		unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) // a socket: it never blocks, see gate
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

// wait fetches events, and waits for them if there is nothing else to do: no task is ready,
// no message has come, and no timer has.
func (l *Loop) wait() {
	l.poller.poll()
	l.measures.look(l.tick())
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

// tick reads the clock: when events were fetched, and before each task.
func (l *Loop) tick() time.Duration {
	l.now = time.Since(l.group.epoch)
	l.clock.Store(int64(l.now))
	return l.now
}

// resume lets t run until it waits or ends. Goroutines have a chance in between if they had
// none for turnMax.
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

// CloseLater closes fd, a socket, before the next turn: the events that were fetched may still name it.
func (l *Loop) CloseLater(fd int) { l.leaving = append(l.leaving, fd) }
