package service

// Overrides: what operators say about endpoints by hand. They stand beside what the source says and
// what health finds out, and go before both:
//
//	kind     effect while it is in force
//	drain    no new requests, as for a member that is out; but its probes go on, so its state is
//	         current when it is undrained
//	eject    an input of the state machine: ejected by the operator, whatever probes, attempts and
//	         panic mode say; exchanges that wait for its answer may try another endpoint
//	weight   stands in for the source's weight
//	admit    healthy now, the breaker closed; it ends an ejection by an operator. It is an act:
//	         nothing stays in force
//
// Drain and eject replace each other; weight stands beside them. An override belongs to the
// identity of an endpoint, as its state does. It ends at its instant, when it is removed or
// replaced, or with its service:
//
//	 0 s    drain a until 60 s      a gets no new requests
//	10 s    the source removes a    the override stays, Absent
//	30 s    the source names a      a member again, drained from the start
//	60 s    the end                 OverrideEnded, expired; a is in rotation, with its slow start
//
// Every beginning and every end is an event, so the log has them all.

import (
	"errors"
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/event"
)

// overridesMax bounds the endpoints of a service that have overrides: those that never return would
// pile up.
const overridesMax = 4096

// Errors of Override and RemoveOverride.
var (
	ErrNoEndpoint    = errors.New("the service has no such endpoint")
	ErrNoOverride    = errors.New("there is no such override")
	ErrOverridesFull = errors.New("too many endpoints of the service have overrides: remove some")
)

// overrides are what operators say, by identity. The zero value is empty. They are guarded by
// Service.mu.
type overrides map[endpoint.ID]overridden

// overridden is what is in force for one endpoint; nil: nothing.
type overridden struct {
	rotation *endpoint.Override // Drain or Eject
	weight   *endpoint.Override
}

// of is the place of a kind.
func (o *overridden) of(k endpoint.OverrideKind) **endpoint.Override {
	if k == endpoint.Weigh {
		return &o.weight
	}
	return &o.rotation
}

// set replaces what is in force in the place of that kind by now, nil for nothing, and returns what
// was in force there.
func (s *overrides) set(id endpoint.ID, k endpoint.OverrideKind, now *endpoint.Override) (was *endpoint.Override) {
	if *s == nil {
		*s = make(overrides)
	}
	o := (*s)[id]
	place := o.of(k)
	was, *place = *place, now
	if (*s)[id] = o; o == (overridden{}) {
		delete(*s, id)
	}
	return was
}

// ids lists the endpoints that have overrides, in order, so that events come in an order that
// repeats.
func (s overrides) ids() []endpoint.ID {
	order := make([]*endpoint.ID, 0, len(s)) // pointers: sorting IDs would be code of its own
	for id := range s {
		order = append(order, &id)
	}
	slices.SortFunc(order, func(a, b *endpoint.ID) int { return a.Compare(*b) })
	ids := make([]endpoint.ID, len(order))
	for i, id := range order {
		ids[i] = *id
	}
	return ids
}

// away reports whether m gets no new requests because its source or an operator says so. That is
// not doubted: such members do not count where health is. Called with mu held.
func (m *Member) away() bool { return m.out || m.drained || m.machine.Barred() }

// Override puts o in force; the caller sets all but Made and Absent. It returns the override as it
// is now. The endpoint must be one of the service, or have an override. Any goroutine may call
// it. Drain and eject hold on return; what needs a new view, as a weight does, holds when the next
// one is built, within a second. It may wait for a build under way.
func (s *Service) Override(o endpoint.Override) (endpoint.Override, error) {
	s.work.Lock()
	defer s.work.Unlock()
	now := s.rt.Now()
	o.Made, o.Absent = now, false
	if err := s.override(&o, now); err != nil {
		return endpoint.Override{}, err
	}
	s.rebuild(now)
	return o, nil
}

// override is Override without the build. Called with work held.
func (s *Service) override(o *endpoint.Override, now time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, had := s.overrides[o.Endpoint]
	m := s.byID[o.Endpoint]
	switch {
	case s.absent(m) && (!had || o.Kind == endpoint.Admit), s.stopped.Load():
		return ErrNoEndpoint
	case !had && len(s.overrides) >= overridesMax && o.Kind != endpoint.Admit:
		return ErrOverridesFull
	}
	o.Absent = s.absent(m)
	if o.Kind == endpoint.Admit {
		s.publish(event.OverrideSet{Override: *o})
		if at := s.overrides[o.Endpoint].rotation; at != nil && at.Kind == endpoint.Eject {
			s.lift(at, event.OverrideReplaced, o.Who)
		}
		s.apply(m, health.Input{Event: health.OperatorAdmitted, Now: now}, nil)
		s.press()
		return nil
	}
	kept := *o
	was := s.overrides.set(o.Endpoint, o.Kind, &kept)
	if was != nil {
		s.publish(event.OverrideEnded{Override: *was, Reason: event.OverrideReplaced, Who: o.Who})
	}
	s.publish(event.OverrideSet{Override: *o})
	s.impose(o.Endpoint, o.Kind, now)
	if o.Until > 0 && (s.todo.due == 0 || o.Until < s.todo.due) {
		s.todo.due = o.Until
	}
	return nil
}

