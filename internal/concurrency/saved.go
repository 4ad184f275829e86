package concurrency

// What a Limiter has found, for the process that takes the place of this one. Without it each upgrade
// under load would begin with a limit of 20: too few requests for a large endpoint, and for a small
// one a queue just when the old process drains.

import (
	"math"
	"time"
)

// Learned is what a Limiter has found. The zero value is nothing.
type Learned struct {
	Limit float64       `json:"limit,omitempty"` // as it is outside of dips
	Base  time.Duration `json:"base,omitempty"`  // the base latency, in ns
	Known bool          `json:"known,omitempty"` // the base was measured with little in flight
	Tight bool          `json:"tight,omitempty"` // answers have taken too long once
}

// Learned is what l has found; the zero value: not enough to be of use. Any goroutine may call it.
func (l *Limiter) Learned() Learned {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.young || l.usual == 0 {
		return Learned{}
	}
	return Learned{Limit: l.exact, Base: l.usual, Known: l.known, Tight: l.tight}
}

// Learn has l begin at the instant now with what another one has found, within its own bounds. It is
// for the caller of New, before the first Observe. What makes no sense is ignored.
//
// The first answers are dropped, as they are by a Limiter that knows nothing: of requests that begin
// together those are answered first that are quick, and the old process still has some in flight.
func (l *Limiter) Learn(from Learned, now time.Duration) {
	if !(from.Limit >= 1) || math.IsInf(from.Limit, 0) || from.Base <= 0 || from.Base > tookMost {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.exact, l.usual, l.known, l.tight = l.within(from.Limit), from.Base, from.Known, from.Tight
	l.young, l.fresh = false, true
	l.dipAt = l.dipAfter(now)
	l.publish()
}
