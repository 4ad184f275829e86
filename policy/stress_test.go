package policy_test

// Policies under stress: the ten situations in which one can be wrong, as a simulation under
// virtual time. Eight endpoints with four workers each, queues first come first served,
// exponential service times of 5 ms, Poisson arrivals that do not wait for answers (an open
// loop), about two thirds full. A failed attempt is made again at another endpoint, twice
// at most, and its time counts from the first one. TestStress -v prints the table.

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

const (
	stations     = 8
	oddStation   = 3 // the one that is slow, stalls, fails, …
	stressStarts = time.Second
)

// A phase comes back: from the instant from on, for a time, once in every so often. The zero
// value never comes.
type phase struct{ every, lasts, from time.Duration }

func (p phase) has(now time.Duration) bool {
	return p.every > 0 && now >= p.from && (now-p.from)%p.every < p.lasts
}

// A station is an endpoint as a queue.
type station struct {
	mean    time.Duration // of an exponential service time
	workers int
	stalls  phase         // nothing moves
	fails   phase         // errors at once
	joins   time.Duration // becomes an endpoint then
	cold    int           // so many services to begin with take ten times as long
	long    float64       // this share of services takes 50 ms

	open int             // attempts under way, of all proxies
	free []time.Duration // when each worker will be, on the clock that stands still in stalls
}

// moving is how long the station has not been stalled until now.
func (s *station) moving(now time.Duration) time.Duration {
	p := s.stalls
	if p.every == 0 || now < p.from {
		return now
	}
	rounds, rest := (now-p.from)/p.every, (now-p.from)%p.every
	return p.from + rounds*(p.every-p.lasts) + max(rest-p.lasts, 0)
}

// instant is the inverse of moving.
func (s *station) instant(moved time.Duration) time.Duration {
	p := s.stalls
	if p.every == 0 || moved <= p.from {
		return moved
	}
	rounds, rest := (moved-p.from)/(p.every-p.lasts), (moved-p.from)%(p.every-p.lasts)
	return p.from + rounds*p.every + p.lasts + rest
}

// take returns when an attempt that arrives now ends, and how.
func (s *station) take(now time.Duration, r *rand.Rand) (at time.Duration, failed bool) {
	if s.fails.has(now) {
		return now + 100*time.Microsecond, true
	}
	if s.free == nil {
		s.free = make([]time.Duration, s.workers)
	}
	next := 0
	for i, at := range s.free {
		if at < s.free[next] {
			next = i
		}
	}
	work := time.Duration(r.ExpFloat64() * float64(s.mean))
	if s.long > 0 && r.Float64() < s.long {
		work = 50 * time.Millisecond
	}
	if s.cold > 0 {
		s.cold--
		work *= 10
	}
	s.free[next] = max(s.free[next], s.moving(now)) + work
	return s.instant(s.free[next]), false
}

// A stress is one situation.
type stress struct {
	name    string
	rate    float64       // per second
	proxies int           // that share the endpoints; 0: 1
	reports bool          // endpoints say in each answer what they have in flight
	alone   float64       // per second, that somebody else sends to the odd one, through no proxy
	from    time.Duration // latencies of requests count that arrive from then on; 0: after a second
	lasts   time.Duration // 0: 12 s
	change  func(s []station)
}

// A trip is a request on its way: its latest attempt.
type trip struct {
	ends, arrived, began time.Duration
	proxy, station       int
	failed               bool
	attempt              policy.Attempt
}

// noProxy is the proxy of a trip that goes through none.
const noProxy = -1

// trips is a heap by the end.
type trips []trip

func (t trips) Len() int           { return len(t) }
func (t trips) Less(i, j int) bool { return t[i].ends < t[j].ends }
func (t trips) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *trips) Push(x any)        { *t = append(*t, x.(trip)) }
func (t *trips) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	*t = (*t)[:last]
	return x
}

// A side is what one proxy sees.
type side struct {
	eps    []*endpoint.Endpoint
	picker policy.Picker
	seq    uint64
}

// A world is a stress with a policy under way.
type world struct {
	stress
	policy   policy.Policy
	rand     *rand.Rand
	stations []station
	sides    []side
	stranger time.Duration // when the next request comes that is sent through no proxy
	open     trips
	result
}

// A result is what came of it, without the first second.
type result struct {
	latencies []time.Duration
	picks     [stations]int
	late      [stations]int // picks in the last quarter
	errors    int
}

func (r *result) add(o result) {
	r.latencies = append(r.latencies, o.latencies...)
	r.errors += o.errors
	for i := range r.picks {
		r.picks[i] += o.picks[i]
		r.late[i] += o.late[i]
	}
}

func (r *result) attempts() (n int) {
	for _, k := range r.picks {
		n += k
	}
	return n
}

