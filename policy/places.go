package policy

// Places: endpoints are not all where the proxy is, and not all meant for every day. InPlaces has
// any policy choose among those of one place at a time:
//
//	priority 0, zone a (the proxy's)    57 % of the requests
//	priority 0, other zones             0: for when zone a is too busy, or was tried
//	priority 1                          43 %
//
// Build divides the endpoints by priority and by whether they are in the proxy's zone, has the
// policy build a picker for each place, and works out the shares (shares.go). Pick chooses a place
// and asks its picker. If all endpoints of the place were tried it asks the others, the preferred
// ones first, so a retry goes to a backup once nothing else is left.
//
// Where there is one place only, Build returns the picker of the policy itself: whoever does not
// use places pays nothing.
//
// # Who goes where
//
// Seq says which place an attempt gets: multiples of an irrational number are spread over the
// shares more evenly than chance would do it. An attempt with a key goes by its key, so that the
// key stays in its place while the shares stay.
//
// # A zone that is too busy
//
// Capacity says how much a zone should be able to carry, but not that it does. A proxy sees few
// requests of other proxies, so numbers in flight alone cannot tell whether another zone is less
// busy. Latency can. So if the endpoint that was picked in the own zone has spillFrom or more in
// flight, an endpoint of the other zones is picked as well, and gets the attempt if it answers in
// less than half of the time and has, with the attempt, no more in flight per weight:
//
//	own zone: 12 in flight, 80 ms    other: 0 in flight, 10 ms      the other one
//	own zone: 12 in flight, 80 ms    other: 12 in flight, 10 ms     stays
//	own zone: 12 in flight, 15 ms    other: 0 in flight, 10 ms      stays: not even twice as slow
//	own zone: 3 in flight, 80 ms     other: 0 in flight, 10 ms      stays: that is no load
//	own zone: 12 in flight, 80 ms    other: not known               one in 64, to find out

import (
	"slices"
	"strconv"

	"github.com/poise-lb/poise/endpoint"
)

// Places says how requests are shared out among fail-over groups and zones. The zero value looks
// at priorities alone.
type Places struct {
	// Zone is that of the proxy; empty: zones do not matter.
	Zone string
	// Share is the part of all requests that comes by the proxies of Zone, from 0 to 1; 0: as much as
	// by those of each other zone that has endpoints.
	Share float64
	// OverflowBelow is the part of a fail-over group that has to be usable for it to carry everything,
	// above 0 and up to 1; 0 means 0.7.
	OverflowBelow float64
	// PriorityKey is the key of the metadata that hold the priority of an endpoint whose Spec has
	// none; empty: there is none. What is no number from 0 to endpoint.PriorityMax counts as 0.
	PriorityKey string
}

// overflowBelow is the default of Places.OverflowBelow.
const overflowBelow = 0.7

// Priority is the fail-over group of an endpoint.
func (c *Places) Priority(s *endpoint.Spec) int {
	p := s.Priority
	if p == 0 && c.PriorityKey != "" {
		p, _ = strconv.Atoi(s.Metadata[c.PriorityKey])
	}
	if p < 0 || p > endpoint.PriorityMax {
		return 0
	}
	return p
}

// InPlaces has base choose among the endpoints of one place at a time.
func InPlaces(base Policy, c Places) Policy {
	if c.OverflowBelow <= 0 {
		c.OverflowBelow = overflowBelow
	}
	return &inPlaces{base, c}
}

type inPlaces struct {
	base Policy
	Places
}

// stride is the fraction of the square root of 2, as stepping the golden ratio is what
// weightedPicker does with Seq: both together have to be even, too.
const stride = 0x6a09e667f3bcc909

const (
	// spillFrom is how many an endpoint of the own zone has in flight before others are looked at.
	spillFrom = 4
	// tasteOthers says how many of the attempts that might spill find out about another zone: one
	// in 64.
	tasteOthers = 6
)

// A spot is the identity of a place.
type spot struct {
	priority int
	kind     PlaceKind
	zone     string
}

