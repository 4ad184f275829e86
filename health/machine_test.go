package health

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// A walker is a machine with a clock, for stories.
type walker struct {
	t   *testing.T
	c   Config
	m   Machine
	now time.Duration
}

func walk(t *testing.T, c Config) *walker {
	c = c.WithDefaults()
	return &walker{t: t, c: c, m: New(&c), now: time.Second}
}

// do puts the events to the machine, attempts with a spare and no strangers.
func (w *walker) do(events ...Event) *walker {
	for _, e := range events {
		w.m.Apply(&w.c, Input{Event: e, Now: w.now, Spare: true})
	}
	return w
}

func (w *walker) alone(e Event) *walker {
	w.m.Apply(&w.c, Input{Event: e, Now: w.now})
	return w
}

func (w *walker) after(d time.Duration) *walker {
	w.now += d
	return w.do(TimePassed)
}

func (w *walker) trial(want bool) *walker {
	w.t.Helper()
	if got := w.m.Trial(&w.c); got != want {
		w.t.Fatalf("Trial() = %v, want %v: %+v", got, want, w.m)
	}
	return w
}

func (w *walker) is(s State, c Cause) *walker {
	w.t.Helper()
	if w.m.State() != s || w.m.Cause() != c {
		w.t.Fatalf("is %v %v, want %v %v: %+v", w.m.State(), w.m.Cause(), s, c, w.m)
	}
	return w
}

func TestFirstVerdictDecides(t *testing.T) {
	probed := Config{Probed: true}
	walk(t, Config{}).is(Healthy, None)
	walk(t, probed).is(Probing, None).do(ProbePassed).is(Healthy, None)
	walk(t, probed).do(ProbeFailed).is(Ejected, Probes)
	walk(t, probed).do(ProbeRefused).is(Ejected, Probes)
	// Only the first: the thresholds hold afterwards.
	walk(t, probed).do(ProbePassed, ProbeFailed, ProbeFailed).is(Healthy, None).do(ProbeFailed).is(Ejected, Probes)
	walk(t, probed).do(ProbeFailed, ProbePassed).is(Ejected, Probes).do(ProbePassed).is(Healthy, None)
	walk(t, probed).do(ProbeFailed, ProbePassed, ProbeFailed, ProbePassed).is(Ejected, Probes)
}

func TestAnotherCheckStartsAnewAndNobodyMovesUntilItSpoke(t *testing.T) {
	w := walk(t, Config{Probed: true}).do(ProbePassed, CheckChanged).is(Healthy, None)
	w.do(ProbeFailed).is(Ejected, Probes)
	w.do(CheckChanged).is(Ejected, Probes).do(ProbePassed).is(Healthy, None)
	w.do(ProbeFailed, ProbeFailed, CheckChanged, ProbePassed, ProbeFailed, ProbeFailed).is(Healthy, None)
	w.do(ProbeFailed).is(Ejected, Probes).do(CheckGone).is(Healthy, None)
	walk(t, Config{Probed: true}).do(CheckGone).is(Healthy, None)
	// The breaker's ejection is not a check's business.
	w = walk(t, Config{}).do(AttemptFailed, AttemptFailed, AttemptFailed, AttemptFailed, AttemptFailed)
	w.do(CheckChanged, ProbePassed).is(Ejected, Attempts).do(CheckGone).is(Ejected, Attempts)
}

func TestConsecutiveFailuresEject(t *testing.T) {
	fail := []Event{AttemptFailed, AttemptFailed, AttemptFailed, AttemptFailed}
	w := walk(t, Config{}).do(fail...).is(Healthy, None)
	w.do(AttemptSucceeded).do(fail...).is(Healthy, None) // not in a row
	w.do(AttemptAbandoned, AttemptAbandoned).is(Healthy, None)
	w.do(AttemptFailed).is(Ejected, Attempts)
	// A rate that is not looked at does not eject, whatever it is.
	w = walk(t, Config{})
	w.m.Apply(&w.c, Input{Event: AttemptFailed, Now: w.now, Spare: true, Requests: 100, Failures: 100})
	w.is(Healthy, None)
	off := walk(t, Config{Breaker: Breaker{Off: true}})
	for range 100 {
		off.do(AttemptFailed).is(Healthy, None)
	}
}

