package endpoint

// What an endpoint says of its own load, in its responses (load_reports): how many requests it has
// in flight, of all its clients, and how busy it is. With several proxies each of them knows only
// its own attempts; a report tells of the others':
//
//	own attempts in flight   the report says   the others have   so it is, until the next report
//	3                        10 in flight      7                 own attempts + 7
//	3, later 5               (the same)        7                 12
//	3                        2 in flight       0                 own attempts: it counts something else
//	3                        nothing           not known         own attempts
//	3, 3 s after a report    nothing           not known         own attempts: the report is stale
//
// The part of the others is kept instead of the number that was reported, since own attempts are
// known at every moment: a report need not be discounted for each attempt that was made since.

import (
	"math"
	"time"
)

const (
	// reportFor is the age at which a report is stale and counts no more.
	reportFor = 3 * time.Second
	// reportTick makes ticks of nanoseconds: a millisecond, about. 32 bits of them are 52 days.
	reportTick = 20
	// reportLag is by how many ticks, at most, the clock of a reader may lag behind the writer's.
	reportLag = 1 << 10
	// unsaid is what of a report was not said; the largest number of its bits.
	unsaid = math.MaxUint16
	// othersMost bounds how many requests of others a report may tell of, and busyMost the
	// utilisation: what is more counts as that.
	othersMost, busyMost = unsaid - 1, 10
	// busyUnit is the resolution of the utilisation that policies see.
	busyUnit = 1.0 / 4096
)

// A Report is what an endpoint says of its load.
type Report struct {
	// InFlight is how many requests it has in flight, of all its clients, with the one in whose
	// response it says so; negative: it does not say.
	InFlight int64
	// Utilization is the part of its capacity that is in use, where 1 is all, and more is too
	// much; negative or no number: it does not say.
	Utilization float64
}

// Report takes over what the endpoint has said in a response that has come at the instant now,
// while its attempt is in flight. Numbers beyond any bound count as the bound. Any goroutine may
// call it.
func (e *Endpoint) Report(r Report, now time.Duration) {
	others, busy := uint64(unsaid), uint64(unsaid)
	said := uint64(math.MaxUint32) // in flight
	if r.InFlight >= 0 {
		others = uint64(min(max(r.InFlight-e.inFlight.Load(), 0), othersMost))
		said = uint64(min(r.InFlight, math.MaxUint32-1))
	}
	if r.Utilization >= 0 { // not of NaN
		busy = uint64(min(r.Utilization, busyMost) / busyUnit)
	}
	e.said.Store(said)
	e.report.Store(others<<48 | busy<<32 | uint64(max(uint32(now>>reportTick), 1)))
}

// reportAge is how old the report w is at the instant now. w is not 0.
func reportAge(w uint64, now time.Duration) time.Duration {
	ticks := uint32(now>>reportTick) - uint32(w)
	if -ticks < reportLag {
		return 0
	}
	return time.Duration(ticks) << reportTick
}

// Others is how many requests the endpoint has in flight besides the attempts of this process, by
// its latest report; ok is false if there is none, or it is stale, or does not say.
func (e *Endpoint) Others(now time.Duration) (n int64, ok bool) {
	w := e.report.Load()
	if w == 0 || w>>48 == unsaid || reportAge(w, now) > reportFor {
		return 0, false
	}
	return int64(w >> 48), true
}

// Busy is the utilisation of the latest report, from 0 to 10, where 1 is all of its capacity; ok is
// as that of Others.
func (e *Endpoint) Busy(now time.Duration) (utilization float32, ok bool) {
	w := e.report.Load()
	if w == 0 || uint16(w>>32) == unsaid || reportAge(w, now) > reportFor {
		return 0, false
	}
	return float32(uint16(w>>32)) * busyUnit, true
}

// Reported is the latest report, for display.
type Reported struct {
	InFlight    int64         // of all clients; -1: it did not say
	Others      int64         // of those, not attempts of this process; -1: it did not say
	Utilization float64       // -1: it did not say
	Age         time.Duration // since it came
	Stale       bool          // it does not count any more
}

// LastReport returns the latest report as of the instant now; ok is false if there was none. Any
// goroutine may call it.
func (e *Endpoint) LastReport(now time.Duration) (r Reported, ok bool) {
	w, said := e.report.Load(), e.said.Load()
	if w == 0 {
		return r, false
	}
	r = Reported{InFlight: -1, Others: -1, Utilization: -1, Age: reportAge(w, now)}
	if w>>48 != unsaid {
		r.InFlight, r.Others = int64(said), int64(w>>48)
	}
	if busy := uint16(w >> 32); busy != unsaid {
		r.Utilization = float64(busy) * busyUnit
	}
	r.Stale = r.Age > reportFor
	return r, true
}
