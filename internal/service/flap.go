package service

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/event"
)

// Flap damping. An endpoint that its source adds and removes again and again costs every
// time a probe, connections, and the keys of a hashing policy. From the third return
// within a minute on it is a member at once, so that keys stay where they are, but back in
// rotation only when it was not removed again for a quiet time: five seconds, twice as
// long with every further return, at most a minute. Two minutes without a return or a
// removal make everything forgotten.
//
// Damping has two bounds, because what it takes from one endpoint the others must carry. If
// more than a quarter of the members came back lately, it is the source that is restless, as
// a DNS name whose answers rotate through a large set: then no further one is damped. And
// while fewer than half of the endpoints that could serve are not damped, all of them serve.
// So no endpoint carries more than twice its share because others are damped.
const (
	flapReturns = 3
	flapWithin  = time.Minute
	quietFirst  = 5 * time.Second
	quietMost   = time.Minute
	flapForget  = 2 * time.Minute
	flapMax     = 1024 // endpoints remembered per service
	flapSweep   = 10 * time.Second
)

// A flap is what is remembered of an endpoint that its source removed.
type flap struct {
	returns [flapReturns]time.Duration // instants of the latest ones, the last one first
	last    time.Duration              // of its latest return or removal
	quiet   time.Duration              // how long it was damped last; 0: never
}

// flaps is the memory of a service, by identity. The zero value is empty.
type flaps struct {
	byID  map[endpoint.ID]*flap
	swept time.Duration
}

// left notes that an endpoint was removed.
func (f *flaps) left(id endpoint.ID, now time.Duration) {
	if one := f.byID[id]; one != nil && now-one.last <= flapForget {
		one.last = now
		return
	}
	if f.byID == nil {
		f.byID = make(map[endpoint.ID]*flap)
	}
	if len(f.byID) >= flapMax && !f.sweep(now) {
		return // so much comes and goes that no single endpoint stands out
	}
	f.byID[id] = &flap{last: now}
}

// sweep makes room and reports whether there is some. A flood costs one walk in a while.
func (f *flaps) sweep(now time.Duration) bool {
	if f.swept > 0 && now-f.swept < flapSweep {
		return false
	}
	f.swept = now
	for id, one := range f.byID {
		if now-one.last > flapForget {
			delete(f.byID, id)
		}
	}
	return len(f.byID) < flapMax
}

// restless reports whether more than a quarter of so many members came back lately, and not
// the one at id alone.
func (f *flaps) restless(id endpoint.ID, members int, now time.Duration) bool {
	n := 0
	for other, one := range f.byID {
		if other != id && one.returns[0] > 0 && now-one.last <= flapWithin {
			n++
		}
	}
	return n > 0 && 4*(n+1) > members
}

// returned notes that an endpoint is named again, among so many members, and says for how
// long it is damped; 0: not at all.
func (f *flaps) returned(id endpoint.ID, members int, now time.Duration) time.Duration {
	one := f.byID[id]
	if one == nil {
		return 0
	}
	if now-one.last > flapForget {
		delete(f.byID, id)
		return 0
	}
	one.last = now
	copy(one.returns[1:], one.returns[:])
	one.returns[0] = now
	earliest := one.returns[flapReturns-1]
	switch {
	case earliest == 0 && one.quiet == 0: // not often enough yet
	case f.restless(id, members, now):
		return 0
	case one.quiet > 0:
		one.quiet = min(2*one.quiet, quietMost)
	case earliest > 0 && now-earliest <= flapWithin:
		one.quiet = quietFirst
	}
	return one.quiet
}

// damp keeps a member out of rotation for a while if it flaps. Called with mu held.
func (s *Service) damp(m *Member, now time.Duration) {
	quiet := s.flaps.returned(m.endpoint.ID(), len(s.members), now)
	if quiet == 0 {
		return
	}
	m.quietUntil = now + quiet
	s.alarm(m, 0)
	s.publish(event.EndpointDamped{Endpoint: m.endpoint.ID(), Quiet: quiet})
}

// undamp ends the quiet times that are over. Called with mu held.
func (s *Service) undamp(now time.Duration) {
	for _, m := range s.members {
		if m.quietUntil > 0 && m.quietUntil <= now {
			m.quietUntil = 0
			s.todo.dirty = true
		}
	}
}

// enough puts the damped endpoints of a view back among the usable ones if those are too few
// without them.
func (w *view) enough() {
	if len(w.usable) >= len(w.reserve) {
		return
	}
	w.usable, w.reserve = append(w.usable, w.reserve...), nil
	slices.SortFunc(w.usable, func(a, b *endpoint.Endpoint) int { return a.ID().Compare(b.ID()) })
}
