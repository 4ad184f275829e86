package service

// Why requests go where they go: Explain asks the picker of the view in force a thousand times.
// That is cheap and changes nothing, because Pick is a function of its arguments and of the load.
// What a real pick takes besides, a trial of a half-open endpoint or the turn of a last resort, it
// does not take from a view that is frozen:
//
//	view in force ─copy─► frozen view ─pickFrom─► as Pick, without trial and claim
//	                                               no Begin, no Settle, no Seq

import (
	"cmp"
	"slices"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// explainSeed begins the random numbers of Explain: the same question about the same view has the
// same answer.
const explainSeed = 0x9e3779b97f4a7c15

// An Explanation is how a service would serve a request at one moment.
type Explanation struct {
	Panic     bool // panic mode is on
	Resorting bool // no endpoint is sound
	// Candidates are all endpoints, in the order of their IDs, draining ones included.
	Candidates []Candidate
	Nothing    int  // draws that found no endpoint
	LaneMissed bool // the lane that was asked for has no usable endpoint
	Waits      int  // draws that found none with a place
	// Places are the parts of the endpoints that the picker tells apart; nil: it does not.
	Places []policy.Place
	// Owner, Serves and Spill are about the key of consistent hashing, by ID: see policy.Owner;
	// Serves is the one that gets the key now. Zero: there is none, or no such policy or key.
	Owner, Serves, Spill endpoint.ID
}

// A Candidate is an endpoint of an Explanation.
type Candidate struct {
	EndpointStatus
	Eligible bool    // the picker may choose it
	Outside  bool    // it is not in the lane
	Relative int64   // its weight as the picker sees it
	Score    float64 // what the policy compares; the lower one wins
	Unit     string  // what Score is; empty: the policy has none
	Draws    int     // how many of the draws chose it
	Place    int     // index of its place in Places; -1: none, or it is outside of the subset of this proxy
	Shadowed int     // how many of them the shadow would have chosen it for
}

// Explain draws n times from the view in force, for requests with the given key and lane; 0: without
// one. It sends nothing and changes no state. Any goroutine may call it.
func (s *Service) Explain(key, lane uint64, n int) Explanation {
	frozen := s.view.Load().freeze()
	now := s.rt.Now()
	x := Explanation{Panic: frozen.panic, Resorting: frozen.resorting()}
	drawn, shadowed := make(map[endpoint.ID]int), make(map[*endpoint.Endpoint]int)
	a := policy.Attempt{Key: key, Lane: lane, Now: now, Load: s.load.n.Load(), Seq: s.load.seq.Load(), Rand: explainSeed}
	within, _, missed := frozen.tiers(lane)
	if x.LaneMissed = missed; within == nil {
		within = &view{frozen: true}
	}
	for range n {
		a.Seq++
		a.Rand = scramble(a.Rand + explainSeed)
		switch e := s.pickInLane(frozen, &a); e {
		case nil:
			x.Nothing++
		case policy.Wait:
			x.Waits++
		default:
			drawn[e.ID()]++
		}
		if within == frozen { // the shadow does not look at lanes
			if e := s.shadowPick(frozen.shadow, a); e != nil {
				shadowed[e]++
			}
		}
	}
	x.own(within, &a)
	x.Places = placesOf(within)
	at := indexPlaces(x.Places)
	scorer, _ := within.built.(policy.Scorer)
	for _, status := range s.Snapshot() {
		c := Candidate{EndpointStatus: status, Draws: drawn[status.Spec.ID], Relative: 1, Place: -1}
		if e := byIDIn(frozen.members, status.Spec.ID); e != nil {
			c.Relative, c.Shadowed = e.Weight(), shadowed[e]
			c.Outside = frozen.lanes != nil && byIDIn(within.members, e.ID()) == nil
			c.Eligible = byIDIn(within.usable, e.ID()) != nil && s.admit(within, e) // ejected since the view was built
			if scorer != nil && c.Eligible {
				c.Score, c.Unit = scorer.Score(e, now)
			}
			if i, known := at[e.ID()]; known {
				c.Place = i
			}
		}
		x.Candidates = append(x.Candidates, c)
	}
	return x
}

// A KeyShare is an endpoint's part of the keys of consistent hashing, from 0 to 1.
type KeyShare struct {
	ID       endpoint.ID
	Owned    float64 // they belong to it, whether it can be picked or not
	Served   float64 // they are sent to it now
	Expected float64 // owned, if keys were spread exactly by weight
}

// Keys looks up n keys, which are the same each time, in the view in force, and counts whose they
// are: of all endpoints of the set, in the order of their IDs. away is the part of the keys that
// another endpoint serves now than the one they belong to. all is nil if the policy gives keys no
// home, or there is no endpoint. It changes no state. Any goroutine may call it.
func (s *Service) Keys(n int) (all []KeyShare, away float64) {
	frozen := s.view.Load().freeze()
	owner, ok := frozen.built.(policy.Owner)
	if !ok || len(frozen.members) == 0 {
		return nil, 0
	}
	owned, served, elsewhere := make(map[*endpoint.Endpoint]int), make(map[*endpoint.Endpoint]int), 0
	a := policy.Attempt{Now: s.rt.Now(), Load: s.load.n.Load(), Rand: explainSeed}
	for i := range n {
		a.Key = scramble(uint64(i+1) * explainSeed)
		home, now := owner.Owner(a.Key), s.pickFrom(frozen, &a)
		owned[home]++
		served[now]++
		if home != now {
			elsewhere++
		}
	}
	var weights int64
	for _, e := range frozen.members {
		weights += e.Weight()
	}
	for _, e := range frozen.members {
		all = append(all, KeyShare{
			ID: e.ID(), Owned: float64(owned[e]) / float64(n), Served: float64(served[e]) / float64(n),
			Expected: float64(e.Weight()) / float64(max(1, weights)),
		})
	}
	return all, float64(elsewhere) / float64(n)
}

// freeze is a copy of w for Explain, with its lanes.
func (w *view) freeze() *view {
	frozen := *w
	frozen.frozen = true
	if g, custom := frozen.picker.(*guarded); custom {
		frozen.picker = &guarded{Picker: g.Picker}
	}
	if w.lanes != nil {
		frozen.lanes = &lanes{conf: w.lanes.conf, byID: make(map[uint64]*lane)}
		for id, one := range w.lanes.byID {
			frozen.lanes.byID[id] = &lane{view: *one.freeze(), value: one.value}
		}
	}
	return &frozen
}

// byIDIn finds an endpoint in a list of a view; nil: it is not there.
func byIDIn(list []*endpoint.Endpoint, id endpoint.ID) *endpoint.Endpoint {
	i, found := slices.BinarySearchFunc(list, id, func(e *endpoint.Endpoint, id endpoint.ID) int { return e.ID().Compare(id) })
	if !found {
		return nil
	}
	return list[i]
}

// own fills in what is about the key.
func (x *Explanation) own(w *view, a *policy.Attempt) {
	p, ok := w.built.(policy.Owner)
	if !ok || a.Key == 0 {
		return
	}
	if e := p.Owner(a.Key); e != nil {
		x.Owner = e.ID()
	}
	if e := w.picker.Pick(a); e != nil && e != policy.Wait {
		x.Serves = e.ID()
	}
	if e := p.Spill(a); e != nil {
		x.Spill = e.ID()
	}
}

// Eligible counts the candidates that the picker may choose.
func (x *Explanation) Eligible() (n int) {
	for i := range x.Candidates {
		if x.Candidates[i].Eligible {
			n++
		}
	}
	return n
}

// placesOf are the places of the picker of a view; nil: it tells none apart.
func placesOf(w *view) []policy.Place {
	if p, ok := w.built.(policy.Placer); ok {
		return p.Places()
	}
	return nil
}

// indexPlaces has the place of each endpoint that first attempts choose, as an index.
func indexPlaces(places []policy.Place) map[endpoint.ID]int {
	at := make(map[endpoint.ID]int)
	for i := range places {
		for _, e := range places[i].Endpoints() {
			if was, known := at[e.ID()]; !known || places[was].Kind == policy.OtherZones {
				at[e.ID()] = i
			}
		}
	}
	return at
}

// Places are the parts of the endpoints that the picker in force tells apart, with their shares, the
// preferred ones first, and the index of the place of each endpoint that first attempts choose; nil:
// it tells none apart. It takes no lock.
func (s *Service) Places() (places []policy.Place, at map[endpoint.ID]int) {
	if places = s.Shares(); places == nil {
		return nil, nil
	}
	return places, indexPlaces(places)
}

// Shares are the places without the index.
func (s *Service) Shares() []policy.Place { return placesOf(s.view.Load()) }

// Expected is the share of candidate c by weight among those that the picker may choose, or among
// those of its place.
func (x *Explanation) Expected(c *Candidate) float64 {
	if x.Places != nil {
		if !c.Eligible || c.Place < 0 {
			return 0
		}
		p := &x.Places[c.Place]
		return p.Share * float64(c.Relative) / float64(max(p.Weight(), 1))
	}
	var total int64
	for i := range x.Candidates {
		if x.Candidates[i].Eligible {
			total += x.Candidates[i].Relative
		}
	}
	if !c.Eligible {
		return 0
	}
	return float64(c.Relative) / float64(cmp.Or(total, 1))
}

// scramble mixes a number well (the finalizer of SplitMix64).
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
