// Package policy chooses endpoints. A Policy is two pieces: Build makes a Picker for a
// set of endpoints, off the hot path; Pick chooses one for an attempt, on it.
package policy

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// AttemptsMax bounds how many endpoints one exchange may try.
const AttemptsMax = 8

// A Policy makes Pickers.
type Policy interface {
	// Build is called whenever members, weights or the usable set change, never
	// concurrently for one service, and not more than about ten times a second.
	// members is every endpoint the service knows, in the order of their IDs; usable is
	// the subset, in the same order, that may be picked. Tables that give keys a home
	// stand on members, so that an endpoint which flaps moves only its own keys.
	// prev is the picker being replaced, or nil; Build must not modify it.
	Build(members, usable []*endpoint.Endpoint, prev Picker) Picker
}

// A Picker chooses an endpoint for one attempt. Pick is called by many goroutines at
// once and must not block, lock, allocate, read a clock or draw random numbers.
type Picker interface {
	// Pick returns nil when every usable endpoint has been tried.
	Pick(a *Attempt) *endpoint.Endpoint
}

// An Attempt is the question put to a Picker.
type Attempt struct {
	Key   uint64        // hash of the exchange's affinity key; 0 if it has none
	Rand  uint64        // random bits, drawn by the caller
	Seq   uint64        // running number of the calling worker for this service, from a random start
	Now   time.Duration // the caller's clock, the one given to Begin and End
	Tried Tried         // endpoints this exchange has tried
}

// Tried is a small set of endpoints; the zero value is empty.
type Tried struct {
	n   int
	eps [AttemptsMax]*endpoint.Endpoint
}

// Add puts e in the set; more than AttemptsMax are ignored.
func (t *Tried) Add(e *endpoint.Endpoint) {
	if t.n < len(t.eps) {
		t.eps[t.n] = e
		t.n++
	}
}

// Has reports whether e is in the set.
func (t *Tried) Has(e *endpoint.Endpoint) bool {
	for i := 0; i < t.n; i++ {
		if t.eps[i] == e {
			return true
		}
	}
	return false
}

// Len is the number of endpoints in the set.
func (t *Tried) Len() int { return t.n }
