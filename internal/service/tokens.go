package service

// Tokens: what a client's cookie calls an endpoint of the service (sticky sessions). The view has a
// table of them, which is made anew when the members change. A service without Settings.Token has
// none and pays nothing.

import (
	"slices"
	"sync/atomic"

	"github.com/poise-lb/poise/endpoint"
)

// ByToken is the member with that token; nil: there is none. Whether it may be picked is for Keep to
// say. It takes no lock.
func (s *Service) ByToken(token uint64) *endpoint.Endpoint { return s.view.Load().tokens[token] }

// tokenize makes the table of next, or takes that of old. Called with work held.
func (d *draft) tokenize(next, old *view) {
	token := d.set.Token
	switch {
	case token == nil:
		return
	case !d.shaped && old.tokens != nil && slices.Equal(next.members, old.members):
		next.tokens = old.tokens
		return
	}
	next.tokens = make(map[uint64]*endpoint.Endpoint, len(next.members))
	for _, e := range next.members {
		next.tokens[token(e.ID())] = e
	}
}

// A StickyEnd is why a client was bound to an endpoint.
type StickyEnd uint8

// Why clients are bound.
const (
	StickyNew     StickyEnd = iota // it had no cookie
	StickyMoved                    // its endpoint could not be used, or has failed
	StickyUnknown                  // its cookie named no endpoint: that is gone, or it was forged

	StickyEnds = int(iota) // how many there are
)

// String is the value of a label in metrics.
func (e StickyEnd) String() string { return [...]string{"new", "moved", "unknown"}[e] }

// sticky counts bindings, by StickyEnd.
type sticky [StickyEnds]atomic.Uint64

// Stuck counts a client that was bound to an endpoint.
func (s *Service) Stuck(e StickyEnd) { s.sticky[e].Add(1) }

// Sticky is how many clients were bound, by StickyEnd; false: the service has no tokens. Any goroutine
// may call it.
func (s *Service) Sticky() (n [StickyEnds]uint64, on bool) {
	for i := range n {
		n[i] = s.sticky[i].Load()
	}
	return n, s.view.Load().tokens != nil
}