// share is that of the odd one in the last quarter.
func (r *result) share() float64 {
	sum := 0
	for _, k := range r.late {
		sum += k
	}
	return float64(r.late[oddStation]) / float64(sum)
}

// ms is a quantile of the latencies, which are sorted, in milliseconds.
func (r *result) ms(q float64) float64 {
	return r.latencies[min(int(q*float64(len(r.latencies))), len(r.latencies)-1)].Seconds() * 1000
}

// run plays s with a policy over several seeds.
func (s stress) run(p policy.Policy, seeds uint64) *result {
	var all result
	if s.lasts == 0 {
		s.lasts = 12 * time.Second
	}
	for seed := range seeds {
		w := &world{stress: s, policy: p, rand: rand.New(rand.NewPCG(seed, 1)), stations: make([]station, stations)}
		for i := range w.stations {
			w.stations[i] = station{mean: 5 * time.Millisecond, workers: 4}
		}
		if s.change != nil {
			s.change(w.stations)
		}
		w.play()
		all.add(w.result)
	}
	slices.Sort(all.latencies)
	return &all
}

func (w *world) play() {
	joins := time.Duration(0)
	for _, s := range w.stations {
		joins = max(joins, s.joins)
	}
	for range max(w.proxies, 1) {
		x := side{seq: w.rand.Uint64()}
		for i := range w.stations {
			x.eps = append(x.eps, newEndpoint(i, 1))
		}
		w.sides = append(w.sides, x)
	}
	w.build(0)
	for now := stressStarts; now < stressStarts+w.lasts; {
		now += time.Duration(w.rand.ExpFloat64() / w.rate * float64(time.Second))
		for len(w.open) > 0 && w.open[0].ends <= now {
			w.end(heap.Pop(&w.open).(trip))
		}
		if joins > 0 && now >= joins {
			w.build(now)
			joins = 0
		}
		for w.alone > 0 && w.stranger <= now {
			w.stranger += time.Duration(w.rand.ExpFloat64() / w.alone * float64(time.Second))
			ends, _ := w.stations[oddStation].take(w.stranger, w.rand)
			w.stations[oddStation].open++
			heap.Push(&w.open, trip{ends: ends, station: oddStation, proxy: noProxy})
		}
		k := w.rand.IntN(len(w.sides))
		w.sides[k].seq++
		w.send(now, trip{arrived: now, proxy: k, attempt: policy.Attempt{Seq: w.sides[k].seq}})
	}
}

func (w *world) build(now time.Duration) {
	for k := range w.sides {
		x := &w.sides[k]
		var in []*endpoint.Endpoint
		for i, e := range x.eps {
			if w.stations[i].joins <= now {
				in = append(in, e)
			}
		}
		x.picker = w.policy.Build(in, in, x.picker)
	}
}

func (w *world) send(now time.Duration, t trip) {
	x := &w.sides[t.proxy]
	t.attempt.Now, t.attempt.Rand = now, w.rand.Uint64()
	e := x.picker.Pick(&t.attempt)
	e.Begin(now)
	t.attempt.Tried.Add(e)
	t.station, t.began = slices.Index(x.eps, e), now
	t.ends, t.failed = w.stations[t.station].take(now, w.rand)
	if t.arrived >= 2*stressStarts {
		w.picks[t.station]++
	}
	if t.arrived >= stressStarts+w.lasts*3/4 {
		w.late[t.station]++
	}
	w.stations[t.station].open++
	heap.Push(&w.open, t)
}

func (w *world) end(t trip) {
	if t.proxy == noProxy {
		w.stations[t.station].open--
		return
	}
	e, s := w.sides[t.proxy].eps[t.station], &w.stations[t.station]
	if w.reports && !t.failed {
		e.Report(endpoint.Report{InFlight: int64(s.open), Utilization: min(float64(s.open)/float64(s.workers), 1)}, t.ends)
	}
	s.open--
	e.End(endpoint.Outcome{Now: t.ends, Latency: t.ends - t.began, Failed: t.failed})
	switch {
	case t.failed && t.attempt.Tried.Len() < 3:
		w.send(t.ends, t)
	case t.arrived < max(w.from, 2*stressStarts):
	case t.failed:
		w.errors++
	default:
		w.latencies = append(w.latencies, t.ends-t.arrived)
	}
}

// odd changes the odd one.
func odd(change func(s *station)) func([]station) {
	return func(s []station) { change(&s[oddStation]) }
}

// each changes all.
func each(change func(i int, s *station)) func([]station) {
	return func(s []station) {
		for i := range s {
			change(i, &s[i])
		}
	}
}

const second = time.Second

