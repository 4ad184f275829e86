// Package buffer is what a connection of either side puts between itself and its stream: a
// Reader for bytes that have arrived and were not used yet, a Writer that gathers what leaves
// in one write. Both take their arrays from pools when they need one and give them back as
// soon as they do not, so that an idle connection and an exchange that waits hold little.
//
// A head is pinned: its bytes stay where they are while the content behind it is read, and
// the slices that were parsed out of it stay valid. For example, after
//
//	r.Pin(n)     // the head is r.Buffered()[:n]
//	r.Fill()     // content arrives behind it, in the same array or in another
//
// the head can still be read; Release or Unpin ends that.
package buffer

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
	"github.com/poise-lb/poise/internal/limits"
)

// ErrHeadTooLarge says that a head does not fit into Reader.HeadMax.
var ErrHeadTooLarge = errors.New("head too large")

// headSizes are the buffers for a head that stays pinned for the whole exchange: thousands
// of exchanges may wait, and most heads are small.
var headSizes = [...]int{128, 192, 256, 384, 512, 1 << 10, 2 << 10, 4 << 10}

// headRoom is for a head of ordinary size in front of a relay buffer, and readBytes the buffer
// that has both: a response or an upload of 16 KiB, which is a common size, comes in one read
// and leaves in one write. Without it its last hundred bytes cost a read and a write more, a
// fifth of the CPU time of the request.
const (
	headRoom  = 4 << 10
	readBytes = headRoom + limits.RelayBytes
)

// freeMin is the least room for content beside a pinned head before the buffer grows.
const freeMin = 4 << 10

// wideBytes is what is read at once of long content that comes fast: see Widen.
const wideBytes = 64 << 10

// Buffers of the common sizes are recycled; larger ones are left to the collector.
var (
	headBuffers [len(headSizes)]sync.Pool
	wideBuffers = sync.Pool{New: func() any { b := make([]byte, wideBytes); return &b }}
	readBuffers = sync.Pool{New: func() any { b := make([]byte, readBytes); return &b }}
)

// A Reader is a stream with the bytes that were read from it and not used yet. The zero
// value with a Stream is ready. It is used by one task at a time.
type Reader struct {
	Stream engine.Stream
	Pinned bool // what is read first is a head that will be pinned: it is moved to where it fits

	// Own is where such a head goes if it fits. The Reader has it from its owner, for good, since
	// heads come too often to visit a pool for each. Nil: there is none.
	Own []byte

	// Spares has arrays of the worker whose tasks use the Reader; nil: it has none.
	Spares *Spares

	// HeadMax bounds a head, in bytes; 0: limits.HeadBytesMax. The buffer grows up to twice
	// as much for it.
	HeadMax int

	buf  []byte  // nil while nothing is buffered and no task reads
	home *[]byte // the recycled array below buf, nil if buf is of no common size
	head *[]byte // one that a pinned head is in although buf is another by now
	r, w int     // unread: buf[r:w]
	pin  int     // buf[:pin] is a head in use and stays where it is
}

// Buffered returns the unread bytes. They are valid until the next Fill.
func (b *Reader) Buffered() []byte { return b.buf[b.r:b.w] }

// Advance uses up n buffered bytes.
func (b *Reader) Advance(n int) { b.r += n }

// Pin uses up n bytes that stay in place until Unpin: a head whose slices are in use.
func (b *Reader) Pin(n int) {
	b.r += n
	b.pin = b.r
}

// Unpin ends Pin.
func (b *Reader) Unpin() {
	b.pin = 0
	if b.head != nil {
		b.recycle(b.head)
		b.head = nil
	}
}

// Fill waits until at least one more byte is buffered. It fails with ErrHeadTooLarge when
// HeadMax unread bytes are buffered already, and as Stream.Read does.
func (b *Reader) Fill() error {
	if b.buf == nil {
		if err := b.Stream.Await(); err != nil {
			return err
		}
		b.home = b.Spares.takeRead()
		b.buf, b.r, b.w, b.pin = *b.home, 0, 0, 0
		if b.Pinned && b.head == nil {
			return b.first()
		}
	}
	if b.r == b.w {
		b.r, b.w = b.pin, b.pin
	}
	if b.w == len(b.buf) || (b.r == b.w && b.pin > 0 && len(b.buf)-b.w < freeMin) {
		if err := b.makeRoom(); err != nil {
			return err
		}
	}
	n, err := b.Stream.Read(b.buf[b.w:])
	b.w += n
	if n > 0 {
		return nil
	}
	return err
}

