package policy_test

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// A server is a queue of workers behind an endpoint, under virtual time.
type server struct {
	mean    time.Duration // of an exponential service time
	workers int
	fails   bool // answers an error at once
	free    []time.Duration
}

// take returns when an attempt that arrives now is answered.
func (s *server) take(now time.Duration, r *rand.Rand) time.Duration {
	if s.fails {
		return now + 100*time.Microsecond
	}
	if s.free == nil {
		s.free = make([]time.Duration, s.workers)
	}
	first := 0
	for i, at := range s.free {
		if at < s.free[first] {
			first = i
		}
	}
	s.free[first] = max(s.free[first], now) + time.Duration(r.ExpFloat64()*float64(s.mean))
	return s.free[first]
}

// A departure is the end of an attempt.
type departure struct {
	at, began time.Duration
	server    int
}

type departures []departure

func (d departures) Len() int           { return len(d) }
func (d departures) Less(i, j int) bool { return d[i].at < d[j].at }
func (d departures) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *departures) Push(x any)        { *d = append(*d, x.(departure)) }
func (d *departures) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

// A load is an open loop of attempts, Poisson arrivals at a rate per second.
type load struct {
	rate   float64
	lasts  time.Duration
	warmUp time.Duration // not counted
	keys   func(r *rand.Rand) uint64
}

// A report is what a load met with.
type report struct {
	latencies []time.Duration // sorted; failures left out
	picks     []int           // by server
	busiest   int64           // largest number in flight at one endpoint, after the warm-up
}

func (r *report) quantile(q float64) time.Duration {
	return r.latencies[min(int(q*float64(len(r.latencies))), len(r.latencies)-1)]
}

func (r *report) mean() time.Duration {
	var sum time.Duration
	for _, l := range r.latencies {
		sum += l
	}
	return sum / time.Duration(len(r.latencies))
}

// simulate puts the load on servers behind a picker of p; weights may be nil.
func simulate(p policy.Policy, servers []server, weights []int, l load, seed uint64) *report {
	r := rand.New(rand.NewPCG(seed, 1))
	eps := make([]*endpoint.Endpoint, len(servers))
	for i := range eps {
		w := 1
		if weights != nil {
			w = weights[i]
		}
		eps[i] = newEndpoint(i, w)
	}
	picker := p.Build(eps, eps, nil)
	index := make(map[*endpoint.Endpoint]int)
	for i, e := range eps {
		index[e] = i
	}
	rep := &report{picks: make([]int, len(servers))}
	var open departures
	a := policy.Attempt{Seq: r.Uint64()}
	for now := time.Second; now < l.lasts+time.Second; {
		now += time.Duration(r.ExpFloat64() / l.rate * float64(time.Second))
		for len(open) > 0 && open[0].at <= now {
			d := heap.Pop(&open).(departure)
			failed := servers[d.server].fails
			eps[d.server].End(endpoint.Outcome{Now: d.at, Latency: d.at - d.began, Failed: failed})
			if !failed && d.began > l.warmUp+time.Second {
				rep.latencies = append(rep.latencies, d.at-d.began)
			}
		}
		a.Seq++
		a.Rand, a.Now, a.Load = r.Uint64(), now, int64(len(open))
		if l.keys != nil {
			a.Key = l.keys(r)
		}
		e := picker.Pick(&a)
		e.Begin(now)
		i := index[e]
		if now > l.warmUp+time.Second {
			rep.picks[i]++
			rep.busiest = max(rep.busiest, e.InFlight())
		}
		heap.Push(&open, departure{at: servers[i].take(now, r), began: now, server: i})
	}
	slices.Sort(rep.latencies)
	return rep
}

// newEndpoint is the i-th of a service's endpoints, in the order of IDs.
func newEndpoint(i, weight int) *endpoint.Endpoint {
	e := endpoint.New(endpoint.Spec{
		ID:     endpoint.ID{Scheme: "http", Address: fmt.Sprintf("10.%03d.%03d.%03d:80", i>>16, i>>8&255, i&255)},
		Weight: weight,
	})
	e.SetUsable(true)
	return e
}

func alike(n int, s server) []server {
	servers := make([]server, n)
	for i := range servers {
		servers[i] = s
	}
	return servers
}

// trueLeast is least connections by looking at everyone: ties in turn, as nginx does it.
type trueLeast struct{}

type trueLeastPicker struct{ eps []*endpoint.Endpoint }

func (trueLeast) Build(_, usable []*endpoint.Endpoint, _ policy.Picker) policy.Picker {
	return &trueLeastPicker{usable}
}

func (p *trueLeastPicker) Pick(a *policy.Attempt) *endpoint.Endpoint {
	var best *endpoint.Endpoint
	least := math.Inf(1)
	n := uint64(len(p.eps))
	for i := range n {
		e := p.eps[(a.Seq+i)%n]
		if load := float64(e.InFlight()) / float64(e.Weight()); load < least && !a.Tried.Has(e) {
			best, least = e, load
		}
	}
	return best
}

func TestExplore(t *testing.T) {
	slow := alike(8, server{mean: 5 * time.Millisecond, workers: 4})
	slow[3].mean *= 5
	for _, rate := range []float64{1200} {
		for _, c := range []struct {
			name string
			p    policy.Policy
		}{{"nginx", trueLeast{}}, {"lc", policy.LeastConnections()}, {"p2c", policy.P2C()}, {"peak", policy.PeakEWMA()}, {"rr", policy.RoundRobin()}} {
			s := slices.Clone(slow)
			for i := range s {
				s[i].free = nil
			}
			r := simulate(c.p, s, nil, load{rate: rate, lasts: 60 * time.Second, warmUp: 5 * time.Second}, 1)
			t.Log(rate, c.name, "p50", r.quantile(.5), "p99", r.quantile(.99), "mean", r.mean(), r.picks)
			s = alike(8, server{mean: 5 * time.Millisecond, workers: 4})
			s[3].fails = true
			r = simulate(c.p, s, nil, load{rate: rate, lasts: 60 * time.Second, warmUp: 0 * time.Second}, 1)
			t.Log(rate, c.name, "fails: p50", r.quantile(.5), "p99", r.quantile(.99), r.picks)
		}
	}
	for _, n := range []int{1000} {
		for _, c := range []struct {
			name string
			p    policy.Policy
		}{{"nginx", trueLeast{}}, {"lc", policy.LeastConnections()}, {"p2c", policy.P2C()}, {"rnd", policy.Random()}} {
			r := simulate(c.p, alike(n, server{mean: 5 * time.Millisecond, workers: 1}), nil, load{rate: 0.9 * 200 * float64(n), lasts: 2 * time.Second, warmUp: time.Second / 2}, 1)
			t.Log(n, c.name, "p50", r.quantile(.5), "p99", r.quantile(.99), "mean", r.mean(), r.busiest)
		}
	}
}