func TestFailureRateEjects(t *testing.T) {
	c := Config{Breaker: Breaker{ConsecutiveFailures: -1, FailureRate: 30, MinRequests: 10}}
	rate := func(requests, failures int64) State {
		w := walk(t, c)
		w.m.Apply(&w.c, Input{Event: AttemptFailed, Now: w.now, Spare: true, Requests: requests, Failures: failures})
		return w.m.State()
	}
	for _, f := range []struct {
		requests, failures int64
		want               State
	}{{9, 9, Healthy}, {10, 2, Healthy}, {10, 3, Ejected}, {100, 29, Healthy}, {100, 30, Ejected}} {
		if got := rate(f.requests, f.failures); got != f.want {
			t.Errorf("%d of %d failed: %v, want %v", f.failures, f.requests, got, f.want)
		}
	}
}

func TestEjectionsInARowDouble(t *testing.T) {
	w := walk(t, Config{Breaker: Breaker{ConsecutiveFailures: 1}}).do(AttemptFailed)
	for _, open := range []time.Duration{10, 20, 40, 80, 160, 160, 160} {
		open *= time.Second
		w.after(open-1).is(Ejected, Attempts).after(1).is(HalfOpen, None)
		w.trial(true).trial(false).do(AttemptFailed).is(Ejected, Attempts)
	}
	w.after(160*time.Second).trial(true).do(AttemptSucceeded).is(Healthy, None)
	w.do(AttemptFailed).after(10*time.Second).is(HalfOpen, None)
}

func TestTrials(t *testing.T) {
	c := Config{Breaker: Breaker{ConsecutiveFailures: 1, Trials: 3}}
	w := walk(t, c).do(AttemptFailed).after(10 * time.Second)
	w.trial(true).trial(true).trial(true).trial(false)
	w.do(AttemptAbandoned).trial(true).trial(false) // a client left: another may try
	w.do(AttemptSucceeded, AttemptSucceeded).is(HalfOpen, None).do(AttemptSucceeded).is(Healthy, None)

	// The failure of an attempt from before the ejection does not count; a trial's does.
	w = walk(t, c).do(AttemptFailed).after(10 * time.Second).trial(true)
	w.m.Apply(&w.c, Input{Event: AttemptFailed, Now: w.now, Spare: true, Stranger: true})
	w.is(HalfOpen, None).do(AttemptFailed).is(Ejected, Attempts)
}

func TestTheLastOneStays(t *testing.T) {
	w := walk(t, Config{})
	for range 100 {
		w.alone(AttemptFailed).is(Healthy, None)
	}
	// As soon as another one is there, the next failure ejects.
	w.do(AttemptFailed).is(Ejected, Attempts)
	w.after(10*time.Second).trial(true).alone(AttemptFailed).is(Healthy, None)
	w.do(AttemptFailed).is(Ejected, Attempts)
	if got := w.m.Deadline() - w.now; got != 20*time.Second {
		t.Errorf("ejected for %v after being let go, want it to go on doubling", got)
	}
}

func TestPassingProbesClearTheBreaker(t *testing.T) {
	eject := []Event{AttemptFailed, AttemptFailed, AttemptFailed, AttemptFailed, AttemptFailed}
	w := walk(t, Config{Probed: true}).do(ProbePassed, ProbePassed).do(eject...).is(Ejected, Attempts)
	w.do(ProbePassed).is(Ejected, Attempts).do(ProbePassed).is(Healthy, None) // passes before do not count
	w.do(eject...)
	if got := w.m.Deadline() - w.now; got != 10*time.Second {
		t.Errorf("ejected for %v: the doubling was not cleared", got)
	}
	// Half-open too.
	w.after(10*time.Second).do(ProbePassed, ProbePassed).is(Healthy, None)
	// Failures are cleared by passes after them, not by a pass between.
	w = walk(t, Config{Probed: true}).do(ProbePassed)
	w.do(eject[:4]...).do(ProbePassed).do(AttemptFailed).is(Ejected, Attempts)
	w = walk(t, Config{Probed: true}).do(ProbePassed)
	w.do(eject[:4]...).do(ProbePassed, ProbePassed).do(AttemptFailed).is(Healthy, None)
}

func TestTheBreakersClockDoesNotOverruleProbes(t *testing.T) {
	eject := []Event{AttemptFailed, AttemptFailed, AttemptFailed, AttemptFailed, AttemptFailed}
	w := walk(t, Config{Probed: true}).do(ProbePassed).do(eject...)
	w.do(ProbeFailed, ProbeFailed, ProbeFailed).is(Ejected, Probes).after(time.Hour).is(Ejected, Probes)
	w = walk(t, Config{Probed: true}).do(ProbePassed).do(eject...)
	w.do(ProbeFailed).after(time.Hour).is(Ejected, Attempts).do(ProbePassed).after(0).is(HalfOpen, None)
	w.do(ProbeFailed, ProbeFailed, ProbeFailed).is(Ejected, Probes)
}

