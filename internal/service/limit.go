package service

// The limit of each endpoint: a number of the configuration, or one that package concurrency finds
// by the latencies that Settle sees.
//
//	endpoint_max_in_flight   Limiter   limit of the endpoint
//	absent                   none      0: any number
//	50                       none      50
//	auto                     one       20 at first, then what latencies say
//
// An endpoint keeps its Limiter over reloads, and what it has found as long as the limit is to be
// found; the process that takes this one's place begins with it (saved.go). A service without one pays a comparison with nil for each attempt that ends.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/concurrency"
)

// bound sets the limit of m's endpoint. Called with mu held.
func (s *Service) bound(m *Member) {
	o := &s.conf.set.Overload
	l := m.limiter.Load()
	switch {
	case o.Found == concurrency.Bounds{}:
		m.limiter.Store(nil)
		s.SetLimit(m.endpoint, int64(o.EndpointInFlight))
		return
	case l == nil:
		l = concurrency.New(o.Found, s.phase(m.endpoint))
		m.limiter.Store(l)
	default:
		l.SetBounds(o.Found)
	}
	s.SetLimit(m.endpoint, l.Limit())
}

// loosen takes limits away that o has no more, and raises those that become higher. It comes before the
// queue is changed, and bound after that: so a request for which there was no place finds a queue, or else
// a place when it looks once more. Called with mu held.
func (s *Service) loosen(o *Overload) {
	for _, m := range s.members {
		switch {
		case o.Found != concurrency.Bounds{}:
			continue
		case o.EndpointInFlight == 0 || m.endpoint.Limit() < int64(o.EndpointInFlight) && m.endpoint.Limit() > 0:
			m.limiter.Store(nil)
			s.SetLimit(m.endpoint, int64(o.EndpointInFlight))
		}
	}
}

// phase is the time of day at the instant zero of the service's clock, shifted by a hash of e: the
// same in all proxies that know e. A runtime that does not know the time of day is one of a test.
func (s *Service) phase(e *endpoint.Endpoint) time.Duration {
	shift := time.Duration(e.Hash() % uint64(time.Hour))
	if clock, ok := s.rt.(interface{ Epoch() time.Time }); ok {
		shift += time.Duration(clock.Epoch().UnixNano())
	}
	return shift
}

// measure tells l what an attempt at m's endpoint says that has ended and is still counted as in
// flight. One that was answered says how long that takes; one without an answer, that it takes so
// long at least, and so does a failure: an endpoint that refuses at once is not fast.
func (s *Service) measure(l *concurrency.Limiter, m *Member, o *endpoint.Outcome) {
	took, answered := o.Latency, !o.Failed
	if took <= 0 && o.Began > 0 {
		took, answered = o.Now-o.Began, false
	}
	if o.Unreached {
		return // it was not sent there
	}
	if l.Observe(o.Now, took, m.endpoint.InFlight(), answered) {
		s.SetLimit(m.endpoint, l.Limit())
	}
}

// learned is what is known of the limit of m's endpoint, for the next process.
func (m *Member) learned() concurrency.Learned {
	if l := m.limiter.Load(); l != nil {
		return l.Learned()
	}
	return concurrency.Learned{}
}

// learnLimit gives m, which has just been made, what the process before has found of its limit.
// Called with mu held.
func (s *Service) learnLimit(m *Member, from concurrency.Learned, now time.Duration) {
	if s.conf.set.Overload.Found == (concurrency.Bounds{}) || from == (concurrency.Learned{}) {
		return
	}
	l := concurrency.New(s.conf.set.Overload.Found, s.phase(m.endpoint))
	l.Learn(from, now)
	m.limiter.Store(l) // bound puts it in force
}

// base is the base latency of m's endpoint; 0: none is known.
func (m *Member) base() time.Duration {
	if l := m.limiter.Load(); l != nil {
		return l.Base()
	}
	return 0
}
