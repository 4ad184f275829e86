package buffer

import (
	"testing"

	"github.com/poise-lb/poise/internal/engine"
)

// sparing is a runtime with Spares.
type sparing struct {
	engine.Runtime
	spares Spares
}

func (s *sparing) Spares() *Spares { return &s.spares }

// plain is a runtime without one.
type plain struct{ engine.Runtime }

func TestSparesHandOutWhatTheyHave(t *testing.T) {
	s := SparesOf(new(sparing))
	if s == nil || SparesOf(plain{}) != nil {
		t.Fatal("the wrong runtime has Spares")
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

// TestSparesAreBounded, and what they do not take goes to the pools.
func TestSparesAreBounded(t *testing.T) {
	var s Spares
	seen := make(map[*[]byte]bool)
	for range 3 * sparesMost {
		b := make([]byte, readBytes)
		s.giveRead(&b)
	}
	for range 3 * sparesMost {
		b := s.takeRead()
		if seen[b] {
			t.Fatal("one array for two")
		}
		seen[b] = true
	}
	if s.reads.n != 0 || s.reads.all != [sparesMost]*[]byte{} {
		t.Errorf("%d are left", s.reads.n)
	}
}

// TestPoolsDoWithoutSpares: a nil one takes and gives.
func TestPoolsDoWithoutSpares(t *testing.T) {
	var none *Spares
	b := none.takeRead()
	none.recycle(b)
	w := none.takeWrite()
	none.giveWrite(w)
	if len(*b) != readBytes || cap(*w) < outBytes {
		t.Errorf("arrays of %d and %d bytes", len(*b), cap(*w))
	}
}