func TestABreakerSwitchedOffLetsGo(t *testing.T) {
	for _, wait := range []time.Duration{0, 10 * time.Second} {
		w := walk(t, Config{Breaker: Breaker{ConsecutiveFailures: 1}}).do(AttemptFailed).after(wait)
		w.c.Breaker.Off = true
		w.after(0).is(Healthy, None)
	}
	w := walk(t, Config{Probed: true}).do(ProbeFailed)
	w.c.Breaker.Off = true
	w.after(time.Hour).is(Ejected, Probes)
}

func TestRefusedLeavesNoDoubt(t *testing.T) {
	w := walk(t, Config{Probed: true}).do(ProbeFailed)
	for _, s := range []struct {
		e    Event
		want bool
	}{{ProbeRefused, false}, {ProbeFailed, true}, {ProbeRefused, false}, {ProbePassed, true}} {
		if got := w.do(s.e).m.Doubtful(); got != s.want {
			t.Errorf("after event %d: doubtful %v", s.e, got)
		}
	}
}

// at puts one input to the machine.
func (w *walker) at(in Input) *walker {
	in.Now = w.now
	w.m.Apply(&w.c, in)
	return w
}

func TestALastResortBringsBackWhatTheBreakerEjected(t *testing.T) {
	c := Config{Breaker: Breaker{ConsecutiveFailures: 1, Trials: 2}}
	w := walk(t, c).do(AttemptFailed).is(Ejected, Attempts)
	ejected := w.now
	w.now += ProofAfter
	// What began before, or just after the ejection, proves nothing.
	w.do(AttemptSucceeded).at(Input{Event: AttemptSucceeded, Began: ejected}).is(Ejected, Attempts)
	w.at(Input{Event: AttemptSucceeded, Began: w.now}).is(Ejected, Attempts)
	w.do(AttemptFailed).at(Input{Event: AttemptSucceeded, Began: w.now}).is(Ejected, Attempts) // in a row
	w.at(Input{Event: AttemptSucceeded, Began: w.now}).is(Healthy, None)
	// Failures of a last resort make nothing longer.
	w.do(AttemptFailed)
	until := w.m.Deadline()
	w.now += ProofAfter
	if w.do(AttemptFailed, AttemptFailed); w.m.Deadline() != until {
		t.Errorf("ejected until %v, was %v", w.m.Deadline(), until)
	}
	// Probes are not overruled.
	w = walk(t, Config{Probed: true}).do(ProbeFailed)
	w.now += time.Hour
	w.at(Input{Event: AttemptSucceeded, Began: w.now}).is(Ejected, Probes)
}

func TestAttemptsSayWhetherConnectionsComeAbout(t *testing.T) {
	w := walk(t, Config{Breaker: Breaker{ConsecutiveFailures: 2}})
	w.do(AttemptFailed).at(Input{Event: AttemptFailed, Spare: true, Unreached: true}).is(Ejected, Attempts)
	if w.m.Doubtful() {
		t.Error("doubtful although no connection came about")
	}
	if w.do(AttemptFailed); !w.m.Doubtful() {
		t.Error("no doubt although a connection came about")
	}
	// Silence says neither.
	w = walk(t, Config{Probed: true}).do(ProbeRefused).at(Input{Event: ProbeFailed, Silent: true})
	if w.m.Doubtful() {
		t.Error("doubtful because a probe got no answer, after one that was refused")
	}
}

func TestKept(t *testing.T) {
	w := walk(t, Config{Breaker: Breaker{ConsecutiveFailures: 2}}).alone(AttemptFailed)
	if w.m.Kept() {
		t.Error("kept after one failure of two")
	}
	if w.alone(AttemptFailed).is(Healthy, None); !w.m.Kept() || w.m.Calm() {
		t.Error("not kept, or calm")
	}
	if w.do(AttemptSucceeded); w.m.Kept() || !w.m.Calm() {
		t.Error("kept after a success, or not calm")
	}
	w.do(AttemptFailed, AttemptFailed).is(Ejected, Attempts).after(10 * time.Second).trial(true)
	if w.alone(AttemptFailed).is(Healthy, None); !w.m.Kept() {
		t.Error("not kept after a failed trial without another endpoint")
	}
}

