package buffer

import (
	"testing"

	"github.com/poise-lb/poise/internal/engine"
)

// shelved is a runtime with a Shelf.
type shelved struct {
	engine.Runtime
	shelf Shelf
}

func (s *shelved) Shelf() *Shelf { return &s.shelf }

// plain is a runtime without one.
type plain struct{ engine.Runtime }

func TestAShelfHandsOutWhatItHas(t *testing.T) {
	s := ShelfOf(new(shelved))
	if s == nil || ShelfOf(plain{}) != nil {
		t.Fatal("the wrong runtime has a Shelf")
	}
	read, write := s.takeRead(), s.takeWrite()
	if len(*read) != readBytes || cap(*write) < outBytes {
		t.Fatalf("arrays of %d and %d bytes", len(*read), cap(*write))
	}
	if s.takeRead() == read || s.takeWrite() == write {
		t.Fatal("an array that is in use was handed out again")
	}
	s.recycle(read)
	s.giveWrite(write)
	if s.takeRead() != read || s.takeWrite() != write {
		t.Error("an array that was given back is not there")
	}
}

// TestAShelfIsBounded, and what it does not take goes to the pools.
func TestAShelfIsBounded(t *testing.T) {
	var s Shelf
	seen := make(map[*[]byte]bool)
	for range 3 * shelfMost {
		b := make([]byte, readBytes)
		s.giveRead(&b)
	}
	for range 3 * shelfMost {
		b := s.takeRead()
		if seen[b] {
			t.Fatal("one array for two")
		}
		seen[b] = true
	}
	if s.reads.n != 0 || s.reads.all != [shelfMost]*[]byte{} {
		t.Errorf("%d are left", s.reads.n)
	}
}

// TestPoolsDoWithoutAShelf: a nil one takes and gives.
func TestPoolsDoWithoutAShelf(t *testing.T) {
	var none *Shelf
	b := none.takeRead()
	none.recycle(b)
	w := none.takeWrite()
	none.giveWrite(w)
	if len(*b) != readBytes || cap(*w) < outBytes {
		t.Errorf("arrays of %d and %d bytes", len(*b), cap(*w))
	}
}