// RemoveOverride ends the override of that kind of an endpoint and returns it. who is for the log.
// Otherwise as Override.
func (s *Service) RemoveOverride(id endpoint.ID, k endpoint.OverrideKind, who string) (endpoint.Override, error) {
	s.work.Lock()
	defer s.work.Unlock()
	now := s.rt.Now()
	s.mu.Lock()
	in := s.overrides[id]
	o := *in.of(k)
	if o == nil || o.Kind != k {
		s.mu.Unlock()
		return endpoint.Override{}, ErrNoOverride
	}
	s.lift(o, event.OverrideRemoved, who)
	s.impose(id, k, now)
	s.mu.Unlock()
	s.rebuild(now)
	return *o, nil
}

// Overrides lists the overrides in force, by endpoint. Any goroutine may call it.
func (s *Service) Overrides() []endpoint.Override {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []endpoint.Override
	for _, id := range s.overrides.ids() {
		all = append(all, s.overridesOf(id)...)
	}
	return all
}

// Overridden reports whether any override is in force. Any goroutine may call it.
func (s *Service) Overridden() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.overrides) > 0
}

// overridesOf lists the overrides of one endpoint; nil: it has none. Called with mu held.
func (s *Service) overridesOf(id endpoint.ID) (all []endpoint.Override) {
	in := s.overrides[id]
	for _, o := range [...]*endpoint.Override{in.rotation, in.weight} {
		if o != nil {
			all = append(all, *o)
			all[len(all)-1].Absent = s.absent(s.byID[id])
		}
	}
	return all
}

// absent reports whether the service does not have m, which may be nil. Called with mu held.
func (s *Service) absent(m *Member) bool { return m == nil || m.machine.State() >= health.Draining }

// lift removes an override. impose must follow. Called with mu held.
func (s *Service) lift(o *endpoint.Override, why event.OverrideEnd, who string) {
	s.overrides.set(o.Endpoint, o.Kind, nil)
	s.publish(event.OverrideEnded{Override: *o, Reason: why, Who: who})
}

// impose makes a member obey its overrides after one of that kind has changed. Called with both
// locks.
func (s *Service) impose(id endpoint.ID, k endpoint.OverrideKind, now time.Duration) {
	m := s.byID[id]
	switch {
	case s.absent(m):
		return // recall does it when the endpoint is named again
	case k == endpoint.Weigh:
		s.weigh(s.members)
		return
	}
	in := s.overrides[id].rotation
	if eject := in != nil && in.Kind == endpoint.Eject; eject != m.machine.Barred() {
		s.apply(m, health.Input{Event: barring(eject), Now: now}, nil)
	}
	if drain := in != nil && in.Kind == endpoint.Drain; drain != m.drained {
		m.drained = drain
		if !drain {
			s.slow(m, now)
		}
		s.mirror(m)
		s.todo.dirty = true
	}
	s.press()
}

// recall makes a member whose machine is another one obey its overrides: it is new, or is named
// again. That makes no event. mirror must follow. Called with mu held.
func (s *Service) recall(m *Member, now time.Duration) {
	in := s.overrides[m.endpoint.ID()].rotation
	m.drained = in != nil && in.Kind == endpoint.Drain
	eject := in != nil && in.Kind == endpoint.Eject
	m.machine.Apply(&s.conf.health, health.Input{Event: barring(eject), Now: now})
}

// barring is the input by which a machine obeys.
func barring(eject bool) health.Event {
	if eject {
		return health.OperatorEjected
	}
	return health.OperatorReleased
}

// press makes the next build urgent if the view in force is of no use: it offers nothing, or all
// that it offers was drained or ejected. Called with mu held.
func (s *Service) press() {
	if s.todo.dirty && !slices.ContainsFunc(s.view.Load().usable, (*endpoint.Endpoint).Usable) {
		s.todo.urgent = true
	}
	s.wake.Set()
}

// rebuild builds a view if something has changed and one may be built at the instant now;
// otherwise the keeper does. Called with work held.
func (s *Service) rebuild(now time.Duration) {
	if !s.stopped.Load() && s.mayBuild(now) {
		s.buildIfDirty(now)
	}
	s.wake.Set()
}

// endOverrides ends the overrides whose end has come at the instant now, and has the keeper come
// back for the next one. Called with both locks.
func (s *Service) endOverrides(now time.Duration) {
	for _, id := range s.overrides.ids() {
		in := s.overrides[id]
		for _, o := range [...]*endpoint.Override{in.rotation, in.weight} {
			switch {
			case o == nil || o.Until == 0:
			case o.Until <= now:
				s.lift(o, event.OverrideExpired, "")
				s.impose(id, o.Kind, now)
			case s.todo.due == 0 || o.Until < s.todo.due:
				s.todo.due = o.Until
			}
		}
	}
}

// dropOverrides ends all overrides because the service has stopped. The keeper calls it.
func (s *Service) dropOverrides() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.overrides.ids() {
		in := s.overrides[id]
		for _, o := range [...]*endpoint.Override{in.rotation, in.weight} {
			if o != nil {
				s.lift(o, event.OverrideDropped, "")
			}
		}
	}
}
