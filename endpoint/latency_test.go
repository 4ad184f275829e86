package endpoint

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestDecay(t *testing.T) {
	last := float32(2)
	for d := time.Duration(0); d <= 2*forgetTime; d += decayTime / 100 {
		k := decay(int64(d))
		if k > last || k < 0 || k > 1 {
			t.Fatalf("decay(%v) = %v after %v", d, k, last)
		}
		last = k
		if want := math.Exp(-d.Seconds() / decayTime.Seconds()); math.Abs(float64(k)-want) > 0.04 {
			t.Errorf("decay(%v) = %v, want about %v", d, k, want)
		}
	}
	if decay(0) != 1 || decay(int64(forgetTime)) != 0 || decay(math.MaxInt64) != 0 {
		t.Errorf("ends: %v, %v, %v", decay(0), decay(int64(forgetTime)), decay(math.MaxInt64))
	}
}

// answer lets one attempt end; failing or not.
func answer(e *Endpoint, now, latency time.Duration, failed bool) {
	e.Begin(now)
	e.End(Outcome{Now: now, Latency: latency, Failed: failed})
}

func TestLatencyFollows(t *testing.T) {
	const ms = time.Millisecond
	about := func(got, want time.Duration) bool { return math.Abs(float64(got-want)) < 0.05*float64(want) }
	e := newTest("a")
	now := time.Second
	if e.Latency(now) != 0 {
		t.Fatal("measured before the first answer")
	}
	answer(e, now, 5*ms, false)
	if got := e.Latency(now); !about(got, 5*ms) {
		t.Fatalf("after 5ms: %v", got)
	}
	answer(e, now, 100*ms, false)
	if got := e.Latency(now); !about(got, 100*ms) {
		t.Fatalf("a peak counts at once: %v", got)
	}
	for range 60_000 { // for a minute, at a rate at which samples are thinned out
		now += ms
		answer(e, now, 5*ms, false)
	}
	if got := e.Latency(now); !about(got, 5*ms) {
		t.Fatalf("a minute after the peak: %v", got)
	}
	idle := e.Latency(now + decayTime)
	if idle > 2*ms || idle < ms {
		t.Fatalf("10 s idle: %v", idle)
	}
	if got := e.Latency(now + forgetTime); got != 0 {
		t.Fatalf("forgotten: %v", got)
	}
}

// TestAColdStartIsForgottenSoon: an endpoint that is asked now and then only, because its
// first answers were slow, is known to be fast after a few answers.
func TestAColdStartIsForgottenSoon(t *testing.T) {
	e := newTest("a")
	now := time.Second
	answer(e, now, time.Second, false)
	if e.Resting(now+restAfter) || !e.Resting(now+restAfter+1) {
		t.Error("resting is not after a second without an answer")
	}
	for range 8 {
		now += time.Second
		answer(e, now, 5*time.Millisecond, false)
	}
	if got := e.Latency(now); got > 10*time.Millisecond {
		t.Errorf("after eight fast answers: %v", got)
	}
}

// TestNothingLearned: an attempt without response that failed by no fault of the endpoint is counted
// and otherwise leaves no trace.
func TestNothingLearned(t *testing.T) {
	e := newTest("a")
	answer(e, time.Second, time.Millisecond, false)
	answer(e, time.Second, time.Millisecond, true)
	for _, now := range []time.Duration{2 * time.Second, 5 * time.Second, 50 * time.Second} {
		ns, failing := e.Estimate(now)
		answer(e, now, 0, false)
		if gotNs, gotFailing := e.Estimate(now); gotNs != ns || gotFailing != failing {
			t.Errorf("at %v: %v, %v became %v, %v", now, ns, failing, gotNs, gotFailing)
		}
	}
	if s := e.Stats(time.Minute); s.Attempts != 5 || s.Failures != 1 {
		t.Errorf("counted %d attempts, %d failures", s.Attempts, s.Failures)
	}
}

// TestFailureAttractsNobody: failures may raise the latency, never lower it.
func TestFailureAttractsNobody(t *testing.T) {
	e := newTest("a")
	now := time.Second
	answer(e, now, 10*time.Millisecond, false)
	for range 10_000 {
		now += 10 * time.Millisecond
		before := e.Latency(now)
		answer(e, now, 10*time.Microsecond, true)
		if got := e.Latency(now); got < before {
			t.Fatalf("a fast failure brought the latency from %v to %v", before, got)
		}
	}
	if got := e.Latency(now); got < 9*time.Millisecond {
		t.Errorf("after 100 s of failures: %v", got)
	}
	if got := e.Failing(now); got < 0.95 {
		t.Errorf("failing by %v, want nearly 1", got)
	}
	answer(e, now, time.Second, true)
	if got := e.Latency(now); got < 999*time.Millisecond {
		t.Errorf("a slow failure is slow, too: %v", got)
	}
}

