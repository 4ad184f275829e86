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
	fails   bool          // answers an error at once
	until   time.Duration // when it ends to fail; 0: never
	free    []time.Duration

	cold int           // so many answers to begin with
	slow time.Duration // take so long
}

// take returns when an attempt that arrives now is answered.
func (s *server) take(now time.Duration, r *rand.Rand) time.Duration {
	if s.failing(now) {
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
	if s.cold > 0 {
		s.cold--
		s.free[first] = max(s.free[first], now) + s.slow
		return s.free[first]
	}
	s.free[first] = max(s.free[first], now) + time.Duration(r.ExpFloat64()*float64(s.mean))
	return s.free[first]
}

func (s *server) failing(now time.Duration) bool { return s.fails && (s.until == 0 || now < s.until) }

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
			failed := servers[d.server].failing(d.began)
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
		Weight: float64(weight),
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

// TestOneSlow is the quality target of the project in small: eight endpoints, one five
// times slower, far from full. Latency shows peak EWMA what in-flight counts cannot.
func TestOneSlow(t *testing.T) {
	servers := func() []server {
		s := alike(8, server{mean: 5 * time.Millisecond, workers: 4})
		s[3].mean *= 5
		return s
	}
	l := load{rate: 1200, lasts: 30 * time.Second, warmUp: 5 * time.Second}
	for seed := range uint64(3) {
		least := simulate(trueLeast{}, servers(), nil, l, seed)
		peak := simulate(policy.PeakEWMA(), servers(), nil, l, seed)
		t.Logf("p99: least of all %v, peak EWMA %v; the slow one drew %d and %d", least.quantile(0.99), peak.quantile(0.99), least.picks[3], peak.picks[3])
		if float64(peak.quantile(0.99)) > 0.75*float64(least.quantile(0.99)) {
			t.Errorf("seed %d: p99 of peak EWMA %v, of least connections %v", seed, peak.quantile(0.99), least.quantile(0.99))
		}
	}
}

// TestOneFails: an endpoint that answers errors at once draws no more than its share, with
// policies that look at load and with those that do not.
func TestOneFails(t *testing.T) {
	l := load{rate: 1200, lasts: 10 * time.Second, keys: (*rand.Rand).Uint64}
	for _, c := range slices.Concat(policies, composed) {
		servers := alike(8, server{mean: 5 * time.Millisecond, workers: 4})
		well := simulate(c.policy, servers, nil, l, 1)
		for i := range servers {
			servers[i].free = nil
		}
		servers[3].fails = true
		failing := simulate(c.policy, servers, nil, l, 1)
		share := float64(well.picks[3]) + 4*math.Sqrt(float64(well.picks[3]))
		t.Logf("%s: drew %d when well, %d when failing", c.name, well.picks[3], failing.picks[3])
		if got := float64(failing.picks[3]); got > share {
			t.Errorf("%s: drew %v when failing, at most %.0f are its share", c.name, got, share)
		}
	}
}

// TestRecovers: an endpoint that fails no more gets its share back.
func TestRecovers(t *testing.T) {
	for _, c := range policies {
		servers := alike(4, server{mean: 5 * time.Millisecond, workers: 4})
		servers[1].fails, servers[1].until = true, 11*time.Second
		l := load{rate: 400, lasts: 40 * time.Second, warmUp: 30 * time.Second, keys: (*rand.Rand).Uint64}
		r := simulate(c.policy, servers, nil, l, 1)
		total := 0
		for _, n := range r.picks {
			total += n
		}
		if got := float64(r.picks[1]) / float64(total); got < 0.2 || got > 0.35 {
			t.Errorf("%s: a share of %.3f 20 s after it failed last", c.name, got)
		}
	}
}

// TestLeastBySamples is why least connections looks at sixteen of many: queues of one worker
// each, nine tenths full.
func TestLeastBySamples(t *testing.T) {
	const n = 200
	l := load{rate: 0.9 * 200 * n, lasts: 3 * time.Second / 2, warmUp: time.Second / 2}
	mean := func(p policy.Policy) time.Duration {
		r := simulate(p, alike(n, server{mean: 5 * time.Millisecond, workers: 1}), nil, l, 1)
		t.Logf("%T: mean %v, p99 %v, most in flight %d", p, r.mean(), r.quantile(0.99), r.busiest)
		return r.mean()
	}
	all, some, two := mean(trueLeast{}), mean(policy.LeastConnections()), mean(policy.P2C())
	if float64(some) > 1.4*float64(all) || some > two {
		t.Errorf("mean latency: least of all %v, of sixteen %v, of two %v", all, some, two)
	}
}

// TestLoadFollowsWeight: with more to do than the light endpoints can take, the heavy ones
// get more, and no request waits long.
func TestLoadFollowsWeight(t *testing.T) {
	servers := []server{{workers: 1}, {workers: 2}, {workers: 4}, {workers: 8}}
	weights := make([]int, len(servers))
	workers := 0
	for i := range servers {
		servers[i].mean = 10 * time.Millisecond
		weights[i] = servers[i].workers
		workers += weights[i]
	}
	l := load{rate: 0.8 * 100 * float64(workers), lasts: 20 * time.Second, warmUp: 2 * time.Second}
	for _, p := range []policy.Policy{policy.P2C(), policy.LeastConnections(), policy.PeakEWMA()} {
		for i := range servers {
			servers[i].free = nil
		}
		r := simulate(p, servers, weights, l, 1)
		total := 0
		for _, n := range r.picks {
			total += n
		}
		t.Logf("%T: mean %v, picks %v", p, r.mean(), r.picks)
		for i, w := range weights {
			if got, want := float64(r.picks[i])/float64(total), float64(w)/float64(workers); math.Abs(got-want) > 0.25*want {
				t.Errorf("%T: weight %d has a share of %.3f, want about %.3f", p, w, got, want)
			}
		}
		if r.mean() > 20*time.Millisecond {
			t.Errorf("%T: mean latency %v", p, r.mean())
		}
	}
}

// TestBoundedLoad: with a few keys that most requests have, no endpoint has more in flight
// than the bound, and without a bound some has.
func TestBoundedLoad(t *testing.T) {
	hot := func(r *rand.Rand) uint64 {
		return policy.Hash([]byte{byte(min(r.ExpFloat64(), 200) * 2)})
	}
	l := load{rate: 2000, lasts: 2 * time.Second, warmUp: time.Second, keys: hot}
	for _, algorithm := range []string{policy.Ring, policy.Maglev, policy.Rendezvous} {
		for _, weights := range [][]int{nil, {1, 2, 3, 1, 2, 3, 1, 2, 3, 6}} {
			for _, bound := range []float64{0, 1, 1.25, 2} {
				p := boundChecker{t, policy.ConsistentHash(policy.HashConfig{Algorithm: algorithm, BoundedLoad: bound}), bound}
				r := simulate(p, alike(10, server{mean: 50 * time.Millisecond, workers: 1000}), weights, l, 1)
				if bound == 0 && r.busiest < 30 {
					t.Errorf("%s: the busiest holds %d without a bound: the load proves nothing", algorithm, r.busiest)
				}
			}
		}
	}
}

// boundChecker checks every pick of a policy against the bound.
type boundChecker struct {
	t *testing.T
	policy.Policy
	bound float64
}

type boundCheckPicker struct {
	boundChecker
	policy.Picker
	total float64
	eps   []*endpoint.Endpoint
}

func (c boundChecker) Build(members, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker {
	p := &boundCheckPicker{boundChecker: c, Picker: c.Policy.Build(members, usable, nil), eps: usable}
	for _, e := range usable {
		p.total += float64(e.Weight())
	}
	return p
}

func (p *boundCheckPicker) Pick(a *policy.Attempt) *endpoint.Endpoint {
	e := p.Picker.Pick(a)
	if p.bound > 0 {
		most := math.Ceil(p.bound * float64(a.Load+1) * float64(e.Weight()) / p.total)
		most = max(most, 4) // so few are never too many
		if got := float64(e.InFlight() + 1); got > most {
			p.t.Fatalf("bound %v: weight %d of %v gets to %v in flight of %d, want at most %v", p.bound, e.Weight(), p.total, got, a.Load+1, most)
		}
	}
	return e
}

// A user whose requests come two at a time stays at one endpoint while none is busy.
func TestBoundedLoadLeavesIdleEndpointsAlone(t *testing.T) {
	for _, algorithm := range []string{policy.Ring, policy.Maglev, policy.Rendezvous} {
		eps := three()
		p := policy.ConsistentHash(policy.HashConfig{Algorithm: algorithm, BoundedLoad: 1.25}).Build(eps, eps, nil)
		for key := range uint64(100) {
			a := policy.Attempt{Key: key + 1}
			home := p.Pick(&a)
			for i := range 4 {
				a.Load = int64(i)
				if e := p.Pick(&a); e != home {
					t.Fatalf("%s: with %d in flight the key left home", algorithm, i)
				}
				home.Begin(0)
			}
			a.Load = 4
			if e := p.Pick(&a); e == home {
				t.Fatalf("%s: the fifth is at home: nothing is bounded", algorithm)
			}
			for range 4 {
				home.End(endpoint.Outcome{})
			}
		}
	}
}

func three() (eps []*endpoint.Endpoint) {
	for _, address := range []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"} {
		eps = append(eps, endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: address}}))
	}
	return eps
}

// TestAColdEndpointIsTriedAgain: an endpoint whose first answers are slow has its share soon,
// with every policy.
func TestAColdEndpointIsTriedAgain(t *testing.T) {
	for name, p := range map[string]policy.Policy{
		"peak_ewma": policy.PeakEWMA(), "p2c": policy.P2C(), "least_connections": policy.LeastConnections(),
	} {
		for seed := range uint64(5) {
			servers := make([]server, 3)
			for i := range servers {
				servers[i] = server{mean: 5 * time.Millisecond, workers: 8}
			}
			servers[1].cold, servers[1].slow = 3, 700*time.Millisecond
			rep := simulate(p, servers, nil, load{rate: 80, lasts: 38 * time.Second, warmUp: 20 * time.Second}, seed)
			if got, all := rep.picks[1], rep.picks[0]+rep.picks[1]+rep.picks[2]; got*10 < all {
				t.Errorf("%s, seed %d: %d of %d requests, 20 s after three slow answers", name, seed, got, all)
			}
		}
	}
}