// A place is one with its picker.
type place struct {
	spot
	picker Picker
	upTo   uint64 // it gets the coins from the upTo of the place before up to this one
	beyond int    // index of the place to which it spills; -1: it does not
	info   Place
}

// A placesPicker asks the pickers of places. It has two at least.
type placesPicker struct {
	places []place // the preferred ones first
	last   int     // index of the last one that has a share
	below  float64 // OverflowBelow, for people
}

// ownedPlaces is a placesPicker whose places give keys a home.
type ownedPlaces struct{ placesPicker }

// Build implements Policy.
func (c *inPlaces) Build(members, usable []*endpoint.Endpoint, prev Picker) Picker {
	lists := c.divide(members, usable)
	if len(lists) <= 1 {
		return c.base.Build(members, usable, formerly(prev, spot{}))
	}
	p := placesPicker{places: make([]place, 0, len(lists)), below: c.OverflowBelow}
	sum := 0.0
	owned := true
	for _, l := range lists {
		one := place{spot: l.spot, beyond: -1, picker: c.base.Build(l.members, l.usable, formerly(prev, l.spot)), info: l.info}
		if one.picker == nil { // a mistake of a custom policy, which its service deals with
			return nil
		}
		sum += l.info.Share
		if one.upTo = coinOf(sum); l.info.Share > 0 {
			p.last = len(p.places)
		}
		_, owns := one.picker.(Owner)
		owned = owned && owns
		p.places = append(p.places, one)
	}
	for i := range p.places[1:] {
		if p.places[i].kind == OwnZone { // OtherZones follows
			p.places[i].beyond = i + 1
		}
	}
	if owned {
		return &ownedPlaces{p}
	}
	return &p
}

// formerly is the picker that a place had before, or else any one of before: policies look at
// what is in it.
func formerly(prev Picker, at spot) Picker {
	p := placesOf(prev)
	if p == nil {
		return prev
	}
	i := max(0, slices.IndexFunc(p.places, func(one place) bool { return one.spot == at }))
	return p.places[i].picker
}

// placesOf is the placesPicker that p is; nil: it is none.
func placesOf(p Picker) *placesPicker {
	switch p := p.(type) {
	case *placesPicker:
		return p
	case *ownedPlaces:
		return &p.placesPicker
	}
	return nil
}

// Pick implements Picker.
func (p *placesPicker) Pick(a *Attempt) *endpoint.Endpoint {
	i := p.choose(a)
	at := &p.places[i]
	e := at.picker.Pick(a)
	if e == nil {
		return p.another(a, i)
	}
	if at.beyond >= 0 && e.InFlight() >= spillFrom && a.Key == 0 {
		return p.spill(a, e, &p.places[at.beyond])
	}
	return e
}

// choose returns the index of the place of an attempt.
func (p *placesPicker) choose(a *Attempt) int {
	coin := a.Seq * stride
	if a.Key != 0 {
		coin = mix(a.Key ^ stride) // not the key itself, by which a policy may go
	}
	i := 0
	for i < p.last && coin >= p.places[i].upTo {
		i++
	}
	return i
}

// another picks for an attempt that has tried all endpoints of place i.
func (p *placesPicker) another(a *Attempt, i int) *endpoint.Endpoint {
	for j := range p.places {
		if j == i {
			continue
		}
		if e := p.places[j].picker.Pick(a); e != nil {
			return e
		}
	}
	return nil
}

// spill returns e, which the own zone has picked and which is busy, or an endpoint of the other
// zones that answers clearly sooner.
func (p *placesPicker) spill(a *Attempt, e *endpoint.Endpoint, others *place) *endpoint.Endpoint {
	other := others.picker.Pick(a)
	if other == nil {
		return e
	}
	known := other.Expected(a.Now)
	if known == endpoint.Unknown || other.Idle(a.Now) > restMost {
		if next(a.Rand)>>(64-tasteOthers) == 0 {
			return other
		}
		return e
	}
	if e.Expected(a.Now) > known && e.Expected(a.Now)-known > endpoint.Octave && (other.InFlight()+1)*e.Weight() <= e.InFlight()*other.Weight() {
		return other
	}
	return e
}
