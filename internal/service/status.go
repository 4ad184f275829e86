package service

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
)

// retryAfterMin is the least that RetryAfter says.
const retryAfterMin = time.Second

// An EndpointStatus is what is known about an endpoint at one moment.
type EndpointStatus struct {
	Spec  endpoint.Spec
	State health.State
	Cause health.Cause  // who ejected it
	Until time.Duration // end of an ejection by the breaker; 0: no such
	endpoint.Stats
}

// Snapshot lists the endpoints in the order of their IDs, draining ones included. Any
// goroutine may call it.
func (s *Service) Snapshot() []EndpointStatus {
	now := s.rt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]EndpointStatus, 0, len(s.byID))
	for _, m := range s.byID {
		all = append(all, EndpointStatus{
			Spec:  *m.endpoint.Spec(),
			State: m.machine.State(),
			Cause: m.machine.Cause(),
			Until: m.machine.Deadline(),
			Stats: m.endpoint.Stats(now),
		})
	}
	slices.SortFunc(all, func(a, b EndpointStatus) int { return a.Spec.ID.Compare(b.Spec.ID) })
	return all
}

// Endpoints lists every endpoint that is not gone, in no order. Any goroutine may call it.
func (s *Service) Endpoints() []*endpoint.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*endpoint.Endpoint, 0, len(s.byID))
	for _, m := range s.byID {
		all = append(all, m.endpoint)
	}
	return all
}

// Panic reports whether ejected endpoints are in use, because too many are ejected.
func (s *Service) Panic() bool { return s.view.Load().panic }

// RetryAfter is how long it takes at the earliest until an endpoint becomes usable, at
// least a second: what to tell a client when Pick has none. It costs no lock.
func (s *Service) RetryAfter(now time.Duration) time.Duration {
	return max(time.Duration(s.retryAt.Load())-now, retryAfterMin)
}

// Settled reports whether every endpoint of the first set has had its first verdict, or
// needs none, so that Pick knows of it. Before the first Update it is false.
func (s *Service) Settled() bool { return s.settled.Load() }

// AwaitReady blocks the calling task until the service is Settled or the given instant is
// there, zero: without bound; it reports whether the service is Settled.
func (s *Service) AwaitReady(by time.Duration) bool {
	if s.Settled() {
		return true
	}
	signal := s.rt.NewSignal()
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

// news is something to be logged, by the keeper: exchanges never wait for a log.
type news struct {
	// A change of one endpoint,
	endpoint *endpoint.Endpoint
	change   health.Change
	event    health.Event
	err      error
	// or of panic mode,
	view *view
	// or of the set.
	added, removed, members int
}

// report queues n for the log. Called with mu held.
func (s *Service) report(n news) {
	if len(s.news) == newsMax {
		s.lost++
		return
	}
	s.news = append(s.news, n)
	s.wake.Set()
}

// tell writes the news to the log. Called without locks.
func (s *Service) tell() {
	s.mu.Lock()
	all, lost := s.news, s.lost
	s.news, s.lost = nil, 0
	s.mu.Unlock()
	for _, n := range all {
		switch {
		case n.endpoint != nil:
			s.tellChange(n)
		case n.view != nil && n.view.panic:
			s.log.Warn("panic mode: too many endpoints are ejected, all are used",
				"usable", len(n.view.usable), "members", len(n.view.members))
		case n.view != nil:
			s.log.Info("panic mode is over", "usable", len(n.view.usable), "members", len(n.view.members))
		default:
			s.log.Info("endpoints changed", "added", n.added, "removed", n.removed, "members", n.members)
		}
	}
	if lost > 0 {
		s.log.Warn("state changes were not logged: too many at once", "lost", lost)
	}
}

// tellChange logs that an endpoint went from one state to another.
func (s *Service) tellChange(n news) {
	level := slog.LevelInfo
	switch n.change.To {
	case health.Ejected:
		level = slog.LevelWarn
	case health.Draining, health.Gone:
		level = slog.LevelDebug // told as a change of the set
	}
	attrs := []slog.Attr{
		slog.String("endpoint", n.endpoint.ID().String()),
		slog.String("from", n.change.From.String()),
		slog.String("to", n.change.To.String()),
		slog.String("why", why(n)),
	}
	if n.err != nil {
		attrs = append(attrs, slog.Any("error", n.err))
	}
	s.log.LogAttrs(context.Background(), level, "endpoint "+n.change.To.String(), attrs...)
}

// why puts the reason of a change into words.
func why(n news) string {
	switch n.event {
	case health.ProbePassed:
		return "probes passed"
	case health.ProbeFailed, health.ProbeRefused:
		return "probes failed"
	case health.AttemptSucceeded:
		return "trials succeeded"
	case health.AttemptFailed:
		if n.change.To == health.Healthy {
			return "a trial failed, but no other endpoint is healthy"
		}
		return "attempts failed"
	case health.TimePassed:
		if n.change.To == health.Healthy {
			return "the breaker is off"
		}
		return "time for a trial"
	case health.CheckGone:
		return "not checked any more"
	case health.Removed:
		return "not named by the source any more"
	case health.Emptied:
		return "nothing in flight"
	}
	return n.change.Cause.String()
}
