package policy

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// naiveCost is the cost by its definition, among eps.
func naiveCost(e *endpoint.Endpoint, eps []*endpoint.Endpoint, now time.Duration) float64 {
	sum, n, weights := 0.0, 0.0, 0.0
	for _, x := range eps {
		weights += float64(x.Weight())
		if l := x.Typical(); l != endpoint.Unknown {
			sum += float64(l)
			n++
		}
	}
	penalty := 0.0
	if n > 0 {
		above := (float64(e.Expected(now))-sum/n)/float64(endpoint.Octave) - 0.58
		penalty = min(max(2*above, 0), 4)
	}
	penalty += 16 * float64(e.Failing(now))
	return math.Exp2(penalty) * (1 + float64(e.InFlight())*weights/float64(len(eps))/float64(e.Weight()))
}

// TestLeastTimeOracle: no endpoint that was not tried would, after taking the attempt, cost less
// than the one that was picked does before. (A power of two by straight lines is off by 6 %.)
func TestLeastTimeOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(20, 1))
	for round := range 3000 {
		eps := testEndpoints(randomWeights(r, 2+r.IntN(lookMost-1), 1+round%3*4))
		now := time.Minute
		for _, e := range eps {
			for range r.IntN(20) {
				now += 3 * time.Millisecond
				e.Begin(now)
				e.End(endpoint.Outcome{Now: now, Latency: time.Duration(1+r.IntN(50)) * time.Millisecond, Failed: r.IntN(30) == 0})
			}
			for range r.IntN(8) {
				e.Begin(now)
			}
		}
		now += time.Duration(r.IntN(30)) * time.Millisecond
		p := LeastTime().Build(eps, eps, nil)
		a := Attempt{Rand: r.Uint64(), Now: now}
		got := p.Pick(&a)
		if rested(got, now) {
			continue // it may have been picked to be measured
		}
		cost := naiveCost(got, eps, now)
		for _, e := range eps {
			before := naiveCost(e, eps, now)
			one := float64(p.(*leastTimePicker).mean) / float64(e.Weight()) // load of one attempt
			step := before / (1 + float64(e.InFlight())*one) * one
			if e != got && (before+step)*1.15 < cost {
				t.Fatalf("round %d: picked cost %.2f, another one has %.2f and would have %.2f", round, cost, before, before+step)
			}
		}
	}
}

// TestFewIsBest: of three endpoints that weigh the same few picks the one that best does, whatever is
// known of them.
func TestFewIsBest(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 1))
	short := 0 // ways by which none had a penalty
	for round := range 20_000 {
		eps := testEndpoints([]int{3, 3, 3})
		now := time.Minute
		for _, e := range eps {
			for range round%8 + r.IntN(12) {
				now += 3 * time.Millisecond
				e.Begin(now)
				e.End(endpoint.Outcome{Now: now, Latency: time.Duration(4+r.IntN(1+round%30)) * time.Millisecond, Failed: r.IntN(500) == 0})
			}
			for range r.IntN(5) {
				e.Begin(now)
			}
		}
		now += time.Duration(r.IntN(9)) * time.Millisecond
		a, b, c := eps[0], eps[1], eps[r.IntN(3)] // draws may meet
		p := newLeastTime(eps)
		got, want := p.few(a, b, c, now), p.best([]*endpoint.Endpoint{a, b, c}, now)
		if got != want {
			t.Fatalf("round %d: few picks %v with %d in flight, best %v with %d", round, got.ID(), got.InFlight(), want.ID(), want.InFlight())
		}
		par := endpoint.ParOf(parOfFew(a, b, c), now)
		if par.Level != parOf([]*endpoint.Endpoint{a, b, c}) {
			t.Fatalf("round %d: par %v", round, par.Level)
		}
		if a.Within(&par) && b.Within(&par) && c.Within(&par) {
			short++
		}
	}
	if short < 1000 || short > 18_000 {
		t.Errorf("in %d of 20000 rounds none had a penalty", short)
	}
}

// TestColdGetsItsShareOneByOne: requests that come one at a time reach an endpoint that was never
// measured as often as others, and while its first answer is not there it gets no second one.
func TestColdGetsItsShareOneByOne(t *testing.T) {
	eps := testEndpoints([]int{1, 1, 1, 1})
	now := time.Minute
	for _, e := range eps[1:] {
		for range 20 {
			now += 5 * time.Millisecond
			e.Begin(now)
			e.End(endpoint.Outcome{Now: now, Latency: 5 * time.Millisecond})
		}
	}
	p := LeastTime().Build(eps, eps, nil)
	r := rand.New(rand.NewPCG(21, 1))
	n := 0
	for range 1000 {
		if p.Pick(&Attempt{Rand: r.Uint64(), Now: now}) == eps[0] {
			n++
		}
	}
	if n < 180 || n > 320 {
		t.Errorf("the new one of four drew %d of 1000", n)
	}
	eps[0].Begin(now)
	for _, e := range eps[1:] {
		e.Begin(now)
		e.Begin(now)
	}
	now += time.Millisecond
	for range 1000 {
		if p.Pick(&Attempt{Rand: r.Uint64(), Now: now}) == eps[0] {
			t.Fatal("a second attempt at an endpoint whose first answer is not there")
		}
	}
}
