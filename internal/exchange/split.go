package exchange

// Splits: a route whose requests several services share by weight. The service of a request is chosen
// once, before its key is computed and its endpoint picked; its retries and its hedge stay there.
// With split {v1: 95, v2: 5} by cookie(sid):
//
//	Cookie: sid=7f3a    the hash of 7f3a belongs to v1 or v2, the same at every proxy
//	no cookie           one request in twenty goes to v2
//	v2 has no endpoint  all go to v1; those of v2 return to it when it has one
//
// An exchange counts for the service that it went to, so error rates and latencies of variants can be
// compared. Until the choice, and if a filter answers before it, it counts for the first one.

import (
	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/policy"
)

// A Split is the services of a route with their shares.
type Split struct {
	Variants []Variant
	Shares   *policy.Shares // of Variants, by index
	Key      *affinity.Key  // nil: each request is drawn by itself
	Strict   bool           // the requests of a variant without usable endpoints go to no other
}

// A Variant is one service of a Split.
type Variant struct {
	Service *Service
	Cells   *record.Cells[record.RouteCell] // counts its exchanges; never nil
}

// choose sets x.service to one of the route's split. clientIP is as in rewrite. On a route without
// one it does nothing.
func (x *Exchange) choose(clientIP []byte) {
	s := x.route.Split
	if s == nil {
		return
	}
	i := s.bound(x.peer.Bonds)
	if i < 0 {
		i = s.draw(x, clientIP)
	}
	if v := &s.Variants[i]; v.Service != x.service {
		x.service = v.Service
		x.movedTo(v.Cells)
	}
}

// draw is the index of the variant that has the request's key; without one of that which the client is
// bound to by a cookie, or else any.
func (s *Split) draw(x *Exchange, clientIP []byte) int {
	key, _, ok := s.key(x, clientIP)
	if !ok {
		if i := s.stuck(&x.Request); i >= 0 {
			return i
		}
		key = x.rt.Rand()
	}
	return s.pick(key)
}

// stuck is the index of the variant whose cookie the request has; -1: there is none that has usable
// endpoints and a share of requests.
func (s *Split) stuck(q *message.Request) int {
	for i := range s.Variants {
		v := s.Variants[i].Service
		if v.Sticky == nil || s.Shares.Of(i) == 0 || !v.Serves() {
			continue
		}
		if token := v.Sticky.token(q); token != 0 && v.ByToken(token) != nil {
			return i
		}
	}
	return -1
}

// key is the hash of the request's key, and its value; false: it has none.
func (s *Split) key(x *Exchange, clientIP []byte) (hash uint64, value []byte, ok bool) {
	if s.Key == nil {
		return 0, nil, false
	}
	if value, ok = s.Key.Of(&x.Request, x.forward.norm, clientIP); ok {
		hash = policy.Hash(value)
	}
	return hash, value, ok
}

// pick is the index of the variant that has a key. Those without usable endpoints are passed over,
// unless none has any: then the one that has the key waits for them, or answers 503.
func (s *Split) pick(key uint64) int {
	if !s.Strict {
		if i := s.Shares.Pick(key, s.serves); i >= 0 {
			return i
		}
	}
	return s.Shares.Pick(key, nil)
}

// serves reports whether variant i has usable endpoints.
func (s *Split) serves(i int) bool { return s.Variants[i].Service.Serves() }

// bound is the index of the variant that has authenticated the client's connection, whose next
// requests belong there (bound.go); -1: none has.
func (s *Split) bound(b *upstream.Bonds) int {
	if b.Empty() {
		return -1
	}
	for i := range s.Variants {
		if b.Endpoint(s.Variants[i].Service.Service) != nil {
			return i
		}
	}
	return -1
}

// wants is which part of its service's endpoints the request asks for, and the value that says so; 0: any.
// clientIP is as in rewrite.
func (x *Exchange) wants(clientIP []byte) (id uint64, value []byte) {
	if x.route.Lane != 0 {
		return x.route.Lane, nil
	}
	if v, ok := x.service.Lanes.Of(&x.Request, x.forward.norm, clientIP); ok {
		return service.LaneOf(v), v
	}
	return 0, nil
}
