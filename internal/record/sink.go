package record

import (
	"io"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	linesDefault = 8192
	linesMax     = 1 << 20

	// What a slot holds without an allocation of its own. Longer text and further
	// attempts grow the slot once; it then keeps the room.
	slotTextBytes = 192
	slotAttempts  = 2

	chunkBytes = 32 << 10 // Drain hands the writer pieces of about this size
)

// A Sink is a bounded ring of records between many exchanges and one writer. A nil Sink
// records nothing, at no cost. Make one with NewSink; Clock and Wake may be set before
// it is used and not afterwards. A Sink that is replaced by another passes on what comes
// later, so exchanges that began with the old one need not know of the new one.
type Sink struct {
	// Clock tells the wall time, and by its location the zone of lines that have one; nil: time.Now.
	Clock func() time.Time

	// Format says how lines look, which exchanges have one, and what is copied of heads. NewSink
	// sets the default: JSON. The caller may set another before the Sink is used.
	Format *Format

	// Wake is called by Put, from the exchange's task, when a record arrives after Park.
	// It must not block. nil: nobody is woken.
	Wake func()

	slots []slot
	mask  uint64
	next  atomic.Pointer[Sink] // what has replaced this one; nil: nothing has

	_       [64]byte
	tail    atomic.Uint64 // next position to be written; all producers
	_       [56]byte
	full    atomic.Uint64 // records, or spans of them, that found the ring full
	refused atomic.Uint64 // records that the writer failed to write
	written atomic.Uint64
	parked  atomic.Bool // the consumer waits for Wake
	_       [32]byte
	head    uint64 // next position to be read; the consumer's own
	buf     []byte // the consumer's own
	pen     pen    // likewise

	began time.Time // what the ends of records are counted from: see slot.at
}

// NewSink returns a ring for so many records, rounded up to a power of two; 0 or less
// means 8192, and 1<<20 is the most.
func NewSink(lines int) *Sink {
	if lines <= 0 {
		lines = linesDefault
	}
	size := 1 << bits.Len(uint(min(lines, linesMax)-1))
	s := &Sink{slots: make([]slot, size), mask: uint64(size - 1), Format: &plain, began: time.Now()}
	text := make([]byte, size*slotTextBytes)
	attempts := make([]Attempt, size*slotAttempts)
	for i := range s.slots {
		t, a := i*slotTextBytes, i*slotAttempts
		s.slots[i].text = text[t : t : t+slotTextBytes]
		s.slots[i].attempts = attempts[a : a : a+slotAttempts]
		s.slots[i].seq.Store(uint64(i))
	}
	return s
}

// Put copies x into the ring, or counts it as dropped when the ring is full. It never
// blocks and may be called by any number of tasks at once.
func (s *Sink) Put(x *Exchange) {
	if s == nil {
		return
	}
	for next := s.next.Load(); next != nil; next = s.next.Load() {
		s = next
	}
	if f := s.Format; f != nil && f.samples && !f.keeps(x) {
		return
	}
	l, at := s.claim()
	if l == nil {
		n := uint64(1)
		if s.Format != nil && s.Format.spans {
			n += uint64(len(x.trace().Attempts()))
		}
		s.full.Add(n)
		return
	}
	if s.Clock != nil {
		l.at = s.Clock().Sub(s.began)
	} else {
		l.at = time.Since(s.began)
	}
	l.fill(x, s.Format)
	l.seq.Store(at + 1)
	// Loading first keeps the line shared between processors while nobody is parked.
	if s.parked.Load() && s.parked.CompareAndSwap(true, false) && s.Wake != nil {
		s.Wake()
	}
}

// claim takes the next free slot and its position, or nil if there is none.
func (s *Sink) claim() (*slot, uint64) {
	if len(s.slots) == 0 {
		return nil, 0
	}
	at := s.tail.Load()
	for {
		l := &s.slots[at&s.mask]
		switch ahead := int64(l.seq.Load() - at); {
		case ahead < 0: // still holds the record of one lap ago
			return nil, 0
		case ahead == 0 && s.tail.CompareAndSwap(at, at+1):
			return l, at
		}
		at = s.tail.Load() // another producer was first
	}
}

// Drain writes every record that is ready to w, one line each, and returns how many it
// wrote. It stops at the first error of w; the lines of that piece count as dropped.
// Only one goroutine may drain a Sink.
func (s *Sink) Drain(w io.Writer) (n int, err error) {
	if s == nil {
		return 0, nil
	}
	// A bound, so that a fast producer cannot keep a single call going for ever.
	pending := 0
	s.buf = s.buf[:0]
	s.dates()
	for range len(s.slots) {
		l := &s.slots[s.head&s.mask]
		if l.seq.Load() != s.head+1 {
			break
		}
		s.buf = s.Format.line(s.Format, &s.pen, s.buf, l)
		l.seq.Store(s.head + uint64(len(s.slots)))
		s.head++
		pending++
		if len(s.buf) >= chunkBytes {
			if err := s.flush(w, pending); err != nil {
				return n, err
			}
			n, pending = n+pending, 0
		}
	}
	if err := s.flush(w, pending); err != nil {
		return n, err
	}
	return n + pending, nil
}

// dates has s.pen tell wall times. A record says how long after began the exchange ended, which takes
// one reading of the clock instead of two; what the wall clock was set by since is added here, so a
// line that waited while it was set is dated by the new one.
func (s *Sink) dates() {
	p := &s.pen
	if s.Clock != nil {
		p.began, p.zone = s.began.UnixNano(), s.Clock().Location()
		return
	}
	now := time.Now()
	p.began, p.zone = now.UnixNano()-int64(now.Sub(s.began)), time.Local
}

func (s *Sink) flush(w io.Writer, lines int) error {
	if lines == 0 {
		return nil
	}
	_, err := w.Write(s.buf)
	s.buf = s.buf[:0]
	if err != nil {
		s.refused.Add(uint64(lines))
		return err
	}
	s.written.Add(uint64(lines))
	return nil
}

// Park says that the consumer is about to wait: the next Put calls Wake, once. It
// reports false, and arranges nothing, if there is something to drain already.
func (s *Sink) Park() bool {
	if s == nil {
		return true
	}
	s.parked.Store(true)
	// Looked at after the store: a Put between the two either is seen here or sees it.
	if s.slots[s.head&s.mask].seq.Load() == s.head+1 {
		s.parked.Store(false)
		return false
	}
	return true
}

// ReplaceBy makes records that are put from now on go to next, which must not lead back
// here. A Put that had already begun may still add one to this ring, so its consumer
// drains it for a moment longer.
func (s *Sink) ReplaceBy(next *Sink) { s.next.Store(next) }

// Dropped is the number of records lost so far: the ring was full, or the writer failed.
func (s *Sink) Dropped() uint64 {
	if s == nil {
		return 0
	}
	return s.full.Load() + s.refused.Load()
}

// Written is the number of lines the writer took so far.
func (s *Sink) Written() uint64 {
	if s == nil {
		return 0
	}
	return s.written.Load()
}

// Waiting is the number of records that the writer has neither taken nor refused yet, those
// of a write under way included. Any goroutine may ask.
func (s *Sink) Waiting() uint64 {
	if s == nil {
		return 0
	}
	done := s.written.Load() + s.refused.Load() // before tail, which can only have grown since
	return s.tail.Load() - done
}

// Room is how many records the ring holds.
func (s *Sink) Room() int { return len(s.slots) }

// Pending is the number of records that were claimed and not taken yet. It belongs to the task
// that takes them.
func (s *Sink) Pending() int { return int(s.tail.Load() - s.head) }
