package concurrency

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

const ms = time.Millisecond

// TestOverload: at 150 % of what an endpoint can do it serves nearly all that it can, and what is
// let through takes about as long as ever, for minutes: the limit does not drift. Without a limit
// the queue grows until nothing is in time.
func TestOverload(t *testing.T) {
	for _, c := range []struct {
		workers int
		mean    time.Duration
	}{{4, 5 * ms}, {1, 5 * ms}, {32, 5 * ms}, {4, 100 * ms}, {200, 50 * ms}, {16, 1 * ms}} {
		capacity := float64(c.workers) / c.mean.Seconds()
		for seed := range uint64(2) {
			p := play{workers: c.workers, mean: c.mean, load: steady(1.5 * capacity), lasts: 90 * time.Second, seed: seed}
			switch { // so that chance is in the mean of enough
			case capacity > 3000:
				p.lasts = 45 * time.Second
			case capacity < 100:
				p.lasts = 300 * time.Second
			}
			seconds := p.run()
			unloaded := c.mean.Seconds() * math.Log(100)
			all := over(seconds[5:])
			goodput := float64(all.served) / capacity / float64(len(seconds)-5)
			t.Logf("%d workers of %v: goodput %.3f, p99 %.1f ms, %.2f of the unloaded one, limit %.1f", c.workers, c.mean, goodput, all.p99().Seconds()*1000, all.p99().Seconds()/unloaded, all.mean)
			least, most := 0.95, 3.0
			if c.workers == 1 { // where one more waiting is one more time of work
				least, most = 0.9, 5
			}
			if goodput < least {
				t.Errorf("%d workers of %v: %.3f of what they can do is served", c.workers, c.mean, goodput)
			}
			if all.p99().Seconds() > most*unloaded {
				t.Errorf("%d workers of %v: p99 is %v, and %.4f s without load", c.workers, c.mean, all.p99(), unloaded)
			}
			last := over(seconds[len(seconds)-10:])
			if most := 3*float64(c.workers) + 12; last.mean > most {
				t.Errorf("%d workers of %v: the limit is %.1f at the end", c.workers, c.mean, last.mean)
			}
		}
	}
}

// TestFullFromTheBeginning: an endpoint that has too much to do from its first moment has a fitting
// limit within a second or so, although its base latency has never been seen. So a new proxy that
// starts in a flood does not have to live through ten seconds of it.
func TestFullFromTheBeginning(t *testing.T) {
	const seeds = 20
	capacity := 4 / 0.020
	served, tail := 0.0, 0.0
	for seed := range uint64(seeds) {
		seconds := play{workers: 4, mean: 20 * ms, load: steady(1.5 * capacity), lasts: 10 * time.Second, seed: seed}.run()
		all := over(seconds[1:])
		served += float64(all.served) / capacity / 9 / seeds
		tail += all.p99().Seconds() / seeds
	}
	unloaded := 0.020 * math.Log(100)
	t.Logf("goodput %.3f, p99 %.0f ms, %.2f of the unloaded one", served, tail*1000, tail/unloaded)
	if served < 0.9 || tail > 2.1*unloaded {
		t.Errorf("goodput %.3f, p99 %.2f of the unloaded one", served, tail/unloaded)
	}
}

// TestWithoutALimit: the same load without one, so that TestOverload says something.
func TestWithoutALimit(t *testing.T) {
	seconds := play{workers: 4, mean: 5 * ms, load: steady(1200), lasts: 10 * time.Second, off: true}.run()
	if p99 := over(seconds[5:]).p99(); p99 < time.Second {
		t.Errorf("p99 is %v", p99)
	}
}

