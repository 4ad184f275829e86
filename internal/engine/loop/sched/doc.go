// Package sched runs tasks on event loops. It knows descriptors and their events, timers,
// and messages from other goroutines, but no sockets: package loop has those. It exists on
// Linux; elsewhere the package is empty.
//
// A Loop is one goroutine with an epoll instance. A Task is a coroutine (iter.Pull) that
// the loop resumes when what it waits for may have come. A Group is the loops of an engine.
//
// # A turn
//
//	close the descriptors that were given up in the last turn
//	fetch events, and wait for them         poller_linux.go
//	    if there is nothing else to do      gate_linux.go
//	note the events: each Source marks      slots_linux.go
//	    itself and wakes its tasks
//	expire timers                           timers_linux.go
//	receive messages of other goroutines    mailbox_linux.go
//	resume the tasks that are ready,        task_linux.go, park_linux.go
//	    each until it waits again
//	resume up to 64 tasks that those        event_linux.go
//	    have woken by a Wakeup
//
// So all that a batch of events says is noted before the first task runs, and descriptors
// are closed only when no event of the batch can name them any more. turn_linux.go has an
// example.
//
// # Waiting
//
// A task waits in a loop of its own: it looks at what it waits for, notes for whom it waits
// (a Source remembers Loop.Current, a Timer wakes its owner), and parks. A task that is
// woken looks again, since it may have been woken for another reason. So a read with a
// deadline is
//
//	for !s.readable {
//		if s.deadline <= l.Instant() {
//			return engine.ErrTimeout
//		}
//		s.reader = l.Current()        // Event wakes it
//		l.SetTimerBy(&s.timer, s.deadline) // Expire wakes it
//		l.Park()
//		s.reader = nil
//	}
//
// A Timer is left set when the wait ends otherwise. The next deadline is mostly later: then
// SetTimerBy does nothing, and the owner sets the timer again if it comes too early.
//
// Tasks wait for each other by an engine.Wakeup within a loop, which costs no lock and no
// turn; by an engine.Signal from anywhere, which is a message; and by Fork's Join. What
// blocks runs on a goroutine (Loop.Do), and so does what computes for long (Loop.Compute).
//
// # What may be called from where
//
//	any goroutine     Post, Now, Worker, Rand, Signal.Set, and all of Group but that
//	                  Close waits, and so is not for tasks
//	a task            what waits: Park, Pause, Spend, Sleep, Do, Compute, Heavy, and Wait of
//	                  Event, Signal and Join; none of it within an Event, Expire or Receive
//	code on the loop  everything else: tasks, and Event, Stop and End of a Source, Expire of
//	                  a timer's owner, Receive of a Message
//	before Group.Add  nothing; a Loop of zero fields is then made ready and must not move
package sched
