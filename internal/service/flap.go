package service

// Flap damping. Each time a source adds an endpoint that it has removed before, that costs a
// probe, connections, and the keys of a hashing policy. An endpoint that returns for the third
// time within a minute becomes a member at once, so that keys stay where they are, but takes
// requests only when it was not removed again for a quiet time:
//
//	return    at          quiet time
//	1st, 2nd  10, 20 s    none
//	3rd       30 s        5 s: in rotation at 35 s
//	4th       40 s        10 s: in rotation at 50 s
//	5th       55 s        20 s, and so on up to a minute
//	          two minutes without a return or a removal: forgotten
//
// Damping has two bounds, because the other endpoints must carry the load. If more than a
// quarter of the members came back lately, the source itself is unsteady, as a DNS name whose
// answers rotate through a large set: then no further endpoint is damped. And if more than half
// of the endpoints that could serve are damped, all of them serve. So no endpoint carries more
// than twice its share because of damping.

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/event"
)

const (
	flapReturns = 3
	flapWithin  = time.Minute
	quietFirst  = 5 * time.Second
	quietMost   = time.Minute
	flapForget  = 2 * time.Minute
	flapMax     = 1024 // endpoints remembered per service
	flapSweep   = 10 * time.Second
)

// A flap is the history of an endpoint that its source has removed.
type flap struct {
	returns [flapReturns]time.Duration // instants of the latest returns, the last one first; 0: none
	last    time.Duration              // instant of its latest return or removal
	quiet   time.Duration              // length of its latest damping; 0: it was never damped
}

// flaps has the flaps of a service, by identity. The zero value is empty. It is guarded by
// Service.mu.
type flaps struct {
	byID  map[endpoint.ID]*flap
	swept time.Duration
}

// left records that an endpoint was removed at the instant now.
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

// sweep drops what is older than flapForget, at most every flapSweep, and reports whether there is
// room for another flap.
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

// restless reports whether more than a quarter of the members, id and at least one other, have
// returned within flapWithin.
func (f *flaps) restless(id endpoint.ID, members int, now time.Duration) bool {
	n := 0
	for other, one := range f.byID {
		if other != id && one.returns[0] > 0 && now-one.last <= flapWithin {
			n++
		}
	}
	return n > 0 && 4*(n+1) > members
}

// returned records that an endpoint is named again at the instant now. members is how many there
// are. It returns how long the endpoint is damped; 0: not at all.
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

// damp damps a member that is named again, if it flaps. Called with mu held.
func (s *Service) damp(m *Member, now time.Duration) {
	quiet := s.flaps.returned(m.endpoint.ID(), len(s.members), now)
	if quiet == 0 {
		return
	}
	m.quietUntil = now + quiet
	s.alarm(m, 0)
	s.publish(event.EndpointDamped{Endpoint: m.endpoint.ID(), Quiet: quiet})
}

// undamp ends the quiet times that are over at the instant now. Called with mu held.
func (s *Service) undamp(now time.Duration) {
	for _, m := range s.members {
		if m.quietUntil > 0 && m.quietUntil <= now {
			m.quietUntil = 0
			s.todo.dirty = true
		}
	}
}

// enough moves the damped endpoints of a view back to the usable ones if there are more of the
// damped than of the others.
func (w *view) enough() {
	if len(w.usable) >= len(w.reserve) {
		return
	}
	w.usable, w.reserve = append(w.usable, w.reserve...), nil
	slices.SortFunc(w.usable, func(a, b *endpoint.Endpoint) int { return a.ID().Compare(b.ID()) })
}
