package service

// Lanes: parts of the endpoints of a service that differ by a label of their metadata. A lane has a
// view of its own, with the lists of the service's view as far as they are in the lane, and a picker
// that the policy has built for them. So whatever Pick does it does within a lane: draws, reserve, last
// resort. By the label version, of endpoints a (v1), b (v1), c (v2) and d (without):
//
//	attempt of    any                unlabelled         none
//	v2            c, else all        c, else d          c
//	v3            all                d                  nothing
//	no lane       all                d                  d
//
// A route may ask for endpoints with certain labels. They are a lane, too, and such an attempt gets no
// others in any case.
//
// A service without lanes pays one comparison with nil. A shadow is not asked about attempts of a lane.

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// Lanes say which lanes a service has.
type Lanes struct {
	Label     string // key in the metadata of endpoints; empty: there are those of Labels alone
	Otherwise Otherwise
	Labels    []map[string]string // of routes
}

// Otherwise says which endpoints an attempt gets whose lane has none that is usable.
type Otherwise uint8

// What an attempt gets otherwise; the table above has it all.
const (
	AnyEndpoint Otherwise = iota
	Unlabelled
	NoEndpoint
)

// labelsBit distinguishes the ids of lanes that are labels of a route from those of values of Label.
const labelsBit = 1 << 63

// LaneOf is policy.Attempt.Lane of attempts that want endpoints whose label has that value. It does not
// allocate.
func LaneOf(value []byte) uint64 { return cmp.Or(policy.Hash(value)&^labelsBit, 1) }

// LabelsOf is policy.Attempt.Lane of attempts that want endpoints with all of these labels.
func LabelsOf(labels map[string]string) uint64 {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(key + "\x00" + labels[key] + "\x00")
	}
	return policy.Hash([]byte(b.String())) | labelsBit
}

// lanes are those of one view. They are never modified after the view was published.
type lanes struct {
	conf *Lanes
	byID map[uint64]*lane // 0: of endpoints without the label
}

// A lane is a part of a view.
type lane struct {
	view
	value string // of the label; empty: it has none, or the lane is that of a route
}

// at is the lane of an id, which it makes if there is none.
func (l *lanes) at(id uint64, value string) *lane {
	one := l.byID[id]
	if one == nil {
		one = &lane{value: value}
		l.byID[id] = one
	}
	return one
}

// of calls f for every lane that e is in.
func (l *lanes) of(e *endpoint.Endpoint, f func(*lane)) {
	labels := e.Spec().Metadata
	if l.conf.Label != "" {
		value := labels[l.conf.Label]
		id := uint64(0)
		if value != "" {
			id = LaneOf([]byte(value))
		}
		f(l.at(id, value))
	}
	for _, want := range l.conf.Labels {
		if within(labels, want) {
			f(l.at(LabelsOf(want), ""))
		}
	}
}

