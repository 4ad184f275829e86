package policy

// Least time: load, latency and failure in one number.
//
//	cost = 2^penalty × (1 + in flight × mean weight / weight)
//
// The penalty is 0 of an endpoint that does as well as the others, and where all do, this is least
// connections. It has two parts, in octaves (one more: twice the cost):
//
//	slow      2 × (how many octaves its expected latency is above the mean of those that are
//	          compared − 0.58), from 0 to 4
//	failing   16 × its level of recent failure
//
// Expected latency (endpoint.Expected) is a typical one, or the time for which the endpoint has
// been silent if that is more. One of eight endpoints whose answers take 5 ms:
//
//	takes 25 ms            2.0 octaves above the mean, a penalty of 2.9: idle, it costs as much as
//	                       another one with 6 in flight
//	takes 7 ms             below 0.58: as the others
//	stalls                 after 10 ms of silence as if it took 10 ms, and so on
//	fails at once          up to 16: it gets nothing until its failures fade
//	takes 0.5 ms           as the others: nothing wins by being faster
//
// Only what is clearly slower than the others loses. Means of a few dozen answers differ by a
// factor of 1.5 by chance; without the slack, requests would run after that. And latency is known
// only when the answer is there: an endpoint that won because it looks fast would be flooded
// before its answers show that it is not.

