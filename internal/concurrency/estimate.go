package concurrency

// The rules by which windows change limit and base latency: a pure function of what windows have
// seen. The package comment has the idea.

import (
	"math"
	"time"
)

const (
	// slack is how many times as long as the base latency answers may take before the limit
	// shrinks. At 1.5 half as many as an endpoint works on may wait there, so that a worker which
	// becomes free has the next request at once.
	slack = 1.5
	// room is how many more there may be, whatever the base latency is: for bursts, and so that a
	// small limit can grow.
	room = 3
	// first is the limit of an endpoint of which nothing is known.
	first = 20
	// A window lasts windowLeast, or two current latencies so that it sees what the last change has
	// done, windowMost at most; and in any case until it has countLeast answers.
	windowLeast = 100 * time.Millisecond
	windowMost  = 10 * time.Second
	countLeast  = 40
	// cutAt is how many base latencies one attempt counts for at most, so that a single one that
	// took a minute does not decide.
	cutAt = 8
	// follow is how much of the way to a new base is taken in each window.
	follow = 0.25
	// confirmed is up to how many base latencies the current one raises no doubt.
	confirmed = 1.1

	// dipEvery is the distance of the instants at which a dip may begin, doubled until it is
	// dipBases base latencies. They do so in doubt only. When what was in flight has ended, a dip lasts dipLeast or four
	// base latencies, and until countLeast attempts have ended in it; but dipMost or ten base
	// latencies at most.
	dipEvery = 10 * time.Second
	dipBases = 400
	dipLeast = 250 * time.Millisecond
	dipMost  = time.Second
	// A limit that has fallen to a half without an effect on latency, which is still unmoved times
	// what it was, begins a dip at once, unless the latest one began less than dipRest ago.
	unmoved = 0.8
	dipRest = 2 * time.Second
	// dipTo is the part of the limit in a dip.
	dipTo = 0.125
	// little is the part of the limit up to which an endpoint has little to do.
	little = 0.25
	// A dip that lowers the base latency to less than this part was not deep enough.
	deep = 0.75
)

// An estimate is what a Limiter works with. Instants are on its caller's clock.
type estimate struct {
	bounds Bounds
	phase  time.Duration

	exact float64       // the limit, unless in a dip
	usual time.Duration // the base latency; 0: not known
	young bool          // the base latency is that of the very first answers
	fresh bool          // limit and base are those of another process, and there were no answers yet
	known bool          // the base latency was measured with little in flight
	tight bool          // answers have taken too long once: from then on the limit moves half-way

	next  time.Duration // instant from which the window may be closed
	must  time.Duration // instant from which it is closed whatever it has seen
	since time.Duration // instant from which ends of attempts count

	dips     bool          // a dip is on
	raises   bool          // it may raise the base latency
	began    time.Duration // instant at which the latest one began; 0: there was none
	before   time.Duration // the current latency then
	beforeIn float64       // how many were in flight then
	first    bool          // it is the very first, and the base latency was not known
	dipAt    time.Duration // instant at which all proxies begin the next one
	idle     bool          // little was in flight in a window since the last such instant
	doubt    bool          // the latest window: much was in flight, and answers took long

	// Where the present fall of the limit began; 0: it does not fall.
	fellFrom float64
	fellAt   time.Duration // the current latency then
}

func newEstimate(b Bounds, phase time.Duration) estimate {
	e := estimate{phase: phase, exact: first, young: true}
	e.bound(b)
	return e
}

// bound sets the bounds.
func (e *estimate) bound(b Bounds) {
	e.bounds = Bounds{max(b.Min, 1), max(b.Max, b.Min, 1)}
	e.exact = e.within(e.exact)
}

func (e *estimate) within(limit float64) float64 {
	return min(max(limit, float64(e.bounds.Min)), float64(e.bounds.Max))
}

// allowed is the limit that is in force.
func (e *estimate) allowed() int64 {
	if e.dips {
		return max(int64(e.exact*dipTo), 1)
	}
	return int64(math.Round(e.exact))
}

// longest is the latency that one attempt counts for at most.
func (e *estimate) longest() time.Duration {
	if e.usual == 0 {
		return tookMost
	}
	return min(cutAt*e.usual, tookMost)
}

// enough reports whether a window with so many attempts may be closed at the instant now.
func (e *estimate) enough(count int, now time.Duration) bool {
	return count >= countLeast || e.must > 0 && now >= e.must
}

