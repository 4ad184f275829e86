package mux

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOpenedIsAsAMap: after any sequence of add and remove, of finds what a map has.
func TestOpenedIsAsAMap(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var o opened
		want := map[uint32]*Stream{}
		last := uint32(1)
		for range 200 {
			if r.IntN(2) == 0 {
				last += 2 * (1 + r.Uint32N(3))
				s := &Stream{once: once{id: last}}
				o.add(s)
				want[last] = s
			} else if len(o) > 0 {
				s := o[r.IntN(len(o))]
				o.remove(s)
				o.remove(s) // it is out already
				delete(want, s.id)
			}
			o.remove(&Stream{}) // without an identifier
			if len(o) != len(want) || !slices.IsSortedFunc(o, func(a, b *Stream) int { return int(a.id) - int(b.id) }) {
				t.Fatalf("seed %d: %d streams, want %d", seed, len(o), len(want))
			}
			for id := range last + 3 {
				if o.of(id) != want[id] {
					t.Fatalf("seed %d: stream %d: %p, want %p", seed, id, o.of(id), want[id])
				}
			}
		}
	}
}
