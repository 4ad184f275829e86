package engine

import "time"

// What a Runtime offers to tasks: a clock, more tasks, and three ways in which tasks wait
// for each other. Which of the three is right depends on what wakes:
//
//   - A Wakeup is for tasks of one worker. It costs no lock on a loop, so it may be used
//     for every piece of content: a reader of a multiplexed connection wakes the task of
//     one of its streams, and that task wakes the one that writes.
//   - A Signal may be set from any goroutine. It goes through the mailbox of the worker
//     that waits, and is for what is rare: a configuration, the end of a service.
//   - A Lock is for data that several tasks of a worker use, between two waits.
//
// A queue whose items one task takes, for example, needs a Lock and a Wakeup:
//
//	func (q *queue) put(x item) {
//		q.lock.Lock()
//		q.items = append(q.items, x)
//		q.lock.Unlock()
//		q.filled.Set() // not lost if take is not waiting yet
//	}
//
//	func (q *queue) take(by time.Duration) (item, error) {
//		for {
//			q.lock.Lock()
//			x, ok := q.pop()
//			q.lock.Unlock() // never held across a wait
//			if ok {
//				return x, nil
//			}
//			if err := q.filled.Wait(by); err != nil {
//				return item{}, err
//			}
//		}
//	}

// A Clock has the time and waits for it.
type Clock interface {
	// Now is the present instant on the runtime's monotonic clock; it starts above zero. It
	// may stand still while a task runs, and moves on when the task waits.
	Now() time.Duration

	// Sleep returns nil at the given instant, ErrStopping if the runtime stops before.
	Sleep(until time.Duration) error
}

// Tasks start more tasks, which belong to the worker of the calling one.
type Tasks interface {
	// Fork starts f as a task beside the calling one, which waits for it by the Join. A
	// panic in f surfaces there.
	Fork(f func()) Join

	// Start starts f as a task that no caller waits for. Start does not wait: on a loop f
	// runs behind all tasks that are ready to run now. A panic in f is logged and ends only
	// this task; f itself releases what it holds, by defer.
	//
	// The engine owns the task: closing the engine makes its waits fail with ErrStopping
	// and returns after f has. A driver that does not know its streams (goroutine) leaves
	// it to the owner of a stream to interrupt what reads or writes it. A task that is
	// started while the engine stops runs, and finds its waits fail.
	Start(f func())

	// Do runs f, which may block, where it delays no other task, and waits for it.
	Do(f func())
}

// A Join waits for a forked task.
type Join interface {
	// Wait returns when the task has returned. It must be called exactly once.
	Wait()
}

// Primitives are what tasks wait for each other with. What they return belongs to the
// worker of the calling task.
type Primitives interface {
	// NewSignal returns an unset Signal.
	NewSignal() Signal
	// NewWakeup returns an unset Wakeup.
	NewWakeup() Wakeup
	// NewLock returns a Lock that is not held.
	NewLock() Lock
}

// A Signal has one slot: any number of Sets before a Wait are one.
type Signal interface {
	// Set may be called from any goroutine and never blocks.
	Set()
	// Wait returns true when Set was called since the last Wait, false at the deadline.
	Wait(by time.Duration) bool
}

// A Wakeup is how tasks of one worker wake each other. Each Set lets one Wait return: that
// of the task that waits longest or, if none waits, the next one. Sets without a Wait
// between them count once. A Wait that returns nil has taken one Set, so there are no
// spurious wake-ups; but another task may have changed meanwhile what the Set was about.
type Wakeup interface {
	// Set never waits. It is called from a task of the Wakeup's worker, or by an Interrupt
	// that the runtime calls for a Watch. It may be called while a Lock is held. On a loop
	// the task that it wakes runs before the loop looks at its sockets again.
	Set()

	// Wait returns nil when it has taken a Set, ErrTimeout at the deadline (an instant of
	// the runtime; zero: none), and ErrStopping when the runtime stops. A Set that was made
	// before is taken even where one of these has come: no Set is lost.
	Wait(by time.Duration) error

	// Reset forgets a Set that no Wait has taken, so that the Wakeup can be used again for
	// another purpose. Tasks that wait go on waiting.
	Reset()
}

// A Lock keeps other tasks of its worker out while the calling task changes what they
// share. Tasks of a loop never run at once: there it costs nothing, and holding it across
// a wait would exclude nothing, so that is a mistake on every driver. The virtual driver
// panics at such a wait, and so does the loop if built with the tag invariants.
type Lock interface {
	// Lock is called by a task that does not hold the lock, or by an Interrupt as in
	// Wakeup.Set.
	Lock()
	Unlock()
	// MustHold panics if no task holds the lock. It is meant for functions whose callers
	// hold it, below "if invariants.Enabled": without that tag it does nothing.
	MustHold()
}
