package sched

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The mailbox is how goroutines that are no tasks of a loop reach it. A message is
// received on the loop, in the next turn; if the loop waits in the kernel, a write to an
// eventfd wakes it up.

// wakeUp is what a write to an eventfd adds to its counter: 1, in the byte order of the
// machine. The counters are never read; at one a write they last for ever.
var wakeUp = func() (one [8]byte) {
	binary.NativeEndian.PutUint64(one[:], 1)
	return one
}()

// A Message is something a loop does for another goroutine. Receive is called on the loop,
// by no task.
type Message interface{ Receive() }

// MessageFunc is a Message that is a function.
type MessageFunc func()

// Receive calls f.
func (f MessageFunc) Receive() { f() }

// A mailbox holds the messages for a loop.
type mailbox struct {
	any    atomic.Bool // there are messages
	asleep atomic.Bool // the loop waits in the kernel, and must be woken up

	mu       sync.Mutex // held for a moment only
	messages []Message
	closed   bool
	wakeFD   int // an eventfd

	receiving []Message // the loop's own: room for those being received
}

// Post reports whether m will be received, which it is not any more when the loop has
// ended. It may be called from any goroutine.
func (l *Loop) Post(m Message) bool { return l.mailbox.post(m) }

func (b *mailbox) post(m Message) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.messages = append(b.messages, m)
	b.any.Store(true)
	if b.asleep.CompareAndSwap(true, false) {
		// Below the lock, so that close cannot come between: the number of a descriptor
		// that was closed may belong to another one.
		one := wakeUp
		unix.Write(b.wakeFD, one[:])
	}
	return true
}

// deliver has the messages received that have come so far.
func (b *mailbox) deliver() {
	b.mu.Lock()
	b.messages, b.receiving = b.receiving[:0], b.messages
	b.any.Store(false)
	b.mu.Unlock()
	for i, m := range b.receiving {
		b.receiving[i] = nil
		m.Receive()
	}
}

// close closes the mailbox for good if it is empty, and reports whether it is closed.
func (b *mailbox) close() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = len(b.messages) == 0
	return b.closed
}
