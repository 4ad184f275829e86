package buffer

import "github.com/poise-lb/poise/internal/engine"

// sparesMost is how many arrays of a kind Spares keep: a task that waits has none, as a rule, so few
// are in use at a time.
const sparesMost = 4

// Spares keep arrays of one worker for its next tasks, in front of the pools that all workers have
// in common: four visits to those for each request cost as much as parsing two fields. For example,
// of a request and its response on one event loop:
//
//	Fill      an array for reading is taken      the head moves to Reader.Own: it is given back
//	Room      an array for writing is taken      Flush: it is given back
//	Fill      the same array for reading is taken, for the response ...
//
// Only tasks of that worker may use a Reader or a Writer that has it. The zero value has none.
type Spares struct{ reads, writes arrays }

// A Sparer is a Runtime with Spares: one whose tasks never run side by side.
type Sparer interface{ Spares() *Spares }

// SparesOf are the Spares of a runtime; nil: it has none, and the pools do.
func SparesOf(rt engine.Runtime) *Spares {
	if s, ok := rt.(Sparer); ok {
		return s.Spares()
	}
	return nil
}

// arrays are those that are not in use.
type arrays struct {
	all [sparesMost]*[]byte
	n   int
}

// take returns one; nil: there is none.
func (a *arrays) take() *[]byte {
	if a.n == 0 {
		return nil
	}
	a.n--
	b := a.all[a.n]
	a.all[a.n] = nil
	return b
}

// give keeps b; false: there are enough.
func (a *arrays) give(b *[]byte) bool {
	if a.n == len(a.all) {
		return false
	}
	a.all[a.n] = b
	a.n++
	return true
}

// takeRead returns an array of readBytes.
func (s *Spares) takeRead() *[]byte {
	if s != nil {
		if b := s.reads.take(); b != nil {
			return b
		}
	}
	return readBuffers.Get().(*[]byte)
}

// giveRead takes such an array back.
func (s *Spares) giveRead(b *[]byte) {
	if s == nil || !s.reads.give(b) {
		readBuffers.Put(b)
	}
}

// takeWrite returns an array for a Writer.
func (s *Spares) takeWrite() *[]byte {
	if s != nil {
		if b := s.writes.take(); b != nil {
			return b
		}
	}
	return writeBuffers.Get().(*[]byte)
}

// giveWrite takes such an array back.
func (s *Spares) giveWrite(b *[]byte) {
	if s == nil || !s.writes.give(b) {
		writeBuffers.Put(b)
	}
}
