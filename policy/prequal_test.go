package policy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// naiveLoad is what counts of an endpoint as in flight per weight, and what one attempt adds to it.
func naiveLoad(e *endpoint.Endpoint, eps []*endpoint.Endpoint, now time.Duration) (load, step float64) {
	var others, reporting, weights float64
	for _, x := range eps {
		weights += float64(x.Weight())
		if n, ok := x.Others(now); ok {
			others += float64(n)
			reporting++
		}
	}
	load = float64(e.InFlight())
	if n, ok := e.Others(now); ok {
		load += max(float64(n)-others/reporting-1, 0)
	}
	step = weights / float64(len(eps)) / float64(e.Weight())
	return load * step, step
}

// TestPrequalOracle: of endpoints that have all answered and do not fail, one is picked that is no
// hotter than all but a sixth of them, is about as fast as the fastest of those, and could not be
// exchanged for another such one that would be less loaded even with the attempt.
func TestPrequalOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(30, 1))
	for round := range 3000 {
		eps := testEndpoints(randomWeights(r, 2+r.IntN(lookMost-1), 1+round%3*4))
		now := time.Minute
		for _, e := range eps {
			mean := 1 + r.IntN(60)
			for range 12 {
				now += 3 * time.Millisecond
				e.Begin(now)
				e.End(endpoint.Outcome{Now: now, Latency: time.Duration(mean+r.IntN(5)) * time.Millisecond})
			}
		}
		for _, e := range eps {
			for range r.IntN(8) {
				e.Begin(now)
			}
			if r.IntN(3) > 0 {
				e.Report(endpoint.Report{InFlight: int64(r.IntN(40)), Utilization: r.Float64()}, now)
			}
		}
		a := Attempt{Rand: r.Uint64(), Now: now + time.Millisecond}
		got := Prequal().Build(eps, eps, nil).Pick(&a)
		if rested(got, a.Now) {
			continue // it may have been picked to be measured
		}
		var loads []float64
		for _, e := range eps {
			load, _ := naiveLoad(e, eps, a.Now)
			loads = append(loads, load)
		}
		sorted := slices.Sorted(slices.Values(loads))
		limit := sorted[len(eps)-1-max(1, len(eps)*5/32)] + 1e-3
		lowest := endpoint.Unanswered
		for i, e := range eps {
			if loads[i] <= limit {
				lowest = min(lowest, e.Expected(a.Now))
			}
		}
		mine, _ := naiveLoad(got, eps, a.Now)
		if mine > limit {
			t.Fatalf("round %d: picked a load of %.2f, above %.2f", round, mine, limit)
		}
		bar := lowest + endpoint.Octave*6/10
		if l := got.Expected(a.Now); l > bar {
			t.Fatalf("round %d: picked %v, the fastest one takes %v", round, l.Duration(), lowest.Duration())
		}
		for i, e := range eps {
			_, step := naiveLoad(e, eps, a.Now)
			if loads[i] <= limit-2e-3 && e.Expected(a.Now) < lowest+endpoint.Octave*56/100 && loads[i]+step < mine-1e-3 {
				t.Fatalf("round %d: picked a load of %.2f, another one that is as fast would have %.2f", round, mine, loads[i]+step)
			}
		}
	}
}

// Errors attract no requests, whether or not anything is known of the others.
func TestPrequalAvoidsWhatFails(t *testing.T) {
	for _, known := range []bool{true, false} {
		eps := testEndpoints(make([]int, 8))
		now := time.Minute
		for i, e := range eps {
			for range 20 {
				now += 3 * time.Millisecond
				e.Begin(now)
				if failed := i%2 == 0; failed || known {
					e.End(endpoint.Outcome{Now: now, Latency: time.Duration(1+i%2*20) * time.Millisecond, Failed: failed})
				} else {
					e.End(endpoint.Outcome{Now: now}) // nothing learned
				}
			}
		}
		p := Prequal().Build(eps, eps, nil)
		r := rand.New(rand.NewPCG(31, 1))
		for range 1000 {
			if e := p.Pick(&Attempt{Rand: r.Uint64(), Now: now}); slices.Index(eps, e)%2 == 0 {
				t.Fatalf("known %v: picked one that fails", known)
			}
		}
	}
}
