package loop

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// bellRings is what a write to an eventfd adds to its counter: 1, in the byte order of the
// machine. Nobody reads the counters; at one a write they last for ever.
var bellRings = func() (one [8]byte) {
	binary.NativeEndian.PutUint64(one[:], 1)
	return one
}()

// A letter tells a loop something from outside. It is opened on the loop, by no task.
type letter interface{ open(l *loop) }

type letterFunc func(l *loop)

func (f letterFunc) open(l *loop) { f(l) }

// A mailbox is what other goroutines have to say to a loop.
type mailbox struct {
	any    atomic.Bool // there are letters
	asleep atomic.Bool // the loop waits in the kernel, and must be rung for

	mu      sync.Mutex // held for a moment only
	letters []letter
	shutUp  bool
	bell    int // an eventfd

	read []letter // the loop's own: room for those being opened
}

// post reports whether m will be opened. It may be called from any goroutine.
func (b *mailbox) post(m letter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shutUp {
		return false
	}
	b.letters = append(b.letters, m)
	b.any.Store(true)
	if b.asleep.CompareAndSwap(true, false) {
		// Below the lock, so that shut cannot come between: the number of a closed
		// descriptor may be somebody else's.
		one := bellRings
		unix.Write(b.bell, one[:])
	}
	return true
}

// deliver opens the letters that have come so far.
func (b *mailbox) deliver(l *loop) {
	b.mu.Lock()
	b.letters, b.read = b.read[:0], b.letters
	b.any.Store(false)
	b.mu.Unlock()
	for i, m := range b.read {
		b.read[i] = nil
		m.open(l)
	}
}

// shut closes the mailbox for good if it is empty.
func (b *mailbox) shut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shutUp = len(b.letters) == 0
	return b.shutUp
}
