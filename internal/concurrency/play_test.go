package concurrency

// Endpoints as queues under virtual time: a station of several workers, which proxies share, each
// with a Limiter. Requests come at random in an open loop, and one that finds no place is refused.

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"
)

// A play is one situation.
type play struct {
	workers int
	mean    time.Duration                                       // of an exponential time of work
	work    func(r *rand.Rand, now time.Duration) time.Duration // in place of mean; nil: mean
	load    func(now time.Duration) float64                     // requests a second, of all proxies together
	proxies int                                                 // 0: 1
	skew    time.Duration                                       // how far apart the clocks of proxies are
	bounds  Bounds                                              // zero: from 1 to 1000
	off     bool                                                // no limits
	upgrade time.Duration                                       // instant at which the process of proxy 0 is replaced; 0: never
	empty   bool                                                // the new one is told nothing
	lasts   time.Duration
	seed    uint64
}

// A second is what was seen in one second of a play.
type second struct {
	offered, served int
	latencies       []time.Duration // of those served, sorted
	limits          []float64       // of the proxies, mean at the ends of requests
	mean            float64         // of their sum
	ends            int
}

func (s second) p99() time.Duration {
	return s.latencies[len(s.latencies)*99/100]
}

// An ending is a request that is in flight.
type ending struct {
	at, began time.Duration
	proxy     int
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// run plays p and returns its seconds.
func (p play) run() []second {
	if p.bounds == (Bounds{}) {
		p.bounds = Bounds{1, 1000}
	}
	p.proxies = max(p.proxies, 1)
	r := rand.New(rand.NewPCG(p.seed, 7))
	limiters, inFlight := make([]*Limiter, p.proxies), make([]int64, p.proxies)
	for i := range limiters {
		limiters[i] = New(p.bounds, time.Duration(i)*p.skew+3*time.Second)
	}
	free := make([]time.Duration, p.workers)
	var open endings
	out := make([]second, p.lasts/time.Second)
	next := time.Second
	for upgraded := false; ; {
		if !upgraded && p.upgrade > 0 && next >= p.upgrade {
			upgraded = true
			p.replace(limiters, open, next)
			inFlight[0] = 0
		}
		for len(open) > 0 && open[0].at <= next {
			e := heap.Pop(&open).(ending)
			if e.proxy == gone {
				continue
			}
			if !p.off {
				limiters[e.proxy].Observe(e.at, e.at-e.began, inFlight[e.proxy], true)
			}
			inFlight[e.proxy]--
			if n := int(e.at/time.Second) - 1; n < len(out) {
				out[n].note(limiters)
			}
		}
		n := int(next/time.Second) - 1
		if n >= len(out) {
			break
		}
		one, proxy := &out[n], r.IntN(p.proxies)
		one.offered++
		if p.off || inFlight[proxy] < limiters[proxy].Limit() {
			inFlight[proxy]++
			work := time.Duration(r.ExpFloat64() * float64(p.mean))
			if p.work != nil {
				work = p.work(r, next)
			}
			worker := 0
			for i := range free {
				if free[i] < free[worker] {
					worker = i
				}
			}
			free[worker] = max(free[worker], next) + work
			one.served++
			one.latencies = append(one.latencies, free[worker]-next)
			heap.Push(&open, ending{free[worker], next, proxy})
		}
		next += time.Duration(r.ExpFloat64() / p.load(next) * float64(time.Second))
	}
	for i := range out {
		out[i].settle()
	}
	return out
}

// gone is the proxy of an ending that belongs to a process which drains.
const gone = -1

// replace has another process take the place of that of proxy 0, whose clock agrees.
func (p play) replace(limiters []*Limiter, open endings, now time.Duration) {
	next := New(p.bounds, 3*time.Second)
	if !p.empty {
		next.Learn(limiters[0].Learned(), now)
	}
	limiters[0] = next
	for i := range open {
		if open[i].proxy == 0 {
			open[i].proxy = gone
		}
	}
}

// note takes down the limits.
func (s *second) note(limiters []*Limiter) {
	if s.limits == nil {
		s.limits = make([]float64, len(limiters))
	}
	for i, l := range limiters {
		s.limits[i] += float64(l.Limit())
	}
	s.ends++
}

// settle makes means of sums.
func (s *second) settle() {
	slices.Sort(s.latencies)
	for i := range s.limits {
		s.limits[i] /= float64(s.ends)
		s.mean += s.limits[i]
	}
}

// over sums several seconds up.
func over(seconds []second) (all second) {
	all.limits = make([]float64, len(seconds[0].limits))
	for i := range seconds {
		s := &seconds[i]
		all.offered += s.offered
		all.served += s.served
		all.latencies = append(all.latencies, s.latencies...)
		for k := range s.limits {
			all.limits[k] += s.limits[k]
		}
		all.ends++
	}
	all.settle()
	return all
}

// steady is a load that does not change.
func steady(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}
