// Package policy chooses endpoints. A Policy is two pieces: Build makes a Picker for a
// set of endpoints, off the hot path; Pick chooses one for an attempt, on it.
//
// A picker is a function of its Attempt and of the load that endpoints carry; it holds no
// state that picks change, so that every worker can use it at once. Chance and order are
// fields of the Attempt, drawn by the caller.
//
// # What may be picked
//
// The usable set given to Build, and nothing else, says which endpoints may be picked. Pickers do not
// ask Endpoint.Usable: in panic mode the service deliberately passes endpoints that are
// not. An endpoint that is ejected between two Builds is the service's to notice: it puts
// it in Tried and picks again.
//
// # Load, weight and failure
//
// Policies that look at load compare attempts in flight per weight (least time, by penalties for
// latency, silence and failure besides: leasttime.go). The first candidate
// is always drawn by weight and another one takes over only if it would still be no
// busier after taking the attempt: so shares follow weights while nothing queues, and
// load decides when it does. An endpoint that fails at once always looks idle; the level
// of its recent failure (Endpoint.Failing) is therefore the probability with which it
// loses a comparison that its load would have won, and it draws no more than its share.
package policy

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// Wait is what Pick returns in place of an endpoint to say: there are some, but none should get
// more at present. If the service has a queue (overload.queue), the request waits there and asks
// again when an attempt has ended, and every 50 ms besides; the queue's own limit bounds that. Without
// a queue it is as if Pick had returned nil. The policies of this package never return it: limits of
// endpoints are kept by the service.
var Wait = endpoint.New(endpoint.Spec{})

// AttemptsMax bounds how many endpoints one exchange may try.
const AttemptsMax = 8

// A Policy makes Pickers.
type Policy interface {
	// Build is called whenever members, weights or the usable set change, never
	// concurrently for one service. Two of them begin at least 5 ms apart, and at least ten
	// times as long as the first one took, at most a second, unless nothing is usable: so
	// builds take a tenth of one processor at most.
	// members is every endpoint the service knows, in the order of their IDs; usable is
	// the subset, in the same order, that may be picked. Tables that give keys a home
	// stand on members, so that an endpoint which flaps moves only its own keys.
	// prev is the picker being replaced, or nil; Build must not modify it, but may share
	// its tables or return it as it is. Neither slice is modified after the call, so that
	// pickers may keep them. Build may be called with no members, or with none that is usable.
	Build(members, usable []*endpoint.Endpoint, prev Picker) Picker
}

// A Picker chooses an endpoint for one attempt. Pick is called by many goroutines at
// once and must not block, lock, allocate, read a clock or draw random numbers.
type Picker interface {
	// Pick returns nil when every usable endpoint has been tried, and Wait when those that are
	// left should get no more now. It does not keep a.
	Pick(a *Attempt) *endpoint.Endpoint
}

// An Attempt is the question put to a Picker.
type Attempt struct {
	Key   uint64        // Hash of the exchange's affinity key; 0 if it has none: hashing policies then go by Rand
	Rand  uint64        // random bits, drawn by the caller for this attempt
	Seq   uint64        // running number of picks of this service, from a random start
	Now   time.Duration // the caller's clock, the one given to Begin and End
	Load  int64         // attempts in flight in the whole service, this one not counted; only bounded load reads it
	Lane  uint64        // which part of the endpoints of its service it wants; 0: none. Pickers are built for such a part and ignore it
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