import (
	"math"
	"math/bits"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

const (
	// slack is how much slower than the mean counts as equal: a factor of 1.5.
	slack = endpoint.Octave * 58 / 100
	// steepness is how many octaves of cost an octave of latency is.
	steepness = 2
	// slowMost bounds the penalty for latency: a cost of 16 times.
	slowMost = 4 * endpoint.Octave
	// failMost is the penalty of an endpoint that always fails.
	failMost = 16 * endpoint.Octave
	// tasteBits says how often an idle endpoint that is drawn first is tried again whatever it
	// costs: one time in 16.
	tasteBits = 4
	// restTimes and restMost say when it may be: after so many times its latency, at most a
	// second, without an answer.
	restTimes = 4
	restMost  = time.Second
	// placeBits are those of a place among lookMost, from 1 to that.
	placeBits = 5
	// lookMost is the number of endpoints up to which least time looks at all, a power of two;
	// fewSamples is how many it looks at when there are more.
	lookMost, fewSamples = 16, 3
)

// LeastTime picks the endpoint that promises the earliest answer by its load, its latency and its
// recent failures: of all, up to 16 endpoints; beyond that, of three drawn by weight. Between
// endpoints that do equally well it is least connections; ties go by weight. One that is slow,
// silent or failing gets as much less as it is worse, and is tried again now and then. One that
// is new gets one attempt at a time until it has answered some. It is the default;
// docs/decisions/0025-least-time.md says what else was tried.
func LeastTime() Policy { return leastTime{} }

type leastTime struct{}

type leastTimePicker struct {
	wheel
	mean float32 // weight
}

func (leastTime) Build(_, usable []*endpoint.Endpoint, prev Picker) Picker {
	if p, ok := prev.(*leastTimePicker); ok && p.same(usable) {
		return p
	}
	return newLeastTime(usable)
}

func newLeastTime(usable []*endpoint.Endpoint) *leastTimePicker {
	p := &leastTimePicker{wheel: newWheel(usable)}
	if len(usable) > 0 {
		p.mean = float32(p.total) / float32(len(usable))
	}
	return p
}

func (p *leastTimePicker) Pick(a *Attempt) *endpoint.Endpoint {
	n := len(p.eps)
	if n <= 1 || a.Tried.n > 0 {
		if n == 1 && a.Tried.n == 0 {
			return p.eps[0]
		}
		return p.again(a)
	}
	first := p.index(a.Rand)
	r := next(a.Rand)
	if r*golden>>(64-tasteBits) == 0 && rested(p.eps[first], a.Now) {
		return p.eps[first]
	}
	if n > lookMost {
		second, third := p.index(r*hashLeft), p.index(r*hashRight)
		if p.slots == nil {
			return p.few(p.eps[first], p.eps[second], p.eps[third], a.Now)
		}
		list := [fewSamples]*endpoint.Endpoint{p.eps[first], p.eps[second], p.eps[third]}
		return p.best(list[:], a.Now)
	}
	// All, from a random start, so that equally good ones get the same; but first comes first.
	start, _ := bits.Mul64(r, uint64(n))
	if p.slots == nil {
		return p.even(first, int(start), a.Now)
	}
	var list [lookMost]*endpoint.Endpoint
	copy(list[copy(list[:], p.eps[start:]):], p.eps[:start])
	if first -= int(start); first < 0 {
		first += n
	}
	at := &list[first&(lookMost-1)]
	list[0], *at = *at, list[0]
	return p.best(list[:n], a.Now)
}

// again is Pick for an exchange that has tried endpoints, which is rare, and where there is at most
// one.
func (p *leastTimePicker) again(a *Attempt) *endpoint.Endpoint {
	var list [lookMost]*endpoint.Endpoint
	n := p.others(a, &list, fewSamples)
	if n <= 1 {
		return list[0]
	}
	return p.best(list[:n], a.Now)
}

// others fills list with what is to be compared by an exchange that may have tried endpoints: one
// drawn by weight first, then all others up to lookMost endpoints, or so many that are drawn as
// samples says, of which some may be the same. It returns how many there are.
func (w *wheel) others(a *Attempt, list *[lookMost]*endpoint.Endpoint, samples int) (n int) {
	first := w.draw(a.Rand, &a.Tried, nil)
	if first == nil {
		return 0
	}
	list[0], n = first, 1
	if len(w.eps) <= lookMost {
		start := int(next(a.Rand) % uint64(len(w.eps)))
		for i := range w.eps {
			if e := w.eps[(start+i)%len(w.eps)]; e != first && !a.Tried.Has(e) {
				list[n] = e
				n++
			}
		}
		return n
	}
	for r := next(a.Rand); n < samples; n++ {
		list[n] = w.draw(r, &a.Tried, nil)
		r = next(r)
	}
	return n
}

// even is best of all endpoints where their weights are the same. What they have in flight is then
// compared as it is, in one number with the place, so that ties go to first and then in turn from
// start on:
//
//	first has 3 in flight      3, 0
//	the one at start has 3     3, 1
//	the one before it has 2    2, 16: it wins
//
// The places are looked at in the same order each time, whose branches can be predicted, and the
// comparison, which cannot, is none.
func (p *leastTimePicker) even(first, start int, now time.Duration) *endpoint.Endpoint {
	eps := p.eps
	par := endpoint.ParOf(parOf(eps), now)
	least := eps[first].InFlight() // fewer than these is better
	cost := float32(1 + least)
	if !eps[first].Within(&par) {
		cost *= factor(eps[first], par.Level, now)
		least = int64(cost) - 1
	}
	best := uint64(least) << placeBits
	worse := uint16(0) // a bit for each that may have a penalty: those come last
	for i, e := range eps {
		if !e.Within(&par) {
			worse |= 1 << (i & (lookMost - 1))
			continue
		}
		key := uint64(e.InFlight())<<placeBits | uint64((i-start)&(lookMost-1)+1)
		_, less := bits.Sub64(key, best, 0)
		best ^= (best ^ key) & -less
	}
	at := first
	if place := int(best & (1<<placeBits - 1)); place > 0 {
		at = (place - 1 + start) & (lookMost - 1)
		cost = float32(1 + best>>placeBits)
	}
	worse &^= 1 << (first & (lookMost - 1))
	for m := bits.RotateLeft16(worse, -start); m != 0; m &= m - 1 {
		i := (bits.TrailingZeros16(m) + start) & (lookMost - 1)
		if n := float32(eps[i].InFlight()); 2+n <= cost { // else it loses without a penalty
			if f := factor(eps[i], par.Level, now); f*(2+n) <= cost {
				at, cost = i, f*(1+n)
			}
		}
	}
	return eps[at]
}

// best returns the endpoint of list that costs least: the first, unless another one would, after
// taking the attempt, cost no more than the best before it does now. Of the others, those with a
// penalty come last. It uses list as its own.
func (p *leastTimePicker) best(list []*endpoint.Endpoint, now time.Duration) *endpoint.Endpoint {
	par := endpoint.ParOf(parOf(list), now)
	return p.bestBy(&par, list, now)
}

// bestBy is best, whose par is known.
func (p *leastTimePicker) bestBy(par *endpoint.Par, list []*endpoint.Endpoint, now time.Duration) *endpoint.Endpoint {
	mean := p.mean
	best := list[0]
	weight := float32(best.Weight())
	cost := weight + float32(best.InFlight())*mean // times the weight
	if !best.Within(par) {
		cost *= factor(best, par.Level, now)
	}
	others := list[1:]
	worse := 0 // so many of them may have a penalty
	for _, e := range others {
		if !e.Within(par) {
			others[worse] = e
			worse++
			continue
		}
		w := float32(e.Weight())
		c := w + float32(e.InFlight())*mean
		if (c+mean)*weight <= cost*w {
			best, cost, weight = e, c, w
		}
	}
	for _, e := range others[:worse] {
		w := float32(e.Weight())
		c := w + float32(e.InFlight())*mean
		if (c+mean)*weight > cost*w {
			continue // it loses without a penalty
		}
		if f := factor(e, par.Level, now); f*(c+mean)*weight <= cost*w {
			best, cost, weight = e, f*c, w
		}
	}
	return best
}

// penalty is that of e, where par is what counts as fast.
func penalty(e *endpoint.Endpoint, par endpoint.Level, now time.Duration) endpoint.Level {
	slow := min(max(e.Expected(now)-par, 0), slowMost/steepness) * steepness
	if e.Faultless() {
		return slow
	}
	return slow + endpoint.Level(e.Failing(now)*float32(failMost))
}

// factor is 2^penalty.
func factor(e *endpoint.Endpoint, par endpoint.Level, now time.Duration) float32 {
	return power(penalty(e, par, now))
}

// power is 2^octaves, by straight lines between whole octaves.
func power(octaves endpoint.Level) float32 {
	return math.Float32frombits(math.Float32bits(1) + uint32(octaves))
}

// rested reports whether e is to be measured anew: it is idle, and its latest answer is old enough.
func rested(e *endpoint.Endpoint, now time.Duration) bool {
	rest := restMost
	if !e.Failed() {
		rest = min(restTimes*e.Expected(now).Duration(), restMost)
	}
	return e.Idle(now) > rest
}