// stresses are the situations of the table.
var stresses = []stress{
	{name: "even", rate: 4000},
	{name: "slow", rate: 4000, change: odd(func(s *station) { s.mean *= 5 })},
	{name: "slow, a fifth full", rate: 1200, change: odd(func(s *station) { s.mean *= 5 })},
	{name: "stall", rate: 4000, change: odd(func(s *station) { s.stalls = phase{2 * second, second / 2, 2 * second} })},
	{name: "stalls in turn", rate: 4000, change: each(func(i int, s *station) {
		s.stalls = phase{16 * second, second / 2, time.Duration(1+2*i) * second}
	})},
	{name: "fails", rate: 4000, change: odd(func(s *station) { s.fails = phase{1000 * second, 1000 * second, 2 * second} })},
	{name: "flaps", rate: 4000, change: odd(func(s *station) { s.fails = phase{2 * second, second, 2 * second} })},
	{name: "bimodal", rate: 2800, change: each(func(_ int, s *station) { s.long = 0.05 })},
	{name: "restart", rate: 4000, change: each(func(i int, s *station) {
		s.fails = phase{100 * second, second, time.Duration(8+5*i) * second / 4}
	})},
	{name: "cold", rate: 4000, change: odd(func(s *station) { s.joins, s.cold = 3*second, 200 })},
	{name: "two proxies", rate: 4000, proxies: 2},
	{name: "two proxies, slow", rate: 4000, proxies: 2, change: odd(func(s *station) { s.mean *= 5 })},
	{name: "overload", rate: 9600, lasts: 3 * second},
}

// bounds are what least time owes in a situation, beside the least of least connections and p2c:
// its quantiles are at most so many times theirs.
var bounds = map[string]struct{ p99, p999 float64 }{
	"slow":               {0.78, 0.6},
	"slow, a fifth full": {0.78, 0.6},
	"two proxies, slow":  {0.78, 0.6},
	"stall":              {1.05, 1},
	"stalls in turn":     {1.05, 1},
	"cold":               {1.05, 1},
	"overload":           {1.1, 1.1},
}

// TestStress: in each situation least time is as good as the better one of least connections, which
// looks at all endpoints, and p2c, or better.
func TestStress(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and a long time under the race detector")
	}
	const seeds = 2
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "situation\tpolicy\tp50\tp99\tp99.9\tattempts\tof the odd one, in the end\t")
	row := func(s stress, name string, p policy.Policy) *result {
		r := s.run(p, seeds)
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.1f\t%.3f\t%.2f %%\t\n", s.name, name, r.ms(0.5), r.ms(0.99), r.ms(0.999),
			float64(r.attempts())/float64(len(r.latencies)), 100*r.share())
		if r.errors > 0 {
			t.Errorf("%s, %s: %d errors where seven endpoints could have served", s.name, name, r.errors)
		}
		return r
	}
	var even float64
	for _, s := range stresses {
		all, two := row(s, "least of all", trueLeast{}), row(s, "p2c", policy.P2C())
		if testing.Verbose() {
			row(s, "peak_ewma", policy.PeakEWMA())
		}
		got := row(s, "least_time", policy.LeastTime())
		bound := bounds[s.name]
		if bound.p99 == 0 {
			bound.p99, bound.p999 = 1.05, 1.05
		}
		for q, most := range map[float64]float64{0.99: bound.p99, 0.999: bound.p999} {
			if best := min(all.ms(q), two.ms(q)); got.ms(q) > most*best {
				t.Errorf("%s: the quantile %v is %.1f ms, want %.2f times %.1f ms at most", s.name, q, got.ms(q), most, best)
			}
		}
		switch s.name {
		case "even":
			even = got.ms(0.999)
		case "stall", "stalls in turn", "cold":
			if got.ms(0.999) > 1.25*even {
				t.Errorf("%s: p99.9 is %.1f ms, and %.1f when all is well", s.name, got.ms(0.999), even)
			}
		case "fails", "flaps", "restart":
			if n := len(got.latencies); got.attempts() > n+n/100 {
				t.Errorf("%s: %d attempts for %d requests", s.name, got.attempts(), n)
			}
		}
	}
	w.Flush()
	t.Log("\n" + b.String())
}

// TestNotBanished: what was slow, failed or stalled for a time, and a new endpoint whose first
// answers were slow, have a share again when that is over.
func TestNotBanished(t *testing.T) {
	for name, change := range map[string]func(s *station){
		"cold":   func(s *station) { s.joins, s.cold = 3*second, 100 },
		"failed": func(s *station) { s.fails = phase{1000 * second, 3 * second, 2 * second} },
		"stalls": func(s *station) { s.stalls = phase{1000 * second, 2 * second, 2 * second} },
	} {
		s := stress{rate: 2000, lasts: 60 * second, change: odd(change)}
		if r := s.run(policy.LeastTime(), 1); r.share() < 0.1 || r.share() > 0.15 {
			t.Errorf("%s: the odd one has a share of %.3f in the end, want about an eighth", name, r.share())
		}
	}
}
