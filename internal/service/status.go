package service

// What a service says about itself: for the status page, for Retry-After, and for those that
// wait until it is ready. Reading never changes a state.

import (
	"maps"
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
)

// retryAfterMin is the least result of RetryAfter.
const retryAfterMin = time.Second

// An EndpointStatus is the state of an endpoint at one moment. Instants are on the runtime's clock.
type EndpointStatus struct {
	Spec  *endpoint.Spec // which is never modified
	State health.State
	Cause health.Cause // what has ejected it: probes, the breaker, an operator or its peers

	Drained bool // one of Overrides is endpoint.Drain
	Kept    bool // it is healthy only because there is no other
	Found   bool // its limit is found by latency

	Until time.Duration // end of its ejection by the breaker or as an outlier; 0: it is not ejected by that
	// Finding has the figures by which it is an outlier: it is ejected as one or half-open after that,
	// or healthy, since as many are out as may be. Nil: it is none.
	Finding *health.Finding
	// Overrides are what operators say about it now, at most one of each kind; nil: nothing.
	Overrides []endpoint.Override
	// NextProbe is when its prober probes it next, at the latest; 0: it is not probed, or is being
	// probed for the first time.
	NextProbe time.Duration
	// Held is the end of the hold of its removal (see Guard); 0: the set names it.
	Held time.Duration
	// Damped is the end of its damping: it came and went too often; 0: it is not damped.
	Damped time.Duration
	// Slow is the end of the window of its slow start; 0: it is in none.
	Slow time.Duration
	// Base is the latency by which its limit is found, that of the endpoint with little to do; 0: not
	// known yet.
	Base time.Duration
	// History is what has happened to it.
	History History
	// Attached is what Settings.Attach returned: its connections.
	Attached any
	// Load is what it has said of its load; nil: nothing.
	Load *endpoint.Reported
	endpoint.Stats
}

// Condition says in words for people what goes for new requests to the endpoint, and by what:
// its state, or what stands before that. until is the instant at which that ends by itself; 0: the
// clock does not end it.
func (e *EndpointStatus) Condition() (words string, until time.Duration) {
	operators := func(k endpoint.OverrideKind) time.Duration {
		i := slices.IndexFunc(e.Overrides, func(o endpoint.Override) bool { return o.Kind == k })
		if i < 0 {
			return 0
		}
		return e.Overrides[i].Until
	}
	state := e.State.String()
	switch {
	case e.State >= health.Draining:
		return state + " (source)", 0
	case e.Cause == health.Operator:
		return state + " (operator)", operators(endpoint.Eject)
	case e.Drained:
		return "draining (operator)", operators(endpoint.Drain)
	case e.Spec.Out:
		return "out (source)", 0
	case e.State == health.Ejected:
		return state + " (" + e.Cause.String() + ")", e.Until
	case e.Held > 0:
		return state + ", held", e.Held
	case e.Damped > 0:
		return state + ", damped", e.Damped
	case e.Kept:
		return state + ", kept", 0
	case e.Slow > 0:
		return state + ", slow start", e.Slow
	}
	return state, 0
}

// Snapshot lists the endpoints in the order of their IDs, draining ones included. Any
// goroutine may call it.
func (s *Service) Snapshot() []EndpointStatus {
	now := s.rt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	members := slices.SortedFunc(maps.Values(s.byID), byID) // pointers: sorting statuses would be code of its own
	all := make([]EndpointStatus, 0, len(members))
	for _, m := range members {
		until := m.machine.Deadline()
		if m.machine.Barred() {
			until = 0
		}
		var finding *health.Finding
		if m.machine.Outlying() || m.track != nil && m.track.stays {
			one := m.finding
			finding = &one
		}
		all = append(all, EndpointStatus{
			Spec:  m.endpoint.Spec(),
			State: m.machine.State(),
			Cause: m.machine.Cause(),
			Until: until, Finding: finding,
			Stats: m.endpoint.Stats(now),

			Held:   m.heldUntil,
			Damped: m.quietUntil,
			Slow:   m.slowUntil,
			Kept:   m.machine.Kept(),
			Found:  m.limiter.Load() != nil,
			Base:   m.base(),

			Overrides: s.overridesOf(m.endpoint.ID()),
			Drained:   m.drained,
			NextProbe: time.Duration(m.nextProbe.Load()),

			History:  *m.history,
			Attached: m.Attached,
		})
		if r, ok := m.endpoint.LastReport(now); ok {
			said := r // r itself would be allocated for each endpoint
			all[len(all)-1].Load = &said
		}
	}
	return all
}

// Panic reports whether panic mode is on: so many endpoints are ejected that ejected ones are in
// use. It takes no lock.
func (s *Service) Panic() bool { return s.view.Load().panic }

// Resorting reports whether no endpoint is sound, so that ejected ones are tried as a last
// resort. It costs no lock.
func (s *Service) Resorting() bool { return s.view.Load().resorting() }

// Serves reports whether there are usable endpoints, other than such that panic mode admits because
// none is sound. It takes no lock.
func (s *Service) Serves() bool {
	w := s.view.Load()
	return len(w.usable)+len(w.reserve) > 0 && !(w.panic && w.failing)
}

// RetryAfter is the shortest time after now until an endpoint may become usable, at least a second.
// It is for clients when Pick returns nil. It takes no lock.
func (s *Service) RetryAfter(now time.Duration) time.Duration {
	return max(time.Duration(s.retryAt.Load())-now, retryAfterMin)
}

// Settled reports whether a view was built in which every endpoint of the first set has its
// first verdict, or needs none. Before the first set it is false; once true it stays true. It
// takes no lock.
func (s *Service) Settled() bool { return s.settled.Load() }

// AwaitReady blocks the calling task, one of rt, until the service is Settled or the given
// instant is there, zero: without bound; it reports whether the service is Settled.
func (s *Service) AwaitReady(rt engine.Runtime, by time.Duration) bool {
	if s.Settled() {
		return true
	}
	signal := rt.NewSignal()
	s.mu.Lock()
	s.waiters = append(s.waiters, signal)
	s.mu.Unlock()
	// settled is stored under mu before the waiters are woken: none is forgotten.
	if !s.Settled() {
		signal.Wait(by)
	}
	s.mu.Lock()
	s.waiters = slices.DeleteFunc(s.waiters, func(w engine.Signal) bool { return w == signal })
	s.mu.Unlock()
	return s.Settled()
}