// TestSlowPhase: an endpoint becomes ten times as slow for 20 s. Meanwhile it still does what it can;
// afterwards it does so as before within seconds.
func TestSlowPhase(t *testing.T) {
	for _, workers := range []int{4, 100} {
		slow := func(now time.Duration) bool { return now >= 21*time.Second && now < 41*time.Second }
		capacity := float64(workers) / 0.005
		seconds := play{workers: workers, lasts: 60 * time.Second,
			load: func(now time.Duration) float64 {
				if slow(now) {
					return 0.15 * capacity
				}
				return 1.2 * capacity
			},
			work: func(r *rand.Rand, now time.Duration) time.Duration {
				work := time.Duration(r.ExpFloat64() * float64(5*ms))
				if slow(now) {
					work *= 10
				}
				return work
			}}.run()
		during, after := over(seconds[24:40]), over(seconds[43:])
		t.Logf("%d workers: during %.3f (limit %.1f), after %.3f (limit %.1f), p99 %v", workers, float64(during.served)/16/capacity*10, during.mean, float64(after.served)/17/capacity, after.mean, after.p99())
		if share := float64(during.served) / 16 / (capacity / 10); share < 0.8 {
			t.Errorf("%d workers: %.2f of what they can do is served in the slow phase", workers, share)
		}
		if share := float64(after.served) / 17 / capacity; share < 0.95 {
			t.Errorf("%d workers: %.3f of what they can do is served after the slow phase", workers, share)
		}
		if p99 := after.p99(); p99 > 70*ms {
			t.Errorf("%d workers: p99 is %v after the slow phase", workers, p99)
		}
	}
}

// TestLowLoad: with little to do nothing is refused, however times vary, and the limit does not
// shrink to where a burst would be.
func TestLowLoad(t *testing.T) {
	for name, work := range map[string]func(r *rand.Rand, now time.Duration) time.Duration{
		"exponential": nil,
		"bimodal": func(r *rand.Rand, _ time.Duration) time.Duration {
			if r.Float64() < 0.05 {
				return 50 * ms
			}
			return time.Duration(r.ExpFloat64() * float64(3*ms))
		},
		"heavy tail": func(r *rand.Rand, _ time.Duration) time.Duration {
			return time.Duration(2 * float64(ms) * math.Exp(1.3*r.NormFloat64()))
		},
	} {
		for _, load := range []float64{20, 200, 400} {
			seconds := play{workers: 4, mean: 5 * ms, work: work, load: steady(load), lasts: 60 * time.Second}.run()
			all := over(seconds[5:])
			refused := all.offered - all.served
			t.Logf("%s at %.0f/s: %d of %d refused, limit %.1f", name, load, refused, all.offered, all.mean)
			if float64(refused) > 0.01*float64(all.offered) {
				t.Errorf("%s at %.0f/s: %d of %d refused", name, load, refused, all.offered)
			}
			if all.mean < 6 {
				t.Errorf("%s at %.0f/s: the limit is %.1f", name, load, all.mean)
			}
		}
	}
}

// TestBimodalOverload: one request in twenty takes ten times as long, and the endpoint is full.
func TestBimodalOverload(t *testing.T) {
	mean := (0.95*5 + 0.05*50) / 1000
	seconds := play{workers: 4, load: steady(1.5 * 4 / mean), lasts: 90 * time.Second,
		work: func(r *rand.Rand, _ time.Duration) time.Duration {
			if r.Float64() < 0.05 {
				return 50 * ms
			}
			return 5 * ms
		}}.run()
	all := over(seconds[5:])
	goodput := float64(all.served) / 85 * mean / 4
	t.Logf("goodput %.3f, p99 %v, limit %.1f", goodput, all.p99(), all.mean)
	if goodput < 0.95 || all.p99() > 150*ms {
		t.Errorf("goodput %.3f, p99 %v", goodput, all.p99())
	}
}

// TestFair: proxies that share an endpoint, with too much to do from the first moment, have limits
// alike, and together not more than they need. Their clocks are a little apart.
func TestFair(t *testing.T) {
	for _, c := range []struct{ proxies, workers int }{{2, 4}, {3, 16}, {8, 32}} {
		capacity := float64(c.workers) / 0.005
		seconds := play{workers: c.workers, mean: 5 * ms, proxies: c.proxies, skew: 5 * ms, load: steady(1.5 * capacity), lasts: 90 * time.Second}.run()
		last := over(seconds[45:])
		goodput := float64(last.served) / 45 / capacity
		t.Logf("%d proxies, %d workers: goodput %.3f, p99 %v, limits %.1f, sum %.1f", c.proxies, c.workers, goodput, last.p99(), last.limits, last.mean)
		if goodput < 0.95 || last.p99() > 70*ms {
			t.Errorf("%d proxies: goodput %.3f, p99 %v", c.proxies, goodput, last.p99())
		}
		sum, squares := 0.0, 0.0
		for _, l := range last.limits {
			sum += l
			squares += l * l
		}
		if fairness := sum * sum / squares / float64(c.proxies); fairness < 0.85 { // Jain's index
			t.Errorf("%d proxies: limits %.1f", c.proxies, last.limits)
		}
	}
}

