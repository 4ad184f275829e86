// Package wire is what both sides of an HTTP/1.1 connection share with a stream: the
// read buffer, the writing of heads and content, and the client's side as an exchange
// sees it. It holds no buffer while it has nothing to read or write.
package wire

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/h1"
	"github.com/poise-lb/poise/internal/invariants"
	"github.com/poise-lb/poise/internal/limits"
)

// ErrHeadTooLarge says that a head does not fit into Reader.HeadMax.
var ErrHeadTooLarge = errors.New("head too large")

// outBytes is a write buffer: one relay buffer and a head of ordinary size in front of
// it, so that a response of up to 16 KiB leaves in one write.
const outBytes = limits.RelayBytes + 4<<10

// headSizes are the buffers for a head that stays pinned for the whole exchange: thousands
// of exchanges may wait, and most heads are small.
var headSizes = [...]int{128, 192, 256, 384, 512, 1 << 10, 2 << 10, 4 << 10}

// freeMin is the least room for content beside a pinned head before the buffer grows.
const freeMin = 4 << 10

// chunkOverhead is what a chunk adds to its data: a size in hex and two line ends.
const chunkOverhead = 32

// Buffers of the common sizes are recycled; larger ones are left to the collector.
var (
	headBuffers  [len(headSizes)]sync.Pool
	readBuffers  = sync.Pool{New: func() any { b := make([]byte, limits.RelayBytes); return &b }}
	writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, outBytes); return &b }}
)

// A Reader is a stream with the bytes that were read from it and not used yet. The zero
// value with a Stream is ready. It is used by one task at a time.
type Reader struct {
	Stream engine.Stream
	Pinned bool // what is read first is a head that will be pinned: it is moved to where it fits

	// HeadMax bounds a head, in bytes; 0: limits.HeadBytesMax. The buffer grows up to twice
	// as much for it.
	HeadMax int

	buf  []byte  // nil while nothing is buffered and nobody reads
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
		recycle(b.head)
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
		b.home = readBuffers.Get().(*[]byte)
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

// first reads what begins with a head, and moves it to a buffer in which it fits. There may
// be no room for more then, as for the rest of the head: makeRoom sees to that.
func (b *Reader) first() error {
	n, err := b.Stream.Read(b.buf)
	if n == 0 {
		return err
	}
	b.w = n
	for i, size := range headSizes {
		if n > size {
			continue
		}
		home, _ := headBuffers[i].Get().(*[]byte)
		if home == nil {
			p := make([]byte, size)
			home = &p
		}
		copy(*home, b.buf[:n])
		recycle(b.home)
		b.buf, b.home = *home, home
		break
	}
	return nil
}

// makeRoom moves the unread bytes down to the pin, or into a larger array if that gains
// too little. The old array then is kept for whoever pinned it.
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
	size := limits.RelayBytes
	for size < unread+freeMin {
		size *= 2
	}
	if b.pin == 0 {
		size = max(size, 2*len(b.buf))
	}
	var home *[]byte
	var grown []byte
	if size == limits.RelayBytes {
		home = readBuffers.Get().(*[]byte)
		grown = *home
	} else {
		grown = make([]byte, size)
	}
	copy(grown, b.buf[b.r:b.w])
	switch {
	case b.home == nil: // the collector's, when nobody uses it any more
	case b.pin > 0 && b.head == nil:
		b.head = b.home
	case b.pin == 0:
		recycle(b.home)
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
		recycle(b.home)
	}
	b.buf, b.home, b.r, b.w, b.pin = nil, nil, 0, 0, 0
}

func recycle(b *[]byte) {
	if invariants.Enabled {
		invariants.Poison(*b)
	}
	if len(*b) == limits.RelayBytes {
		readBuffers.Put(b)
		return
	}
	headBuffers[slices.Index(headSizes[:], len(*b))].Put(b)
}

// A Writer gathers what is to be written and writes it at Flush, or sooner when it does
// not fit. The zero value with a Stream is ready. It is used by one task at a time.
type Writer struct {
	Stream engine.Stream
	Out    []byte // gathered; append to it between Room and Flush
	home   *[]byte
	Wrote  bool // the stream has taken bytes
}

// Room makes sure that Out has an array to append to.
func (w *Writer) Room() {
	if w.Out == nil {
		w.home = writeBuffers.Get().(*[]byte)
		w.Out = (*w.home)[:0]
	}
}

// Write writes p, together with what was gathered if both fit into one write.
func (w *Writer) Write(p []byte) error {
	w.Room()
	if len(w.Out)+len(p) <= outBytes {
		w.Out = append(w.Out, p...)
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(p) < limits.RelayBytes/2 {
		w.Room()
		w.Out = append(w.Out, p...)
		return nil
	}
	return w.write(p)
}

// write writes and notes whether anything was taken.
func (w *Writer) write(p []byte) error {
	n, err := w.Stream.Write(p)
	if n > 0 || err == nil {
		w.Wrote = true
	}
	return err
}

// Chunk gathers p as one chunk of the chunked coding, flushing first if it does not fit.
func (w *Writer) Chunk(p []byte) error {
	if len(w.Out) > 0 && len(w.Out)+len(p)+chunkOverhead > outBytes {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	w.Room()
	w.Out = h1.AppendChunk(w.Out, p)
	return nil
}

// Flush writes what was gathered and gives the buffer back.
func (w *Writer) Flush() error {
	if len(w.Out) == 0 {
		w.Drop()
		return nil
	}
	err := w.write(w.Out)
	w.Drop()
	return err
}

// Drop gives the buffer back with whatever is in it.
func (w *Writer) Drop() {
	if w.home != nil {
		*w.home = (*w.home)[:0]
		if invariants.Enabled {
			invariants.Poison(*w.home)
		}
		writeBuffers.Put(w.home)
	}
	w.Out, w.home = nil, nil
}