// close takes in a window that ends at the instant now.
func (e *estimate) close(w sums, now time.Duration) {
	current := w.latency()
	switch {
	case e.dips:
		e.dipped(w, current)
		e.wait(now, current, current)
		return
	case e.usual == 0 && w.count() > 0:
		e.usual = current // of those that were answered first, because they were quick
		e.wait(now, current, 4*current)
		return
	case e.fresh:
		e.fresh = false
		e.wait(now, e.usual, 4*e.usual)
		return
	case w.count() >= countLeast:
		e.learn(w, current)
		e.adjust(w, current)
	}
	if due, raises := e.wantsDip(current, now); due {
		e.dip(w, current, now)
		e.raises = raises
		return
	}
	e.wait(now, current, 0)
}

// learn takes the current latency into the base.
func (e *estimate) learn(w sums, current time.Duration) {
	if e.young {
		e.usual, e.young = current, false
	}
	low := w.inFlight() <= e.exact*little
	if low || current < e.usual {
		e.usual += time.Duration(follow * float64(current-e.usual))
	}
	e.known, e.idle = e.known || low, e.idle || low
	e.doubt = w.inFlight() >= e.exact/2 && float64(current) > confirmed*float64(e.usual)
}

// adjust moves the limit.
func (e *estimate) adjust(w sums, current time.Duration) {
	gradient := slack * min(1, float64(e.usual)/float64(max(current, 1)))
	e.tight = e.tight || gradient < 1
	to := e.exact*gradient + room
	if to > e.exact && !w.reached() || to < e.exact && w.inFlight() < e.exact/2 {
		return
	}
	switch {
	case to > e.exact:
		e.fellFrom = 0
	case e.fellFrom == 0:
		e.fellFrom, e.fellAt = e.exact, current
	}
	if e.tight {
		to = (e.exact + to) / 2
	}
	e.exact = e.within(to)
}

// wantsDip reports whether a dip has to begin at the instant now. raises: it may raise the base latency;
// otherwise another proxy that has no dip now would do that.
func (e *estimate) wantsDip(current, now time.Duration) (due, raises bool) {
	if e.fellFrom > 0 && e.exact <= e.fellFrom/2 {
		raises = float64(current) > unmoved*float64(e.fellAt)
		e.fellFrom, e.fellAt = e.exact, current
	}
	due = (raises || e.doubt && !e.known) && (e.began == 0 || now >= e.began+dipRest)
	if now >= e.dipAt {
		raises = raises || e.doubt && !e.idle
		due = due || raises
		e.idle = false
		e.dipAt = e.dipAfter(now)
	}
	return due, raises
}

// dipAfter is the first instant after now at which all proxies begin a dip.
func (e *estimate) dipAfter(now time.Duration) time.Duration {
	every := dipEvery
	for every < dipBases*e.usual && every < time.Hour {
		every *= 2
	}
	return now + every - (now+e.phase)%every
}

// dip begins a dip. What is in flight has to end before it can be measured.
func (e *estimate) dip(w sums, current, now time.Duration) {
	e.dips, e.first, e.before = true, e.began == 0 && !e.known, current
	e.began, e.beforeIn = now, w.inFlight()
	e.since = now + min(2*current, dipMost)
	e.next = e.since + min(max(dipLeast, 4*e.usual), dipMost)
	e.must = e.since + max(dipMost, 10*e.usual)
}

// dipped takes in a dip. Only one that raises may believe that the endpoint has become slower. The
// first dip of an endpoint that was full from the beginning says at once how much too high the limit is.
func (e *estimate) dipped(w sums, current time.Duration) {
	e.dips, e.fellFrom, e.doubt = false, 0, false
	if w.count() == 0 {
		return
	}
	seen := current
	if !e.raises {
		current = min(current, e.usual)
	}
	ratio, share := float64(current)/float64(max(e.usual, 1)), min(1, float64(w.count())/countLeast)
	e.known, e.idle = ratio > deep || e.first && e.freed(w, seen), true
	if ratio > deep && ratio < 1/deep {
		share /= 2
	}
	e.usual += time.Duration(share * float64(current-e.usual))
	if e.first && float64(seen) < deep*float64(e.before) {
		e.exact = e.within(e.exact*slack*float64(e.usual)/float64(e.before) + room)
	}
}

// freed reports whether workers of the endpoint were free in the dip w: it served clearly less per
// second than before.
func (e *estimate) freed(w sums, current time.Duration) bool {
	return w.inFlight()/float64(max(current, 1)) < deep*e.beforeIn/float64(max(e.before, 1))
}

// wait begins the next window, in which ends of attempts count after so long.
func (e *estimate) wait(now, current, after time.Duration) {
	if e.dipAt <= now {
		e.dipAt = e.dipAfter(now)
	}
	e.since = now + min(after, windowMost)
	e.next = min(e.since+min(max(windowLeast, 2*current), windowMost), e.dipAt)
	e.must = e.dipAt
}