func TestForgive(t *testing.T) {
	e, now := newTest("a"), time.Hour
	e.End(Outcome{Now: now, Latency: time.Millisecond})
	e.End(Outcome{Now: now, Failed: true})
	if e.Faultless() || !e.Failed() {
		t.Fatal("a failure left nothing")
	}
	latency := e.Latency(now + time.Second)
	if e.Forgive(); !e.Faultless() || e.Failed() || e.Failing(now) != 0 {
		t.Errorf("forgiven, and failing by %v, failed %v", e.Failing(now), e.Failed())
	}
	if got := e.Latency(now + time.Second); got != latency {
		t.Errorf("its latency is %v, was %v", got, latency)
	}
}

func TestFailingFollows(t *testing.T) {
	e := newTest("a")
	now := time.Second
	if !e.Faultless() {
		t.Fatal("faulty before the first attempt")
	}
	last := float32(0)
	for range 20 {
		answer(e, now, 0, true) // refused: no response at all
		if got := e.Failing(now); got <= last || got > 1 || e.Faultless() {
			t.Fatalf("one more failure: from %v to %v, faultless %v", last, got, e.Faultless())
		}
		last = e.Failing(now)
	}
	if last < 0.9 {
		t.Errorf("failing by %v after 20 failures", last)
	}
	if got := e.Latency(now); got != 0 {
		t.Errorf("no response, and yet a latency: %v", got)
	}
	if got := e.Failing(now + decayTime); got > last/2 || got == 0 {
		t.Errorf("10 s idle: %v", got)
	}
	for n := 0; !e.Faultless(); n++ {
		if n > 60 {
			t.Fatalf("failing by %v after %d answers", e.Failing(now), n)
		}
		answer(e, now, time.Millisecond, false)
	}
}

// TestAgainstOracle follows the definition in float64 and without thinning out.
func TestAgainstOracle(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := newTest("a")
		now := time.Second
		var ns, failing float64
		for step := range 2000 {
			gap := time.Duration(r.ExpFloat64() * float64(200*time.Millisecond))
			if gap < sampleEvery {
				gap = sampleEvery
			}
			now += gap
			k := math.Pow(max(1-gap.Seconds()/forgetTime.Seconds(), 0), 8)
			l := time.Duration(r.ExpFloat64() * float64(5*time.Millisecond))
			failed := r.IntN(20) == 0
			if failed && r.IntN(2) == 0 {
				l = 0
			}
			switch x := float64(l); {
			case failed:
				ns = max(ns, x)
			case x > ns:
				ns = x
			case gap > freshFor:
				ns = ns*min(k, 0.5) + x*(1-min(k, 0.5))
			default:
				ns = ns*k + x*(1-k)
			}
			failing *= k
			if failed {
				failing += (1 - failing) / 8
			} else if failing -= failing / 8; failing < failFloor {
				failing = 0
			}
			answer(e, now, l, failed)
			gotNs, gotFailing := e.Estimate(now)
			if math.Abs(float64(gotNs)-ns) > 1e-3*ns+1 || math.Abs(float64(gotFailing)-failing) > 2e-3 {
				t.Fatalf("seed %d step %d: %v, %v; want %v, %v", seed, step, gotNs, gotFailing, ns, failing)
			}
		}
	}
}

// FuzzEstimate ends attempts with any outcomes: the estimate stays a sane number between
// the extremes it was given.
func FuzzEstimate(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{1, 2, 255, 4, 128, 128, 128, 7})
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		e := newTest("a")
		now, longest := time.Second, time.Duration(0)
		for ; len(script) >= 3; script = script[3:] {
			now += time.Duration(1) << (script[0] % 50) >> 8
			l := time.Duration(1)<<(script[1]%48) - 1
			longest = max(longest, l)
			e.Begin(now)
			e.End(Outcome{Now: now, Latency: l, Failed: script[2]&1 != 0})
			ns, failing := e.Estimate(now)
			if !(ns >= 0 && float64(ns) <= float64(longest)*1.0001+1) || !(failing >= 0 && failing <= 1) {
				t.Fatalf("latency %v (longest %v), failing %v", ns, longest, failing)
			}
			if e.InFlight() != 0 {
				t.Fatalf("%d in flight", e.InFlight())
			}
		}
	})
}
