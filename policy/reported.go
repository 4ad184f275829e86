package policy

// Least time with what endpoints report of their load (endpoint.Report). Two things change in the
// cost:
//
//	in flight    own attempts, and those that others have there beyond what they have elsewhere on
//	             average, and one
//	busy         a third part of the penalty: octaves by which less of its capacity is free than of
//	             the mean's, less 0.58, at most 1
//
// Three endpoints with 2 own attempts each, which others use as well:
//
//	reports 13 in flight       11 of others where 5 are the mean: counts like 2 + 5 attempts
//	reports 3 in flight        2
//	reports 4, and 95 % busy   2, at twice the cost: beside a mean of 50 %, 0.06 of it are free and
//	                           not 0.5
//
// What others have is known as of the latest answer, and by then they have sent more. So only a clear
// excess counts, and nothing wins by a report: an endpoint that stands still says nothing new, and
// would be flooded by all proxies at once for having been idle. With the plain sum instead, p99.9 of
// eight proxies whose endpoints stall in turn was 430 ms, and not 55 (TestStressReported).

import (
	"math"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

const (
	// othersSlack is how many requests of others more than elsewhere count as equal: by chance there
	// are some more or less at each moment.
	othersSlack = 1
	// busyMost bounds the penalty of an endpoint that says that it is busy: twice the cost.
	busyMost = endpoint.Octave
	// freeLeast is what counts as free of an endpoint that says that nothing is.
	freeLeast = 1.0 / 16
)

// LeastTimeReported is LeastTime that counts what endpoints report of their load, where they do: the
// requests that others have in flight there beyond the mean, and how busy they are. Reports older
// than 3 s do not count.
func LeastTimeReported() Policy { return leastTimeReported{} }

type leastTimeReported struct{}

type reportedPicker struct{ leastTimePicker }

func (leastTimeReported) Build(_, usable []*endpoint.Endpoint, prev Picker) Picker {
	if p, ok := prev.(*reportedPicker); ok && p.same(usable) {
		return p
	}
	return &reportedPicker{*newLeastTime(usable)}
}

func (p *reportedPicker) Pick(a *Attempt) *endpoint.Endpoint {
	var list [lookMost]*endpoint.Endpoint
	n := p.others(a, &list, fewSamples)
	if n <= 1 {
		return list[0]
	}
	if a.Tried.n == 0 && tastes(list[0], a) {
		return list[0]
	}
	c := crowdOf(list[:n], a.Now)
	best := list[0]
	weight := float32(best.Weight())
	cost := c.factor(best, a.Now) * (weight + c.load(best, a.Now)*p.mean) // times the weight
	for _, e := range list[1:n] {
		w, f := float32(e.Weight()), c.factor(e, a.Now)
		one := f * (w + c.load(e, a.Now)*p.mean)
		if (one+f*p.mean)*weight <= cost*w {
			best, cost, weight = e, one, w
		}
	}
	return best
}

// tastes reports whether e, which is drawn first, is picked to be measured anew, whatever it costs.
func tastes(e *endpoint.Endpoint, a *Attempt) bool {
	return next(a.Rand)*golden>>(64-tasteBits) == 0 && rested(e, a.Now)
}

// A crowd is what some endpoints report on average, and how fast they are.
type crowd struct {
	par    endpoint.Level // of latency, above which one is slow
	others float32        // requests of others in flight at one of them; 0: none reports that
	free   endpoint.Level // what is free of the mean; 0: none reports that
}

func crowdOf(list []*endpoint.Endpoint, now time.Duration) crowd {
	c := crowd{par: parOf(list)}
	var others, reporting int64
	var busy, telling float32
	for _, e := range list {
		if n, ok := e.Others(now); ok {
			others += n
			reporting++
		}
		if u, ok := e.Busy(now); ok {
			busy += u
			telling++
		}
	}
	if reporting > 0 {
		c.others = float32(others) / float32(reporting)
	}
	if telling > 0 {
		c.free = free(busy / telling)
	}
	return c
}

// free is what a utilisation leaves, on a logarithmic scale.
func free(utilization float32) endpoint.Level {
	return endpoint.Level(math.Float32bits(max(1-utilization, freeLeast)))
}

// load is what e has in flight, and by how much others have clearly more there than elsewhere.
func (c *crowd) load(e *endpoint.Endpoint, now time.Duration) float32 {
	own := float32(e.InFlight())
	if n, ok := e.Others(now); ok {
		own += max(float32(n)-c.others-othersSlack, 0)
	}
	return own
}

// factor is 2^penalty.
func (c *crowd) factor(e *endpoint.Endpoint, now time.Duration) float32 {
	sum := penalty(e, c.par, now)
	if u, ok := e.Busy(now); ok {
		sum += min(max(c.free-free(u)-slack, 0), busyMost)
	}
	return power(sum)
}

// Score implements Scorer.
func (p *reportedPicker) Score(e *endpoint.Endpoint, now time.Duration) (float64, string) {
	c := crowdOf(p.eps[:min(len(p.eps), scoreMost)], now)
	load := 1 + float64(c.load(e, now))*float64(p.mean)/float64(e.Weight())
	return load * float64(c.factor(e, now)), "load, latency and failure"
}