// within reports whether labels has all of want.
func within(labels, want map[string]string) bool {
	for key, value := range want {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// divide makes the lanes of next, whose lists and picker are there. shaped: all pickers must be built
// anew. Called with work held.
func (s *Service) divide(next, old *view, d *draft, now time.Duration) {
	if d.set.Lanes == nil {
		return
	}
	l := &lanes{conf: d.set.Lanes, byID: make(map[uint64]*lane)}
	if l.conf.Label != "" {
		l.at(0, "")
	}
	for _, labels := range l.conf.Labels {
		l.at(LabelsOf(labels), "")
	}
	for i, list := range [...][]*endpoint.Endpoint{next.members, next.usable, next.reserve, next.ejected} {
		for _, e := range list {
			l.of(e, func(v *lane) {
				into := [...]*[]*endpoint.Endpoint{&v.members, &v.usable, &v.reserve, &v.ejected}[i]
				*into = append(*into, e)
			})
		}
	}
	for id, v := range l.byID {
		v.slow, v.panic, v.strict, v.failing = next.slow, next.panic, next.strict, next.failing
		var was *lane
		if old.lanes != nil {
			was = old.lanes.byID[id]
		}
		s.shapeLane(v, was, d, now)
	}
	s.builds.lanesOf = d.version
	next.lanes = l
	if !next.oldPicker && !next.unshaped() && s.builds.again > 0 { // a lane had failed, and has not now
		s.builds.again = 0
		s.mu.Lock()
		s.noteBuild(nil)
		s.mu.Unlock()
	}
}

// shapeLane gives a lane its picker, which is that of was if it would be the same; was is the lane in the
// last view, nil: there was none. Called with work held.
func (s *Service) shapeLane(v, was *lane, d *draft, now time.Duration) {
	var prev policy.Picker
	if was != nil && !was.oldPicker {
		if !d.shaped && slices.Equal(v.members, was.members) && slices.Equal(v.usable, was.usable) {
			v.picker, v.built = was.picker, was.built
			return
		}
		if s.builds.lanesOf == d.version {
			prev = was.built
		}
	}
	picker, err := safely(d.set.Policy, v.members, v.usable, prev)
	if err != nil {
		v.picker, v.oldPicker = noEndpoints{}, true // Pick takes any of usable then
		s.mu.Lock()
		s.noteBuild(err)
		s.builds.again = now + buildAgain
		s.mu.Unlock()
		return
	}
	v.picker, v.built = picker, picker
	if d.set.Custom {
		v.picker = &guarded{Picker: picker, service: s}
	}
}

// unshaped reports whether the policy has failed to build the picker of a lane.
func (w *view) unshaped() bool {
	if w.lanes != nil {
		for _, v := range w.lanes.byID {
			if v.oldPicker {
				return true
			}
		}
	}
	return false
}

// offers reports whether there is an endpoint in w that need not be tried as a last resort.
func (w *view) offers() bool { return len(w.usable)+len(w.reserve) > 0 }

// tiers are the views that an attempt of a lane may choose from, in this order; nil: none. missed: it
// wants a lane that has no usable endpoint.
func (w *view) tiers(id uint64) (first, then *view, missed bool) {
	l := w.lanes
	if l == nil {
		return w, nil, false
	}
	one := l.byID[id]
	switch {
	case id&labelsBit != 0 && one != nil:
		return &one.view, nil, false
	case id&labelsBit != 0:
		return nil, nil, false // of an older configuration
	case id != 0 && one != nil && one.offers():
		return &one.view, l.rest(w), false
	case id != 0 && one != nil && l.rest(w) != nil:
		return l.rest(w), &one.view, true
	case id != 0 && one != nil:
		return &one.view, nil, true
	case id != 0:
		return l.rest(w), nil, true
	case l.conf.Otherwise == AnyEndpoint || one == nil:
		return w, nil, false
	}
	return &one.view, nil, false
}

// rest is the view for attempts whose lane offers nothing; nil: they get nothing.
func (l *lanes) rest(w *view) *view {
	switch l.conf.Otherwise {
	case Unlabelled:
		return &l.byID[0].view
	case NoEndpoint:
		return nil
	}
	return w
}

// pickInLane is Pick with the view w, which has lanes, and with a.Load set.
func (s *Service) pickInLane(w *view, a *policy.Attempt) *endpoint.Endpoint {
	first, then, missed := w.tiers(a.Lane)
	if missed && !w.frozen {
		s.laneMissed.Add(1)
	}
	for _, v := range [...]*view{first, then} {
		if v != nil {
			e := s.pickFrom(v, a)
			if v == w && w.shadow != nil && !w.frozen {
				s.compareShadow(w.shadow, a, e)
			}
			if e != nil {
				return e
			}
		}
	}
	return nil
}

// keeps reports whether an attempt of a lane may go to e, as far as lanes are concerned.
func (w *view) keeps(id uint64, e *endpoint.Endpoint) bool {
	first, _, _ := w.tiers(id)
	return first != nil && byIDIn(first.members, e.ID()) == e
}

// A LaneStatus is one lane of a service.
type LaneStatus struct {
	Value   string // of the label; empty: endpoints without it
	Members int    // endpoints
	Usable  int    // of them
}

// LaneLabel is the key in the metadata of endpoints whose value is their lane; empty: the service has no
// lanes. Any goroutine may call it.
func (s *Service) LaneLabel() string {
	if l := s.view.Load().lanes; l != nil {
		return l.conf.Label
	}
	return ""
}

// Lanes lists the lanes by value; nil: the service has none. missed is how many attempts wanted a lane
// that had no usable endpoint. Any goroutine may call it.
func (s *Service) Lanes() (all []LaneStatus, missed uint64) {
	l := s.view.Load().lanes
	if l == nil || l.conf.Label == "" {
		return nil, 0
	}
	for id, v := range l.byID {
		if id&labelsBit == 0 {
			all = append(all, LaneStatus{v.value, len(v.members), len(v.usable) + len(v.reserve)})
		}
	}
	slices.SortFunc(all, func(a, b LaneStatus) int { return cmp.Compare(a.Value, b.Value) })
	return all, s.laneMissed.Load()
}
