// Package endpoint holds one address that can serve a service's requests: the facts a
// source says about it (Spec) and its live state (Endpoint), which belongs to its
// identity and so outlives every configuration.
//
// The live state is what policies compare: attempts in flight, two estimates of latency (one that
// jumps to peaks and a typical one), for how long it is silent, and a level of recent failure. Begin and End are its only writers; both are lock-free and
// touch a single cache line.
package endpoint

import (
	"math"
	"sync/atomic"
	"time"
)

// An Endpoint is the live state of one endpoint. It is safe for concurrent use and must
// not be copied. Make one with New.
type Endpoint struct {
	// First line: read by every attempt, written almost never.

	// Local is for the owner of the endpoint (the service that holds it): set before
	// the endpoint is shared, never changed afterwards.
	Local any

	hash  uint64 // of the ID: where hashing policies place it
	spec  atomic.Pointer[Spec]
	limit atomic.Int64 // of inFlight; 0: none
	_     [24]byte

	// Second line: written by every attempt. A picker that compares load needs this
	// line and no other, and the task that picked the endpoint is about to write it anyway:
	// so weight and usable live here too, though they rarely change.

	inFlight atomic.Int64
	latency  latency
	counts   counts
	weight   atomic.Int64
	usable   atomic.Bool
	failed   atomic.Bool // the latest attempt did
	typical  typical
	unheard  atomic.Uint32 // tick of the first Begin since the last answer; 0: none

	// Third line: for people, and what the endpoint reports of its load (report.go), if it does.

	id     ID
	report atomic.Uint64 // 0: none
	said   atomic.Uint64 // in flight, as reported
}

// counts are the attempts that ended, since the endpoint was made.
type counts struct {
	attempts atomic.Uint64
	failures atomic.Uint64
}

// An Outcome says how an attempt went.
type Outcome struct {
	Now     time.Duration // instant of the end, on the clock given to Begin
	Began   time.Duration // instant given to Begin; 0: not known
	Latency time.Duration // from sending the request to the response head; 0: no response came
	Failed  bool          // the endpoint was at fault (client aborts are not)

	// Rest is how long the endpoint has asked to be left alone (Retry-After); 0: it has not.
	Rest time.Duration

	// Unreached, of a failed attempt: no connection came about. Refused, besides: because
	// nothing listens there, which is known at once.
	Unreached, Refused bool
}

// New makes an endpoint without load, not usable until its owner says so.
func New(s Spec) *Endpoint {
	e := &Endpoint{id: s.ID, hash: s.ID.hash()}
	e.Update(s)
	return e
}

// ID is what the endpoint is; it never changes.
func (e *Endpoint) ID() ID { return e.id }

// Hash is a well-mixed function of the ID alone, the same in every process: hashing
// policies place the endpoint by it.
func (e *Endpoint) Hash() uint64 { return e.hash }

// Spec is what the source said last. The result is shared: it must not be modified.
func (e *Endpoint) Spec() *Spec { return e.spec.Load() }

// Update takes over what a source says now about this endpoint: host, weight, zone,
// priority and metadata. The identity stays, whatever s.ID says, and so does the live state. The weight
// is rounded to a whole number; the owner of a set calls SetWeight to keep its proportions.
func (e *Endpoint) Update(s Spec) {
	s.ID = e.id
	e.SetWeight(int64(math.Round(min(s.share(), WeightMax))))
	e.spec.Store(&s)
}

// Weight is the share relative to the others, 1 to WeightMax.
func (e *Endpoint) Weight() int64 { return e.weight.Load() }

// SetWeight sets what Weight returns; what is out of bounds counts as the nearest bound. It
// is for the owner of the endpoint only.
func (e *Endpoint) SetWeight(w int64) { e.weight.Store(min(max(w, 1), WeightMax)) }

// InFlight is the number of attempts between Begin and End.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

// Ended is how many attempts have ended since the endpoint was made, and how many of them failed.
func (e *Endpoint) Ended() (attempts, failures uint64) {
	failures = e.counts.failures.Load() // before attempts, so that they are never more
	return e.counts.attempts.Load(), failures
}

// Limit is how many attempts may be in flight at once; 0: any number. Only TryBegin keeps it.
func (e *Endpoint) Limit() int64 { return e.limit.Load() }

// SetLimit sets what Limit returns; below 0 counts as 0. It is for the owner of the endpoint only.
// Attempts that are in flight beyond a limit go on.
func (e *Endpoint) SetLimit(n int64) { e.limit.Store(max(n, 0)) }

// Full reports whether as many attempts are in flight as there may be.
func (e *Endpoint) Full() bool {
	most := e.limit.Load()
	return most > 0 && e.inFlight.Load() >= most
}

// Usable reports whether the endpoint may be picked now.
func (e *Endpoint) Usable() bool { return e.usable.Load() }

// SetUsable is for the owner of the endpoint only.
func (e *Endpoint) SetUsable(u bool) { e.usable.Store(u) }