func TestConvicted(t *testing.T) {
	w := walk(t, Config{Probed: true}).do(ProbePassed, ProbeFailed, ProbeFailed, ProbeFailed).is(Ejected, Probes)
	if w.m.Convicted() {
		t.Error("convicted although no attempt failed")
	}
	if w.do(AttemptFailed); !w.m.Convicted() {
		t.Error("not convicted although an attempt failed, too")
	}
	if w.at(Input{Event: AttemptSucceeded, Began: w.now}); w.m.Convicted() {
		t.Error("convicted although the latest attempt succeeded")
	}
	w = walk(t, Config{Probed: true}).do(ProbePassed, AttemptFailed, ProbeFailed, ProbeFailed, ProbeFailed)
	if !w.m.Convicted() {
		t.Error("not convicted although the latest attempt before its ejection failed")
	}
}

func TestLacking(t *testing.T) {
	w := walk(t, Config{Probed: true, HealthyAfter: 4})
	lacks := func(want int) {
		t.Helper()
		if got := w.m.Lacking(&w.c); got != want {
			t.Errorf("lacks %d passes, want %d: %+v", got, want, w.m)
		}
	}
	lacks(1)
	w.do(ProbeFailed)
	lacks(4)
	w.do(ProbePassed, ProbePassed, ProbePassed)
	lacks(1)
	w.do(ProbeFailed)
	lacks(4)
	w.do(CheckChanged)
	lacks(1)
	// With the check gone there is no first verdict to wait for; a later one starts anew.
	w.do(CheckGone, ProbeFailed).is(Healthy, None)
}

func TestResumedForgetsTrials(t *testing.T) {
	w := walk(t, Config{Breaker: Breaker{ConsecutiveFailures: 1}}).do(AttemptFailed).after(10 * time.Second)
	w.trial(true)
	m := w.m.Resumed()
	if m.State() != HalfOpen || m.Free(&w.c) != 1 || w.m.Free(&w.c) != 0 {
		t.Fatalf("resumed as %+v", m)
	}
}

// TestWindowCountsTheLastSpan compares the window with a list of everything that happened.
func TestWindowCountsTheLastSpan(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		var w Window
		type event struct {
			second time.Duration
			failed bool
		}
		var all []event
		now := time.Duration(1)
		for i := range 2000 {
			switch r.IntN(40) {
			case 0:
				now += time.Duration(r.Int64N(int64(time.Second)))
			case 1:
				now += time.Duration(r.Int64N(int64(30 * time.Second)))
			case 2:
				if r.IntN(20) == 0 {
					w.Reset()
					all = nil
				}
			}
			failed := r.IntN(3) == 0
			all = append(all, event{now / time.Second, failed})
			if failed {
				w.Failure(now)
			} else {
				w.Success(now)
			}
			var requests, failures int64
			for _, e := range all {
				if now/time.Second-e.second < Span/time.Second {
					requests++
					if e.failed {
						failures++
					}
				}
			}
			if r, f := w.Sums(now); r != requests || f != failures {
				t.Fatalf("seed %d, step %d: %d of %d, want %d of %d", seed, i, f, r, failures, requests)
			}
		}
	}
}

func TestWindowLosesNothingUnderContention(t *testing.T) {
	const workers, each = 4, 4000
	var w Window
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range each {
				at := time.Duration(i) * 8 * time.Second / each // within one span
				if i%4 == 0 {
					w.Failure(at)
				} else {
					w.Success(at)
				}
			}
		})
	}
	all.Wait()
	// Everything happened within one span: a slot is never taken for another second.
	if r, f := w.Sums(8 * time.Second); r != workers*each || f != workers*each/4 {
		t.Errorf("%d of %d, want %d of %d", f, r, workers*each/4, workers*each)
	}
}

func TestNothingAllocates(t *testing.T) {
	c := Config{Probed: true}.WithDefaults()
	m := New(&c)
	var w Window
	if n := testing.AllocsPerRun(100, func() {
		for e := range Event(events) {
			m.Apply(&c, Input{Event: e, Now: time.Second})
		}
		w.Success(time.Second)
		w.Failure(time.Second)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWindowSuccess(b *testing.B) {
	var w Window
	for i := range b.N {
		w.Success(time.Duration(i))
	}
}

func BenchmarkFailureAndSuccess(b *testing.B) {
	c := Config{}.WithDefaults()
	m := New(&c)
	for range b.N {
		m.Apply(&c, Input{Event: AttemptFailed, Now: time.Second, Spare: true})
		m.Apply(&c, Input{Event: AttemptSucceeded, Now: time.Second, Spare: true})
	}
}
