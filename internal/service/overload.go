package service

// Bounds of the attempts in flight: of the service, and of each endpoint. With max_in_flight: 5 and
// endpoint_max_in_flight: 2 at endpoints a, b and c:
//
//	in flight a=1 b=2 c=1    Pick: a or c; the policy may have said b
//	in flight a=2 b=2 c=0    Pick: c
//	in flight a=2 b=2 c=1    5 are in flight. Pick: Wait
//
// Pick looks, and Begin counts: between the two another task may take the last place, so that Begin
// refuses. Neither bound is ever exceeded by that. What becomes of a request that finds no place is
// said in queue.go.
//
// An endpoint has its limit in endpoint.Limit. modeBounded, a bit of the mode, leads Pick off its
// shortest path for endpoints that may have one; without bounds it is set nowhere.

import (
	"math"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/concurrency"
)

// Overload bounds the attempts in flight. The zero value bounds nothing.
type Overload struct {
	InFlight         int // of the service; 0: any number
	EndpointInFlight int // of each endpoint; 0: any number
	// Found are the bounds of a limit of each endpoint that is found by its latency, in place of
	// EndpointInFlight; zero: there is none.
	Found        concurrency.Bounds
	Queue        int           // requests that may wait for a place; 0: none
	QueueTimeout time.Duration // for which a request waits at most; 0 means 1 s
}

// queueTimeout is the default of Overload.QueueTimeout.
const queueTimeout = time.Second

// modeBounded is set in the mode of an endpoint whose attempts are bounded.
const modeBounded int32 = 1 << 29

// unbounded is the bound of a service without one.
const unbounded = math.MaxInt64

// bounds reports whether there is a bound that Begin has to keep.
func (o *Overload) bounds() bool { return o.InFlight > 0 || o.boundsEndpoints() }

// boundsEndpoints reports whether endpoints have limits.
func (o *Overload) boundsEndpoints() bool { return o.EndpointInFlight > 0 || o.Found.Max > 0 }

// adoptBounds takes over what the settings say. Called with mu held, or by New.
func (s *Service) adoptBounds(o Overload) {
	if o.QueueTimeout <= 0 {
		o.QueueTimeout = queueTimeout
	}
	most := int64(unbounded)
	if o.InFlight > 0 {
		most = int64(o.InFlight)
	}
	s.load.bounded.Store(o.bounds())
	s.queue.adopt(s, most, o)
}

// SetLimit sets how many attempts may be in flight at e, an endpoint of s; 0: any number. If there
// may be more than before, requests that wait ask for them. It is kept as long as the settings bound
// endpoints, and until they are set anew. Any task may call it.
func (s *Service) SetLimit(e *endpoint.Endpoint, n int64) {
	was := e.Limit()
	if e.SetLimit(n); n == 0 || n > was && was > 0 {
		s.invite()
	}
}

// beginBounded is Begin where there are bounds.
func (s *Service) beginBounded(e *endpoint.Endpoint, now time.Duration) bool {
	for {
		n := s.load.n.Load()
		if n >= s.queue.most.Load() {
			s.forgo(e, now)
			return false
		}
		if s.load.n.CompareAndSwap(n, n+1) {
			break
		}
	}
	if e.TryBegin(now) {
		return true
	}
	s.load.n.Add(-1)
	if s.load.waiting.Load() > 0 {
		s.freed() // one that looked meanwhile has found the place taken
	}
	s.forgo(e, now)
	return false
}

// forgo gives a trial back that Pick has taken for an attempt that is not made.
func (s *Service) forgo(e *endpoint.Endpoint, now time.Duration) {
	m := Of(e)
	if m.kind() < modeTrial {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(m, health.Input{Event: health.AttemptAbandoned, Now: now}, nil)
}
