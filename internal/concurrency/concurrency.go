// Package concurrency finds out how many attempts an endpoint should have in flight. An endpoint that
// can work on four requests at once gains nothing by a fifth: that one waits there, where it can go
// nowhere else, and its client may be gone before it is served. How many it can do is seldom known,
// so the limit follows from what is seen: how long answers take, and with how many in flight.
//
// Two latencies are compared, both arithmetic means. The base latency is that of an endpoint with
// little to do, the current one that of the latest window:
//
//	limit' = limit × 1.5 × base / current + 3
//
// An endpoint that is full answers capacity / s whatever it is given, so that current is limit over
// capacity, and the first term is 1.5 times what it can work on, wherever the limit was. With four
// workers of 5 ms on average:
//
//	in flight   answers take   limit becomes
//	4           5 ms           4 × 1.5 × 5/5 + 3 = 9, if requests had to wait for a place
//	9           11 ms          9 × 1.5 × 5/11 + 3 = 9: it stays
//	40          50 ms          40 × 1.5 × 5/50 + 3 = 9
//
// The 3 leave room for bursts, and have a small limit grow. They also make proxies alike that share an
// endpoint: the larger of two limits gains less by them, in proportion.
//
// A limit that is not reached does not grow, and one of which less than half is used does not
// shrink: what is not used says nothing.
//
// # The base latency
//
// A current latency below the base moves the base; so does any current latency while at most a
// quarter of the limit is used. Neither happens to an endpoint that is busy all the time. If it
// becomes slower for good, by a new release for instance, its answers cannot be told from those of
// one with a queue. So an endpoint that is busy and takes longer than the base latency has a dip
// every ten seconds: the limit is an eighth for a quarter of a second, and what ends in it has the
// base latency. There is one at once when the limit has fallen to a half and answers take as long as
// before: a queue would have become shorter.
//
// Proxies that share an endpoint would see each other's requests in their dips, take the queue of
// the others for work, and allow more and more. So all of them dip at the same time: when the time
// of day, shifted by a hash of the endpoint, is a multiple of ten seconds. Clocks have to agree within
// some hundredths of a second. A dip at another time may raise the base latency only if a smaller
// limit had no effect.
//
// # What it costs
//
// Observe is one compare-and-swap, and nothing but two reads once a window has enough. If two
// processors collide, one sample is lost.
package concurrency

import (
	"sync"
	"sync/atomic"
	"time"
)

// Bounds are the least and the greatest limit, both at least 1.
type Bounds struct{ Min, Max int64 }

// A Limiter finds the limit of one endpoint, as one proxy sees it. Make one with New. Any goroutine
// may call its methods.
type Limiter struct {
	window atomic.Uint64 // a sums
	due    atomic.Int64  // instant from which the window may be closed
	from   atomic.Int64  // instant from which ends of attempts are counted
	cut    atomic.Int64  // longer latencies count as this one, in ns
	base   atomic.Int64  // in ns; 0: not known
	limit  atomic.Int64

	mu sync.Mutex // guards estimate; held for some instructions, and only tried by Observe
	estimate
}

// New makes a Limiter. phase shifts the instants at which dips begin: it is the time of day at the
// instant zero of its caller's clock, plus a hash of the endpoint, so that it is the same in all
// proxies which share the endpoint.
func New(b Bounds, phase time.Duration) *Limiter {
	l := &Limiter{estimate: newEstimate(b, phase)}
	l.publish()
	return l
}

// Limit is the limit as of now.
func (l *Limiter) Limit() int64 { return l.limit.Load() }

// Base is the base latency; 0: not known yet.
func (l *Limiter) Base() time.Duration { return time.Duration(l.base.Load()) }

// SetBounds replaces the bounds.
func (l *Limiter) SetBounds(b Bounds) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound(b)
	l.publish()
}

// Observe learns that an attempt which ends at the instant now took so long, and that so many were in
// flight then, itself included. turned: a window was closed, and Limit may be another one.
// answered false: there was no answer in that time, since the attempt was ended before; it counts if
// it was longer than usual, for then it says that much at least.
func (l *Limiter) Observe(now, took time.Duration, inFlight int64, answered bool) (turned bool) {
	if took <= 0 || !answered && took <= time.Duration(l.base.Load()) {
		return false
	}
	old := sums(l.window.Load())
	if old.count() < countMost && int64(now) >= l.from.Load() {
		took = min(took, time.Duration(l.cut.Load()))
		l.window.CompareAndSwap(uint64(old), uint64(old.add(took, inFlight, l.limit.Load())))
	}
	if int64(now) < l.due.Load() {
		return false
	}
	return l.turn(now)
}

// turn closes the window if it has enough in it.
func (l *Limiter) turn(now time.Duration) bool {
	if !l.mu.TryLock() {
		return false // another task does it
	}
	defer l.mu.Unlock()
	if int64(now) < l.due.Load() || !l.enough(sums(l.window.Load()).count(), now) {
		return false
	}
	l.close(sums(l.window.Swap(0)), now)
	l.publish()
	return true
}

// publish stores what Observe and others read. Called with mu held, or by New.
func (l *Limiter) publish() {
	l.due.Store(int64(l.next))
	l.from.Store(int64(l.since))
	l.cut.Store(int64(l.longest()))
	l.base.Store(int64(l.usual))
	l.limit.Store(l.allowed())
}

// A sums is what a window has seen, in one word so that one instruction replaces it:
//
//	bit 63       the limit was reached
//	bits 55-62   how many attempts, at most countMost
//	bits 33-54   sum of those in flight at their ends
//	bits 0-32    sum of their latencies, in µs
type sums uint64

const (
	countMost    = 1<<8 - 1
	inFlightMost = 1<<14 - 1
	tookMost     = (1<<25 - 1) * time.Microsecond // 33 s

	inFlightAt = 33
	countAt    = 55
	reachedBit = 1 << 63
)

// add is s with one attempt more.
func (s sums) add(took time.Duration, inFlight, limit int64) sums {
	if inFlight >= limit {
		s |= reachedBit
	}
	micros := (min(took, tookMost) + time.Microsecond - 1) / time.Microsecond
	return s + 1<<countAt + sums(min(max(inFlight, 0), inFlightMost))<<inFlightAt + sums(micros)
}

func (s sums) count() int          { return int(s >> countAt & countMost) }
func (s sums) reached() bool       { return s&reachedBit != 0 }
func (s sums) mean(x sums) float64 { return float64(x) / float64(max(s.count(), 1)) }

// inFlight is the mean number in flight.
func (s sums) inFlight() float64 { return s.mean(s >> inFlightAt & (1<<22 - 1)) }

// latency is the mean latency.
func (s sums) latency() time.Duration {
	return time.Duration(s.mean(s&(1<<33-1)) * float64(time.Microsecond))
}
