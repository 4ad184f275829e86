package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// shared are situations of proxies that share endpoints, which report their load.
var shared = []stress{
	{name: "one proxy", rate: 4000, proxies: 1},
	{name: "two proxies", rate: 4000, proxies: 2},
	{name: "two proxies, slow", rate: 4000, proxies: 2, change: odd(func(s *station) { s.mean *= 5 })},
	{name: "two proxies, and another client of one", rate: 4000, proxies: 2, alone: 600},
	{name: "eight proxies, and another client of one", rate: 4000, proxies: 8, alone: 600},
	{name: "eight proxies, 88 % full", rate: 5600, proxies: 8},
	{name: "eight proxies, slow", rate: 4000, proxies: 8, change: odd(func(s *station) { s.mean *= 5 })},
	{name: "eight proxies, stalls in turn", rate: 4000, proxies: 8, change: each(func(i int, s *station) {
		s.stalls = phase{16 * second, second / 2, time.Duration(1+2*i) * second}
	})},
	{name: "eight proxies, one flaps", rate: 4000, proxies: 8, change: odd(func(s *station) { s.fails = phase{2 * second, second, 2 * second} })},
	{name: "eight proxies, overload", rate: 9600, proxies: 8, lasts: 3 * second},
}

// TestStressReported: where endpoints report their load, proxies that share them do better than by
// what each of them sees if somebody else loads one of them, and else hardly worse; Prequal has at
// most 0.8 times the p99 of p2c where one of the endpoints is slow or has such a load.
func TestStressReported(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and a long time under the race detector")
	}
	const seeds = 2
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "situation\tpolicy\tp50\tp99\tp99.9\tattempts\tof the odd one, in the end\t")
	row := func(s stress, name string, p policy.Policy, reports bool) *result {
		s.reports = reports
		r := s.run(p, seeds)
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.1f\t%.3f\t%.2f %%\t\n", s.name, name, r.ms(0.5), r.ms(0.99), r.ms(0.999),
			float64(r.attempts())/float64(len(r.latencies)), 100*r.share())
		return r
	}
	for _, s := range shared {
		two, alone := row(s, "p2c", policy.P2C(), false), row(s, "least_time", policy.LeastTime(), false)
		told, prequal := row(s, "least_time, reported", policy.LeastTimeReported(), true), row(s, "prequal", policy.Prequal(), true)
		if testing.Verbose() {
			row(s, "prequal, no reports", policy.Prequal(), false)
		}
		most, gain := 1.08, 1.05
		if strings.Contains(s.name, "slow") || strings.Contains(s.name, "another") {
			most = 0.8
		}
		if strings.Contains(s.name, "another") {
			gain = 0.98
		}
		if got, bound := prequal.ms(0.99), most*two.ms(0.99); got > bound {
			t.Errorf("%s: p99 of prequal is %.1f ms, want %.1f at most", s.name, got, bound)
		}
		for q, most := range map[float64]float64{0.99: gain, 0.999: gain + 0.2} {
			if told.ms(q) > most*alone.ms(q) {
				t.Errorf("%s: the quantile %v of least_time is %.1f ms with reports, %.1f without", s.name, q, told.ms(q), alone.ms(q))
			}
		}
	}
	w.Flush()
	t.Log("\n" + b.String())
}

// told makes endpoints that have answered in 5 ms, and reports what each says.
func told(now time.Duration, reports ...endpoint.Report) []*endpoint.Endpoint {
	eps := make([]*endpoint.Endpoint, len(reports))
	for i, r := range reports {
		eps[i] = newEndpoint(i, 1)
		for k := range 20 {
			at := now - time.Duration(20-k)*5*time.Millisecond
			eps[i].Begin(at)
			eps[i].Report(r, at)
			eps[i].End(endpoint.Outcome{Now: at, Latency: 5 * time.Millisecond})
		}
	}
	return eps
}

// drawn counts which of eps a policy picks while nothing changes.
func drawn(p policy.Policy, eps []*endpoint.Endpoint, now time.Duration) []int {
	picker, n := p.Build(eps, eps, nil), make([]int, len(eps))
	a := policy.Attempt{Now: now, Rand: 1}
	for range 1000 {
		a.Rand = a.Rand*6364136223846793005 + 1442695040888963407
		e := picker.Pick(&a)
		for i := range eps {
			if eps[i] == e {
				n[i]++
			}
		}
	}
	return n
}

// Requests that others have in flight count where they have more than elsewhere, for as long as the
// report is fresh; an endpoint that reports nothing counts as one with no more than the others.
func TestOthersCount(t *testing.T) {
	const now = time.Minute
	for name, p := range map[string]policy.Policy{"least_time": policy.LeastTimeReported(), "prequal": policy.Prequal()} {
		eps := told(now, endpoint.Report{InFlight: 9, Utilization: -1}, endpoint.Report{InFlight: 2, Utilization: -1}, endpoint.Report{InFlight: 9, Utilization: -1})
		if n := drawn(p, eps, now); n[1] != 1000 {
			t.Errorf("%s: %v", name, n)
		}
		if n := drawn(p, eps, now+10*time.Second); n[0] < 200 || n[2] < 200 {
			t.Errorf("%s: stale reports count: %v", name, n)
		}
		eps = told(now, endpoint.Report{InFlight: 9, Utilization: -1}, endpoint.Report{InFlight: -1, Utilization: -1}, endpoint.Report{InFlight: 2, Utilization: -1})
		if n := drawn(p, eps, now); n[0] > 0 || n[1] < 200 || n[2] < 200 {
			t.Errorf("%s: no report beside two: %v", name, n)
		}
	}
	if n := drawn(policy.LeastTime(), told(now, endpoint.Report{InFlight: 9}, endpoint.Report{InFlight: 2}), now); n[0] < 300 {
		t.Errorf("least_time counts reports unasked: %v", n)
	}
}

// An endpoint that says that it is busy gets less, and none for being a little busier.
func TestBusyCounts(t *testing.T) {
	const now = time.Minute
	busy := func(u ...float64) []*endpoint.Endpoint {
		var all []endpoint.Report
		for _, one := range u {
			all = append(all, endpoint.Report{InFlight: -1, Utilization: one})
		}
		return told(now, all...)
	}
	if n := drawn(policy.LeastTimeReported(), busy(0.5, 0.6, 0.55), now); n[0] < 250 || n[1] < 250 {
		t.Errorf("nearly as busy: %v", n)
	}
	if n := drawn(policy.LeastTimeReported(), busy(0.5, 0.99, 0.5), now); n[1] > 0 {
		t.Errorf("one is full: %v", n)
	}
	if n := drawn(policy.LeastTimeReported(), busy(9, 7, 8), now); n[0] < 250 || n[1] < 250 || n[2] < 250 {
		t.Errorf("all are full: %v", n)
	}
}
