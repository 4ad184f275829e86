package policytest

// What the suite asks of every policy under load: shares, failing endpoints, concurrency.

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// concurrent: many workers pick, begin and end while pickers are built. It says most under
// the race detector.
func (s *suite) concurrent(t *testing.T) {
	eps := Endpoints(40, uneven)
	var mu sync.Mutex // guards current, as an atomic pointer would
	current := s.policy.Build(eps, eps, nil)
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			attempts := NewAttempts(uint64(w))
			for range 500 {
				mu.Lock()
				picker := current
				mu.Unlock()
				a := attempts.Next()
				e := picker.Pick(&a)
				if e == nil {
					t.Error("nobody picked")
					return
				}
				e.Begin(a.Now)
				a.Tried.Add(e)
				if picker.Pick(&a) == e {
					t.Error("a tried endpoint picked")
				}
				e.End(endpoint.Outcome{Now: a.Now, Latency: time.Millisecond, Failed: a.Rand%8 == 0})
			}
		})
	}
	workers.Go(func() {
		r := rand.New(rand.NewPCG(7, 1))
		for range 100 {
			next := s.policy.Build(eps, eps[r.IntN(20):], current) // the only writer may read
			mu.Lock()
			current = next
			mu.Unlock()
		}
	})
	workers.Wait()
	for _, e := range eps {
		if e.InFlight() != 0 {
			t.Errorf("%v has %d in flight", e.ID(), e.InFlight())
		}
	}
}

// failingAtOnce: of some busy endpoints one answers errors at once, and so is always idle;
// it must not draw more than its share.
func (s *suite) failingAtOnce(t *testing.T) {
	const n, picks, open = 5, 20_000, 40
	eps := Endpoints(n, nil)
	picker := s.policy.Build(eps, eps, nil)
	// The share of a policy that does not look at load is what it gives to the endpoint
	// when all are well: rings are not even.
	fair := float64(picks) / n
	attempts := NewAttempts(8)
	if !s.byLoad {
		fair = 0
		for range picks {
			if a := attempts.Next(); picker.Pick(&a) == eps[0] {
				fair++
			}
		}
	}
	var queue [open]*endpoint.Endpoint // attempts in flight, the oldest next
	drawn := 0.0
	for i := range picks {
		a := attempts.Next()
		a.Now = now + time.Duration(i)*100*time.Microsecond
		a.Load = min(int64(i), open)
		e := picker.Pick(&a)
		e.Begin(a.Now)
		if e == eps[0] {
			drawn++
			e.End(endpoint.Outcome{Now: a.Now, Latency: 50 * time.Microsecond, Failed: true})
			continue
		}
		if old := queue[i%open]; old != nil {
			old.End(endpoint.Outcome{Now: a.Now, Latency: 4 * time.Millisecond})
		}
		queue[i%open] = e
	}
	if drawn > fair+share(fair)*math.Sqrt2 {
		t.Errorf("the failing one of %d drew %v of %d, its share is %.0f", n, drawn, picks, fair)
	}
}

// shareFollowsWeight counts 10^5 picks.
func (s *suite) shareFollowsWeight(t *testing.T) {
	const picks = 100_000
	for name, weights := range map[string][]int{
		"one":      {7},
		"two":      {1, 1},
		"skewed":   {1000, 1},
		"few":      {5, 1, 1},
		"primes":   {2, 3, 5, 7, 11, 13, 17, 19, 23},
		"extremes": {1, 1000, 500, 1, 250, 999, 3},
	} {
		total := 0
		for _, w := range weights {
			total += w
		}
		eps := Endpoints(len(weights), func(i int) int { return weights[i] })
		picker := s.policy.Build(eps, eps, nil)
		attempts := NewAttempts(9)
		counts := make(map[*endpoint.Endpoint]float64)
		for range picks {
			a := attempts.Next()
			a.Key = 0
			counts[picker.Pick(&a)]++
		}
		for i, e := range eps {
			want := picks * float64(weights[i]) / float64(total)
			if got := counts[e]; math.Abs(got-want) > share(want) {
				t.Errorf("%s: weight %d of %d drew %.0f of %d, want %.0f", name, weights[i], total, got, picks, want)
			}
		}
	}
}

// neverTheBusier: of two endpoints in either order, with any load and weights, not the one
// that is busier before the attempt than the other would be after it.
func (s *suite) neverTheBusier(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	for round := range 400 {
		weights := [2]int{1, 1}
		if round%2 == 1 {
			weights = [2]int{1 + r.IntN(10), 1 + r.IntN(10)}
		}
		eps := Endpoints(2, func(i int) int { return weights[i] })
		for _, e := range eps {
			for range r.IntN(12) {
				e.Begin(now)
			}
		}
		picker := s.policy.Build(eps, eps, nil)
		attempts := NewAttempts(uint64(round))
		for range 50 {
			a := attempts.Next()
			e := picker.Pick(&a)
			other := eps[0]
			if e == other {
				other = eps[1]
			}
			if (other.InFlight()+1)*e.Weight() <= e.InFlight()*other.Weight() {
				t.Fatalf("picked %d in flight of weight %d over %d of weight %d",
					e.InFlight(), e.Weight(), other.InFlight(), other.Weight())
			}
		}
	}
}

// neverTheFailing: of two idle endpoints, one that only fails gets next to nothing.
func (s *suite) neverTheFailing(t *testing.T) {
	for bad := range 2 {
		eps := Endpoints(2, nil)
		for range 100 {
			for i, e := range eps {
				e.Begin(now)
				e.End(endpoint.Outcome{Now: now, Latency: time.Millisecond, Failed: i == bad})
			}
		}
		picker := s.policy.Build(eps, eps, nil)
		attempts := NewAttempts(11)
		drawn := 0
		for range 1000 {
			if a := attempts.Next(); picker.Pick(&a) == eps[bad] {
				drawn++
			}
		}
		if drawn > 20 {
			t.Errorf("the failing one of two drew %d of 1000", drawn)
		}
		a := attempts.Next()
		a.Tried.Add(eps[1-bad])
		if picker.Pick(&a) != eps[bad] {
			t.Error("the failing one is not even the last resort")
		}
	}
}