// TestGrows: from nothing known to a limit for a thousand at once in two seconds.
func TestGrows(t *testing.T) {
	seconds := play{workers: 800, mean: 20 * ms, load: steady(30000), lasts: 4 * time.Second}.run()
	if last := seconds[2]; last.mean < 600 {
		t.Errorf("in the third second the limit is %.0f", last.mean)
	}
}

// TestSums: what goes into the word comes out of it, also at its ends.
func TestSums(t *testing.T) {
	var s sums
	for range countMost {
		s = s.add(time.Hour, 1<<40, 10)
	}
	if s.count() != countMost || s.inFlight() != inFlightMost || s.latency() != tookMost || !s.reached() {
		t.Errorf("%d, %v, %v, %v", s.count(), s.inFlight(), s.latency(), s.reached())
	}
	s = sums(0).add(1, 0, 10).add(3*ms, 9, 10)
	if s.count() != 2 || s.inFlight() != 4.5 || s.latency() != 1500500*time.Nanosecond || s.reached() {
		t.Errorf("%d, %v, %v, %v", s.count(), s.inFlight(), s.latency(), s.reached())
	}
}

// TestBounds: no limit is out of its bounds, whatever comes.
func TestBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	l := New(Bounds{3, 30}, 0)
	now := time.Second
	for range 200_000 {
		now += time.Duration(r.ExpFloat64() * float64(20*ms))
		took := time.Duration(r.ExpFloat64() * float64(10*ms) * math.Exp(4*r.NormFloat64()))
		l.Observe(now, took, r.Int64N(60), r.IntN(10) > 0)
		if n := l.Limit(); n > 30 || n < 1 || n < 3 && !l.dips {
			t.Fatalf("the limit is %d", n)
		}
	}
	l.SetBounds(Bounds{50, 10})
	if n := l.exact; n != 50 {
		t.Errorf("with other bounds the limit is %v", n)
	}
}

// TestUnanswered: an attempt that was ended early is no sign of a fast endpoint, and one that was
// ended late is one of a slow endpoint.
func TestUnanswered(t *testing.T) {
	l := New(Bounds{1, 100}, 0)
	now := time.Second
	feed := func(took time.Duration, answered bool) {
		for range 200 {
			now += 2 * ms
			l.Observe(now, took, l.Limit(), answered)
		}
	}
	feed(10*ms, true)
	base, limit := l.Base(), l.Limit()
	feed(ms, false)
	if l.Base() != base || l.Limit() < limit {
		t.Errorf("after short ones without an answer: base %v, limit %d", l.Base(), l.Limit())
	}
	limit = l.Limit()
	for range 3 { // a dip is in between
		feed(time.Second, false)
	}
	if l.Limit() >= limit {
		t.Errorf("after long ones without an answer the limit is %d, before it was %d", l.Limit(), limit)
	}
}

// TestObserveAllocatesNothing, and may be called by any number of goroutines.
func TestObserveAllocatesNothing(t *testing.T) {
	l := New(Bounds{1, 100}, 0)
	now := time.Second
	if n := testing.AllocsPerRun(2000, func() {
		now += ms
		l.Observe(now, 5*ms, 30, true)
	}); n > 0 {
		t.Errorf("%.2f allocations", n)
	}
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 5000 {
				at := now + time.Duration(i)*ms
				l.Observe(at, 5*ms, int64(g+i%7), true)
				l.Limit()
			}
		})
	}
	group.Wait()
}
