package policy

// What a Picker can say about its choice, for people. Both interfaces are optional: a Picker
// without them is described by the endpoints that it picks.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// A Scorer is a Picker that compares endpoints by a number.
type Scorer interface {
	// Score is what Pick compares e by at the instant now, and what that number is, in words.
	// The lower one wins.
	Score(e *endpoint.Endpoint, now time.Duration) (score float64, unit string)
}

// An Owner is a Picker that gives every key a home.
type Owner interface {
	// Owner is the endpoint that a key belongs to, whether it can be picked or not; nil: there
	// is no endpoint.
	Owner(key uint64) *endpoint.Endpoint
	// Spill is the endpoint that gets the attempt a if the bounded load sends it on from its
	// home: as if that were full. It is nil if there is no other endpoint, or no bound.
	Spill(a *Attempt) *endpoint.Endpoint
}

// Score implements Scorer.
func (p *p2cPicker) Score(e *endpoint.Endpoint, _ time.Duration) (float64, string) {
	return perWeight(e)
}

// Score implements Scorer.
func (p *leastPicker) Score(e *endpoint.Endpoint, _ time.Duration) (float64, string) {
	return perWeight(e)
}

func perWeight(e *endpoint.Endpoint) (float64, string) {
	return float64(e.InFlight()) / float64(e.Weight()), "in flight per weight"
}

// Score implements Scorer: the time that an answer would take.
func (p *peakPicker) Score(e *endpoint.Endpoint, now time.Duration) (float64, string) {
	cost, weight := p.cost(e, now)
	return float64(cost) / float64(weight) / float64(time.Millisecond), "expected ms"
}

// scoreMost is how many endpoints Score compares with.
const scoreMost = 1000

// Score implements Scorer: the cost, among all endpoints and not the few that one Pick looks at.
func (p *leastTimePicker) Score(e *endpoint.Endpoint, now time.Duration) (float64, string) {
	load := 1 + float64(e.InFlight())*float64(p.mean)/float64(e.Weight())
	return load * float64(factor(e, parOf(p.eps[:min(len(p.eps), scoreMost)]), now)), "load, latency and failure"
}

// Owner implements Owner.
func (p *hashPicker) Owner(key uint64) *endpoint.Endpoint {
	all := *p
	all.pickable, all.usable, all.bound, all.weight = nil, nil, 0, float64(p.total)
	return all.Pick(&Attempt{Key: key, Rand: key})
}

// Spill implements Owner. The way of a key leads past its home, so that counts as tried.
func (p *hashPicker) Spill(a *Attempt) *endpoint.Endpoint {
	if p.bound == 0 {
		return nil
	}
	free := *p
	free.bound = 0
	on := *a
	home := free.Pick(&on)
	if home == nil {
		return nil
	}
	on.Tried.Add(home)
	return free.Pick(&on)
}

var (
	_ Scorer = (*p2cPicker)(nil)
	_ Scorer = (*leastPicker)(nil)
	_ Scorer = (*peakPicker)(nil)
	_ Scorer = (*leastTimePicker)(nil)
	_ Scorer = (*reportedPicker)(nil)
	_ Scorer = (*prequalPicker)(nil)
	_ Owner  = (*hashPicker)(nil)
)
