package policy

// Drawing endpoints by weight in constant time: Walker's alias method. Each slot holds one
// endpoint and an alias, so a draw is one multiplication and one comparison.

import (
	"math/bits"

	"github.com/poise-lb/poise/endpoint"
)

// drawsMax is how often a random draw is repeated when it hits an endpoint that is out of
// the question, before the neighbours are asked in turn.
const drawsMax = 4

// A wheel draws endpoints by weight from random numbers in constant time. It is
// immutable; the zero value is empty.
type wheel struct {
	eps     []*endpoint.Endpoint
	weights []int64 // at the time of building
	total   int64   // their sum
	slots   []slot  // nil: all weights are equal
}

// A slot is one column of Walker's alias table: n columns of equal height, each shared by
// at most two endpoints. The fraction of a random number below keep is the column's own
// endpoint, the rest other's.
type slot struct {
	keep  uint64
	other uint32
}

// newWheel builds the table in O(n).
func newWheel(eps []*endpoint.Endpoint) wheel {
	w := wheel{eps: eps, weights: make([]int64, len(eps))}
	equal := true
	for i, e := range eps {
		w.weights[i] = e.Weight()
		w.total += w.weights[i]
		equal = equal && w.weights[i] == w.weights[0]
	}
	if !equal {
		w.slots = aliases(w.weights, w.total)
	}
	return w
}

// aliases fills columns of height total with heights weight × n: each too low one is
// topped up by one too high, until all are even.
func aliases(weights []int64, total int64) []slot {
	n := int64(len(weights))
	slots := make([]slot, n)
	height := make([]int64, n)
	var low, high []uint32
	for i, w := range weights {
		height[i] = w * n
		slots[i] = slot{keep: ^uint64(0), other: uint32(i)}
		if height[i] < total {
			low = append(low, uint32(i))
		} else {
			high = append(high, uint32(i))
		}
	}
	for len(low) > 0 && len(high) > 0 {
		l, h := low[len(low)-1], high[len(high)-1]
		low = low[:len(low)-1]
		keep, _ := bits.Div64(uint64(height[l]), 0, uint64(total))
		slots[l] = slot{keep: keep, other: h}
		height[h] -= total - height[l]
		if height[h] < total {
			high = high[:len(high)-1]
			low = append(low, h)
		}
	}
	return slots
}

// same reports whether the wheel would be built just so for eps as they are now.
func (w *wheel) same(eps []*endpoint.Endpoint) bool {
	if len(eps) != len(w.eps) {
		return false
	}
	for i, e := range eps {
		if e != w.eps[i] || e.Weight() != w.weights[i] {
			return false
		}
	}
	return true
}

// index draws one endpoint's index. The wheel must not be empty.
func (w *wheel) index(r uint64) int {
	i, fraction := bits.Mul64(r, uint64(len(w.eps)))
	if w.slots != nil {
		s := &w.slots[i]
		// A jump could not be predicted: own is all ones if fraction < keep, or else 0.
		_, below := bits.Sub64(fraction, s.keep, 0)
		own := -below
		return int(i&own | uint64(s.other)&^own)
	}
	return int(i)
}

// draw returns an endpoint that is neither tried nor not, by weight as far as few draws
// go, or nil if there is none. r is the first random number used.
func (w *wheel) draw(r uint64, tried *Tried, not *endpoint.Endpoint) *endpoint.Endpoint {
	i := 0
	switch n := len(w.eps); {
	case n == 0:
		return nil
	case n > 1:
		i = w.index(r)
	case w.eps[0] == not:
		return nil // the second draw of a policy that compares two
	}
	for range drawsMax {
		if e := w.eps[i]; e != not && !tried.Has(e) {
			return e
		}
		r = next(r)
		i = w.index(r)
	}
	return turn(w.eps, i, tried, not)
}

// turn returns the first endpoint from index i on, in a circle, that is neither tried nor
// not, or nil. It asks no more endpoints than could be refused, and one.
func turn(eps []*endpoint.Endpoint, i int, tried *Tried, not *endpoint.Endpoint) *endpoint.Endpoint {
	for range min(len(eps), tried.Len()+2) {
		if e := eps[i]; e != not && !tried.Has(e) {
			return e
		}
		if i++; i == len(eps) {
			i = 0
		}
	}
	return nil
}
