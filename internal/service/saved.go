package service

// What is known of endpoints, for the process that takes this one's place. Save is called by the
// old one, Restore by the new one before its first set. An endpoint is known by its identity:
//
//	in the old process          in the new one, when its source names it
//	ejected, 7 s left           ejected for the same cause, 7 s left
//	healthy, latency 12 ms      healthy at once: nothing waits for a first verdict
//	a limit of 9 was found      a limit of 9, if it is to be found here, too
//	the check is another one    stays as it is until the new check has spoken once
//	named only after a minute   unknown: a new endpoint
//	drained by an operator      drained, until the same moment
//
// What is not handed over: attempts in flight, trials, the ten seconds of the breaker and of outliers,
// counters, and what a guard holds although the source does not name it any more.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/concurrency"
	"github.com/poise-lb/poise/internal/event"
)

// savedKept is how long what was handed over waits for a source to name its endpoint.
const savedKept = time.Minute

// Saved is what a service knows of its endpoints, in a form for JSON.
type Saved struct {
	Check     string          `json:"check,omitempty"` // identity of the check that the verdicts are of
	Probed    bool            `json:"probed,omitempty"`
	Endpoints []SavedEndpoint `json:"endpoints,omitempty"`
	Overrides []SavedOverride `json:"overrides,omitempty"`
}

// SavedOverride is what an operator says of an endpoint. Times are as in SavedEndpoint.
type SavedOverride struct {
	Scheme   string        `json:"scheme"`
	Address  string        `json:"address"`
	Instance string        `json:"instance,omitempty"`
	Kind     string        `json:"kind"`
	Weight   float64       `json:"weight,omitempty"`
	Who      string        `json:"who,omitempty"`
	Why      string        `json:"why,omitempty"`
	Made     time.Duration `json:"made,omitempty"`  // since it was made
	Until    time.Duration `json:"until,omitempty"` // to its end; 0: it has none
}

// SavedEndpoint is one of them. Times are distances from the moment of Save, in ns.
type SavedEndpoint struct {
	Scheme   string           `json:"scheme"`
	Address  string           `json:"address"`
	Instance string           `json:"instance,omitempty"`
	Health   health.Saved     `json:"health"`
	Learned  endpoint.Learned `json:"learned,omitzero"`
	Since    time.Duration    `json:"since,omitempty"`   // since it was named first
	Changed  time.Duration    `json:"changed,omitempty"` // since its latest change of state
	Slow     time.Duration    `json:"slow,omitempty"`    // since its slow start began; 0: it is in none
	Finding  *health.Finding  `json:"finding,omitempty"` // why it is an outlier; nil: it is none

	Limit concurrency.Learned `json:"limit,omitzero"` // what its Limiter has found
}

// Save returns what is known of the members. Any goroutine may call it.
func (s *Service) Save() Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.rt.Now()
	out := Saved{Probed: s.conf.health.Probed}
	if out.Probed {
		out.Check = s.conf.set.ProbeID
	}
	for _, m := range s.members {
		id := m.endpoint.ID()
		one := SavedEndpoint{
			Scheme: id.Scheme, Address: id.Address, Instance: id.Instance,
			Health: m.machine.Save(now), Learned: m.endpoint.Learned(now),
			Since: now - m.history.Since, Changed: now - m.history.Changed(), Limit: m.learned(),
		}
		if m.slowUntil > now {
			one.Slow = max(now-time.Duration(m.slowSince.Load()), 1)
		}
		if m.machine.Outlying() {
			finding := m.finding
			one.Finding = &finding
		}
		out.Endpoints = append(out.Endpoints, one)
	}
	for _, id := range s.overrides.ids() {
		for _, o := range s.overridesOf(id) {
			one := SavedOverride{
				Scheme: id.Scheme, Address: id.Address, Instance: id.Instance,
				Kind: o.Kind.String(), Weight: o.Weight, Who: o.Who, Why: o.Why, Made: now - o.Made,
			}
			if o.Until > 0 {
				one.Until = max(o.Until-now, 1)
			}
			out.Overrides = append(out.Overrides, one)
		}
	}
	return out
}

