package policy

// Prequal (Wydrowski, Kleinberg, Rumble, Archer: "Load is not what you should balance", NSDI 2024,
// arXiv 2312.10172) for proxies that share endpoints: two signals in lexicographic order, requests
// in flight at the endpoint and its latency. Of those that are looked at,
//
//	hot     are those with more in flight than most (a quantile of 0.84): they are left out
//	cold    the others: the one with the lowest latency, where up to 1.5 times counts as equal, and
//	        of equal ones the one with the least in flight
//
// Of eight endpoints that a twin of this proxy uses as well:
//
//	in flight      of others   latency    rank
//	2 own at a     9           5 ms       hot: where others have 3 on average, it counts like 2 + 5,
//	                                      and seven have less
//	2 own at b     1           5 ms       cold, lowest latency, least in flight: picked
//	3 own at c     3           6 ms       cold, as fast as b, but more in flight
//	0 own at d     0          25 ms       cold, and slow: not as long as a faster one is cold
//
// What the paper calls a probe is a response here: each one tells of latency, and, if the endpoint
// reports its load (endpoint.Report), of what others have in flight there. Its rules, and what
// became of them:
//
//	pool of 16 probes                    the endpoints themselves, up to 16; else eight drawn by weight
//	a probe expires after 1 s            a report after 3 s; then own attempts count alone
//	a probe is used so many times only,  own attempts in flight are known at each moment, so a
//	and counts one more each time        report does not wear off by being used
//	the worst and the oldest are removed one that is hot or slow is not picked; idle, it is tried again
//	                                     one time in 16, as by least time
//	errors must not attract requests     up to 16 octaves of latency more, and in flight likewise

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
)

const (
	// hotRank of hotOf endpoints, in the order of what they have in flight, are cold: 0.84.
	hotRank, hotOf = 27, 32
	// prequalSamples is how many endpoints Prequal looks at when there are more than lookMost.
	prequalSamples = 8
	// someLevel stands for the latency of endpoints of which none is known.
	someLevel = 127 * endpoint.Octave
)

// Prequal picks, of all endpoints up to 16 and of eight drawn by weight beyond, the fastest of
// those that do not have clearly more requests in flight than the others: of all proxies that use
// them, if the endpoints report that, or else of this one. It is for several proxies that share
// endpoints; docs/decisions/0032-reported-load.md says when it is better than LeastTime.
func Prequal() Policy { return prequal{} }

type prequal struct{}

type prequalPicker struct{ leastTimePicker }

func (prequal) Build(_, usable []*endpoint.Endpoint, prev Picker) Picker {
	if p, ok := prev.(*prequalPicker); ok && p.same(usable) {
		return p
	}
	return &prequalPicker{*newLeastTime(usable)}
}

func (p *prequalPicker) Pick(a *Attempt) *endpoint.Endpoint {
	var list [lookMost]*endpoint.Endpoint
	n := p.others(a, &list, prequalSamples)
	if n <= 1 {
		return list[0]
	}
	if a.Tried.n == 0 && tastes(list[0], a) {
		return list[0]
	}
	var pool prequalPool
	p.measure(&pool, list[:n], a.Now)
	best, limit := -1, pool.limit(n)
	bar := pool.bar(n, limit)
	for i := range n {
		switch {
		case pool.load[i] > limit || pool.latency[i] > bar:
		case best < 0, pool.load[i]+pool.step[i] <= pool.load[best]:
			best = i
		}
	}
	return list[best]
}

// A prequalPool is what is known of the endpoints that are compared.
type prequalPool struct {
	load    [lookMost]float32        // in flight per weight
	step    [lookMost]float32        // what one attempt more adds to that
	latency [lookMost]endpoint.Level // that is to be expected, and failures
}

// measure fills the pool.
func (p *prequalPicker) measure(pool *prequalPool, list []*endpoint.Endpoint, now time.Duration) {
	c := crowdOf(list, now)
	lowest := endpoint.Unanswered
	for i, e := range list {
		pool.step[i] = p.mean / float32(e.Weight())
		pool.load[i] = c.load(e, now) * pool.step[i]
		if !e.Faultless() {
			pool.load[i] += (power(failure(0, e, now)) - 1) * pool.step[i]
		}
		l := e.Expected(now)
		if l != endpoint.Unknown {
			l = failure(l, e, now)
			lowest = min(lowest, l)
		}
		pool.latency[i] = l
	}
	for i, e := range list {
		switch {
		case pool.latency[i] != endpoint.Unknown:
		case lowest < endpoint.Unanswered, !e.Faultless(): // as good as the fastest, so that it is tried
			pool.latency[i] = failure(lowest, e, now)
		default:
			pool.latency[i] = someLevel
		}
	}
}

// failure is the latency l, raised by the failures of e.
func failure(l endpoint.Level, e *endpoint.Endpoint, now time.Duration) endpoint.Level {
	if l == endpoint.Unanswered || e.Faultless() {
		return l
	}
	return l + endpoint.Level(e.Failing(now)*float32(failMost))
}

// limit is the load above which an endpoint is hot: there may be one at least that is.
func (pool *prequalPool) limit(n int) float32 {
	sorted := pool.load
	for i := 1; i < n; i++ { // insertion: there are few, and a call of package sort allocates
		x, j := sorted[i], i
		for ; j > 0 && sorted[j-1] > x; j-- {
			sorted[j] = sorted[j-1]
		}
		sorted[j] = x
	}
	return sorted[min((n*hotRank+hotOf-1)/hotOf, n-1)-1]
}

// bar is the latency above which a cold endpoint is slow: the lowest, and some slack.
func (pool *prequalPool) bar(n int, limit float32) endpoint.Level {
	lowest := endpoint.Unanswered
	for i := range n {
		if pool.load[i] <= limit {
			lowest = min(lowest, pool.latency[i])
		}
	}
	if lowest == endpoint.Unanswered {
		return lowest
	}
	return lowest + slack
}

// Score implements Scorer.
func (p *prequalPicker) Score(e *endpoint.Endpoint, now time.Duration) (float64, string) {
	c := crowdOf(p.eps[:min(len(p.eps), scoreMost)], now)
	return float64(c.load(e, now)) / float64(e.Weight()), "in flight per weight, of others too"
}