// Begin counts an attempt as in flight that begins at the instant now. Each Begin is followed
// by exactly one End.
func (e *Endpoint) Begin(now time.Duration) { e.begun(e.inFlight.Add(1), now) }

// TryBegin is Begin if the limit leaves room for the attempt; false: it is not counted, and no End
// follows. Of several callers no more succeed than there is room for.
func (e *Endpoint) TryBegin(now time.Duration) bool {
	for {
		n, most := e.inFlight.Load(), e.limit.Load()
		if most > 0 && n >= most {
			return false
		}
		if e.inFlight.CompareAndSwap(n, n+1) {
			e.begun(n+1, now)
			return true
		}
	}
}

// begun notes that an attempt has begun at the instant now, the n-th of those in flight.
func (e *Endpoint) begun(n int64, now time.Duration) {
	if n == 1 || e.unheard.Load() == 0 {
		e.unheard.Store(tick(now))
	}
}

// End counts the attempt as over and learns from its outcome.
func (e *Endpoint) End(o Outcome) {
	e.inFlight.Add(-1)
	e.counts.attempts.Add(1)
	if o.Failed {
		e.counts.failures.Add(1)
	}
	if !o.Failed && o.Latency <= 0 {
		return // no response and no fault, as when a client leaves: nothing learned
	}
	if e.failed.Load() != o.Failed { // nearly never
		e.failed.Store(o.Failed)
	}
	if e.unheard.Load() != 0 {
		e.unheard.Store(0)
	}
	if age, regular := e.latency.observe(o); regular && !o.Failed {
		e.typical.observe(float32(o.Latency), age)
	}
}

// Latency is the peak-sensitive moving average of the time to a response head, as of
// now: it jumps up to a slow answer and comes down over about ten seconds, also while
// the endpoint is idle, so that it is tried again. An answer after a quarter of a second
// without one weighs at least as much as all before it. 0 means never measured, or so long
// ago (80 seconds) that it is forgotten.
func (e *Endpoint) Latency(now time.Duration) time.Duration {
	ns, _ := e.Estimate(now)
	return time.Duration(ns)
}

// Idle is how long ago the latest answer came if nothing is in flight. Otherwise, and if the
// endpoint was never measured, it is 0.
func (e *Endpoint) Idle(now time.Duration) time.Duration {
	at := e.latency.at.Load()
	if at == 0 || e.InFlight() > 0 {
		return 0
	}
	return max(now-time.Duration(at), 0)
}

// Resting reports whether the endpoint has nothing in flight and its latest answer is more
// than a second old: what is known of its latency may be out of date. An endpoint that was
// never measured is not resting.
func (e *Endpoint) Resting(now time.Duration) bool {
	return e.Idle(now) > restAfter
}

// Failing is the level of recent failure as of now, from 0 (all is well) to 1: a moving
// average over the last dozen attempts which also fades with time.
func (e *Endpoint) Failing(now time.Duration) float32 {
	_, failing := e.Estimate(now)
	return failing
}

// Forgive makes Failing 0 and Failed false: what the failures said is dealt with, as when the endpoint
// was out of rotation for them and has recovered since. What is known of its latency stays. Any
// goroutine may call it.
func (e *Endpoint) Forgive() {
	e.failed.Store(false)
	e.latency.forgive()
}

// Failed reports whether the latest attempt that says anything about the endpoint failed.
func (e *Endpoint) Failed() bool { return e.failed.Load() }

// Faultless reports whether Failing is 0 without a need to work it out: nearly always.
func (e *Endpoint) Faultless() bool { return uint32(e.latency.word.Load()) == 0 }

// Estimate is Latency, in nanoseconds, and Failing from a single read: for pickers.
func (e *Endpoint) Estimate(now time.Duration) (ns, failing float32) {
	w := e.latency.word.Load()
	k := decay(int64(now) - e.latency.at.Load())
	return math.Float32frombits(uint32(w>>32)) * k, math.Float32frombits(uint32(w)) * k
}

// Stats is the live state of an endpoint at one moment, for display.
type Stats struct {
	InFlight int64         // attempts between Begin and End
	Limit    int64         // as Endpoint.Limit
	Attempts uint64        // attempts that ended, since the endpoint was made
	Failures uint64        // those of them that failed
	Latency  time.Duration // as Endpoint.Latency
	Failing  float64       // as Endpoint.Failing
	Usable   bool
}

// Stats reads the live state. The fields are read one after the other: while attempts
// run, they may be apart by a few.
func (e *Endpoint) Stats(now time.Duration) Stats {
	ns, failing := e.Estimate(now)
	return Stats{
		InFlight: e.InFlight(),
		Limit:    e.Limit(),
		// Failures before attempts, so that they are never more.
		Failures: e.counts.failures.Load(),
		Attempts: e.counts.attempts.Load(),
		Latency:  time.Duration(ns),
		Failing:  float64(failing),
		Usable:   e.Usable(),
	}
}