// handed is what Restore was given, until its endpoints are named. It is guarded by Service.mu.
type handed struct {
	from   Saved
	byID   map[endpoint.ID]*SavedEndpoint // nil: there is nothing
	at     time.Duration                  // instant of Restore
	passed time.Duration                  // from Save to Restore
}

// Restore makes saved what is known of endpoints that are named from now on. passed is how long
// ago it was saved. It is called once, before the first Update or Take.
func (s *Service) Restore(saved Saved, passed time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handed = handed{from: saved, byID: make(map[endpoint.ID]*SavedEndpoint), at: s.rt.Now(), passed: max(passed, 0)}
	for i := range saved.Endpoints {
		one := &saved.Endpoints[i]
		s.handed.byID[endpoint.ID{Scheme: one.Scheme, Address: one.Address, Instance: one.Instance}] = one
	}
	for _, one := range saved.Overrides {
		s.restoreOverride(one)
	}
}

// restoreOverride puts one in force. It waits for its endpoint. Called with mu held.
func (s *Service) restoreOverride(one SavedOverride) {
	kind, ok := endpoint.ParseOverrideKind(one.Kind)
	then := s.handed.at - s.handed.passed
	o := endpoint.Override{
		Endpoint: endpoint.ID{Scheme: one.Scheme, Address: one.Address, Instance: one.Instance},
		Kind:     kind, Weight: one.Weight, Who: one.Who, Why: one.Why, Made: then - one.Made,
	}
	switch {
	case !ok || kind == endpoint.Admit || kind == endpoint.Weigh && !(one.Weight > 0) || len(s.overrides) >= overridesMax:
		return
	case one.Until > 0:
		if o.Until = then + one.Until; o.Until <= s.handed.at {
			return // its time is over
		}
		if s.todo.due == 0 || o.Until < s.todo.due {
			s.todo.due = o.Until
		}
	}
	s.overrides.set(o.Endpoint, kind, &o)
	o.Absent = true
	s.publish(event.OverrideSet{Override: o})
}

// inherit gives m, which has just been made, what was handed over of it. It reports whether there
// was something. Called with both locks.
func (s *Service) inherit(m *Member, now time.Duration) bool {
	h := &s.handed
	one := h.byID[m.endpoint.ID()]
	if one == nil {
		return false
	}
	delete(h.byID, m.endpoint.ID())
	if now-h.at > savedKept {
		h.byID = nil
		return false
	}
	then := h.at - h.passed // instant of Save on this process's clock; may be negative
	machine, ok := one.Health.Machine(then)
	if !ok {
		return false
	}
	m.machine = machine
	if one.Finding != nil {
		m.finding = *one.Finding
	}
	m.endpoint.Learn(one.Learned, then)
	s.learnLimit(m, one.Limit, now)
	s.recheck(m, now)
	m.history.Since = min(then-one.Since, now)
	m.history.Changes = []Change{{min(then-one.Changed, now), m.machine.State(), m.machine.Cause()}}
	if one.Slow > 0 && s.conf.set.SlowStart.Window > 0 && m.machine.State() == health.Healthy {
		m.slowSince.Store(int64(then - one.Slow))
		m.slowUntil = max(then-one.Slow+s.conf.set.SlowStart.Window, 1)
	}
	s.expect(m)
	return true
}

// recheck brings a machine that was handed over in line with the check and the breaker of this
// process, as configure does for a change. Called with mu held.
func (s *Service) recheck(m *Member, now time.Duration) {
	in := health.Input{Event: health.TimePassed, Now: now}
	switch had := s.handed.from.Probed; {
	case had && !s.conf.health.Probed:
		in.Event = health.CheckGone
	case s.conf.health.Probed && (!had || s.handed.from.Check != s.conf.set.ProbeID):
		in.Event = health.CheckChanged
	}
	m.machine.Apply(&s.conf.health, in)
	if in.Event != health.TimePassed {
		m.machine.Apply(&s.conf.health, health.Input{Event: health.TimePassed, Now: now})
	}
}
