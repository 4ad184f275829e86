// Package sched runs tasks on event loops. It knows descriptors and their events, timers,
// and messages from other goroutines, but no sockets: package loop has those.
//
// A Loop is one goroutine with an epoll instance. A Task is a coroutine (iter.Pull) that
// the loop resumes when what it waits for may have come. A turn of the loop is:
//
//	close the descriptors that were given up in the last turn
//	fetch events, and wait for them if there is nothing else to do
//	    gate_linux.go, poller_linux.go: waiting
//	note the events: each Source marks itself and wakes its tasks
//	expire timers                           timers_linux.go
//	receive messages of other goroutines    mailbox_linux.go
//	resume the tasks that are ready, each until it waits again
//	resume up to 64 tasks that those have woken by an Event
//
// A task waits in a loop of its own: it looks at what it waits for, notes for whom it waits
// (a Source remembers Loop.Current, a Timer wakes its owner), and parks. A task that is
// woken looks again, since it may have been woken for another reason.
//
//	for !s.readable {
//		s.reader = l.Current()
//		l.Park()
//		s.reader = nil
//	}
//
// All methods are called on the loop, by a task or by the Event of a Source, but for those
// that say otherwise. The package exists on Linux; elsewhere it is empty.
package sched