// Widen chooses the array of the next Fill by what the last one has brought; left is the content
// that is still to come, in bytes. Where a read has filled an ordinary array more is waiting, and a
// large one has it in a third of the system calls. Where a read has brought less than an ordinary one
// holds, content does not come faster than it is taken, and the large one goes back. It does nothing
// while bytes are unread or pinned.
func (b *Reader) Widen(left int64) {
	if b.r != b.w || b.pin != 0 || b.home == nil {
		return
	}
	pool := &readBuffers
	switch {
	case len(b.buf) == readBytes && b.w == readBytes && left >= wideBytes:
		pool = &wideBuffers
	case len(b.buf) != wideBytes || b.w > readBytes:
		return
	}
	b.recycle(b.home)
	b.home = pool.Get().(*[]byte)
	b.buf, b.r, b.w = *b.home, 0, 0
}

// first reads what begins with a head, and moves it to a buffer in which it fits. There may
// be no room for more then, as for the rest of the head: makeRoom sees to that.
func (b *Reader) first() error {
	n, err := b.Stream.Read(b.buf)
	if n == 0 {
		return err
	}
	b.w = n
	if n <= len(b.Own) {
		b.move(&b.Own)
		return nil
	}
	for i, size := range headSizes {
		if n > size {
			continue
		}
		home, _ := headBuffers[i].Get().(*[]byte)
		if home == nil {
			p := make([]byte, size)
			home = &p
		}
		b.move(home)
		break
	}
	return nil
}

// move moves what first has read to another array.
func (b *Reader) move(home *[]byte) {
	copy(*home, b.buf[:b.w])
	b.recycle(b.home)
	b.buf, b.home = *home, home
}

// makeRoom moves the unread bytes down to the pin, or into a larger array if that gains
// too little. The old array then is kept until it is unpinned.
func (b *Reader) makeRoom() error {
	unread := b.w - b.r
	if unread >= cmp.Or(b.HeadMax, limits.HeadBytesMax) {
		return ErrHeadTooLarge
	}
	if len(b.buf)-b.pin-unread >= freeMin && b.r > b.pin {
		copy(b.buf[b.pin:], b.buf[b.r:b.w])
		b.r, b.w = b.pin, b.pin+unread
		return nil
	}
	size := readBytes
	for size < unread+freeMin {
		size *= 2
	}
	if b.pin == 0 {
		size = max(size, 2*len(b.buf))
	}
	var home *[]byte
	var grown []byte
	if size == readBytes {
		home = b.Spares.takeRead()
		grown = *home
	} else {
		grown = make([]byte, size)
	}
	copy(grown, b.buf[b.r:b.w])
	switch {
	case b.home == nil: // left to the garbage collector
	case b.pin > 0 && b.head == nil:
		b.head = b.home
	case b.pin == 0:
		b.recycle(b.home)
	}
	b.buf, b.home, b.r, b.w, b.pin = grown, home, 0, unread, 0
	return nil
}

// Release gives the buffer back if nothing is unread in it and nothing pinned.
func (b *Reader) Release() {
	if b.buf != nil && b.r == b.w && b.pin == 0 {
		b.giveUp()
	}
}

// Drop gives the buffer back with whatever is in it: the stream is not read any more.
func (b *Reader) Drop() {
	b.Unpin()
	if b.buf != nil {
		b.giveUp()
	}
}

func (b *Reader) giveUp() {
	if b.home != nil {
		b.recycle(b.home)
	}
	b.buf, b.home, b.r, b.w, b.pin = nil, nil, 0, 0, 0
}

// recycle gives an array back, unless it is b's own.
func (b *Reader) recycle(home *[]byte) {
	if home != &b.Own {
		b.Spares.recycle(home)
	} else if invariants.Enabled {
		invariants.Poison(b.Own)
	}
}

// recycle gives back an array of one of the common sizes. Nil Spares take it, too.
func (s *Spares) recycle(b *[]byte) {
	if invariants.Enabled {
		invariants.Poison(*b)
	}
	switch len(*b) {
	case readBytes:
		s.giveRead(b)
		return
	case wideBytes:
		wideBuffers.Put(b)
		return
	}
	headBuffers[slices.Index(headSizes[:], len(*b))].Put(b)
}

// discardReads is how much of what has arrived Discard takes at once, in reads: a client that
// sends fast must not keep the others of its event loop waiting.
const discardReads = 16

// Discard reads over what has arrived on s, or waits for the next bytes. It reports whether
// there is more to come: false after the end of the stream, or any error.
func Discard(s engine.Stream) bool {
	home := readBuffers.Get().(*[]byte)
	defer (*Spares)(nil).recycle(home)
	for range discardReads {
		if _, err := s.Read(*home); err != nil {
			return false
		}
		if s.Quiet() {
			break
		}
	}
	return true
}
