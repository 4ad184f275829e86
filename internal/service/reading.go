package service

// What metrics read of the endpoints of a service: one figure after the other, each as it is at that
// moment. A scrape of thousands of endpoints so makes no copy of them, and holds the lock, for which
// every attempt that fails waits, no longer than it takes to copy the figures of one:
//
//	all := s.Readings()             which endpoints there are: the same list until the set changes
//	s.Tallies(&all[0])              under the lock
//	all[0].Endpoint().InFlight()    without it, as the counters of all[0].Cells
//
// Snapshot has what there is to say about all endpoints, at one moment.

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/record"
)

// A Reading is where the figures of one endpoint are read. It is not modified.
type Reading struct {
	Label string                             // what the endpoint is called in metrics
	Since time.Duration                      // instant from which its counters count
	Cells *record.Cells[record.EndpointCell] // its counters of attempts

	id      *endpoint.ID
	member  *Member  // nil: it is gone
	history *History // guarded by the service's mu
}

// readings are all Readings of a service.
type readings struct {
	all   []Reading     // in the order of their IDs
	until time.Duration // instant at which one that is gone is forgotten; 0: none is gone
}

// Readings lists all endpoints in the order of their IDs, draining ones included, and those that were
// gone less than a few minutes ago. The list is not to be modified. Any goroutine may call it; it takes
// the lock only if the set has changed since the last call.
func (s *Service) Readings() []Reading {
	now := s.rt.Now()
	if r := s.readings.Load(); r != nil && (r.until == 0 || now < r.until) {
		return r.all
	}
	r, changes := s.collectReadings(now)
	slices.SortFunc(r.all, func(a, b Reading) int { return a.id.Compare(*b.id) })
	for i := range r.all {
		r.all[i].Label = Label(*r.all[i].id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if changes == s.changes {
		s.readings.Store(r)
	}
	return r.all
}

// collectReadings collects the Readings, in no order and without labels. changes tells whether the set has
// changed since.
func (s *Service) collectReadings(now time.Duration) (r *readings, changes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.former.drop(now)
	r = &readings{all: make([]Reading, 0, len(s.byID)+len(s.former))}
	for _, m := range s.byID {
		r.all = append(r.all, Reading{id: &m.endpoint.Spec().ID, Since: m.history.Since, Cells: m.Cells, member: m, history: m.history})
	}
	for id, one := range s.former {
		r.all = append(r.all, Reading{id: &id, Since: one.history.Since, Cells: one.cells, history: one.history})
		if r.until == 0 || one.until < r.until {
			r.until = one.until
		}
	}
	return r, s.changes
}

// setChanged forgets the Readings: an endpoint has come or gone. Called with mu held.
func (s *Service) setChanged() {
	s.changes++
	s.readings.Store(nil)
}

// Gone reports whether the endpoint is no member any more, and has drained.
func (r *Reading) Gone() bool { return r.member == nil }

// Endpoint has the live state of an endpoint; nil: it is gone.
func (r *Reading) Endpoint() *endpoint.Endpoint {
	if r.Gone() {
		return nil
	}
	return r.member.endpoint
}

// Attached is what Settings.Attach returned for an endpoint that is not gone.
func (r *Reading) Attached() any { return r.member.Attached }

// Base is the latency by which the limit of an endpoint that is not gone is found, 0: not known yet;
// false: its limit is not found by latency.
func (r *Reading) Base() (latency time.Duration, found bool) {
	return r.member.base(), r.member.limiter.Load() != nil
}

// Tallies reads what has happened to an endpoint.
func (s *Service) Tallies(r *Reading) Tallies {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.history.Tallies
}

// Probe reads how the latest probe of an endpoint went.
func (s *Service) Probe(r *Reading) ProbeResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.history.Probe
}

// Word is the word for the state of an endpoint that is not gone, as EndpointStatus.Word. held: its
// removal is held.
func (s *Service) Word(r *Reading) (text string, held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := r.member
	held = m.heldUntil > 0
	return word(m.machine.State(), m.endpoint.Spec().Out || m.drained, held, m.quietUntil > 0), held
}

// Word is the one word for the state of an endpoint in metrics. One that is out, held or damped is not
// counted by its health.
func (e *EndpointStatus) Word() string {
	return word(e.State, e.Spec.Out || e.Drained, e.Held > 0, e.Damped > 0)
}

func word(state health.State, out, held, damped bool) string {
	switch {
	case state >= health.Draining:
		return "draining"
	case out:
		return "out"
	case held:
		return "held"
	case damped:
		return "damped"
	}
	return state.String()
}

// Label is what an endpoint is called in metrics: its address, and its instance where it has one.
func Label(id endpoint.ID) string {
	switch {
	case id.Scheme != "http":
		return id.String()
	case id.Instance != "":
		return id.Address + "#" + id.Instance
	}
	return id.Address
}
