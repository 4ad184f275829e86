package service

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/policy"
)

const (
	a = "10.0.0.1:80"
	b = "10.0.0.2:80"
	c = "10.0.0.3:80"
)

var everySecond = &Check{Interval: time.Second, Timeout: 500 * time.Millisecond}

func TestAStaticServiceIsReadyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, Settings{}) // without a keeper
		st.pick("")
		if st.Settled() {
			t.Error("settled before a set was named")
		}
		st.Update(specs(b, a, b))
		e := st.pick(a)
		st.pick(b, e)
		if !st.Settled() || !st.AwaitReady(st.rt, st.rt.Now()) {
			t.Error("not settled")
		}
		if got := Of(e).Attached; got != "pool of "+a {
			t.Errorf("attached: %v", got)
		}
		if n := len(st.Snapshot()); n != 2 {
			t.Errorf("%d endpoints from 2 IDs", n)
		}
	})
}

// When probes eject the last endpoints in a row, a pick always finds one: panic mode
// does not wait for the next build's time.
func TestPanicModeLeavesNoGap(t *testing.T) {
	onStage(t, Settings{Check: &Check{Interval: 200 * time.Millisecond}}, func(st *stage) {
		all := addresses(4)
		st.Update(specs(all...))
		st.AwaitReady(st.rt, 0)
		st.plant.set(errIll, all...)
		for end := st.rt.Now() + 3*time.Second; st.rt.Now() < end; time.Sleep(time.Millisecond) {
			if e := st.Pick(&policy.Attempt{Rand: 2}); e == nil {
				t.Fatalf("nobody is picked, %d of 4 healthy, panic mode %v", st.healthyNow(), st.Panic())
			}
		}
		if !st.Panic() {
			t.Error("no panic mode, so this shows nothing")
		}
	})
}

func (st *stage) healthyNow() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.tally.healthy
}

func TestFirstVerdictBeforeFirstTraffic(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.plant.set(errHole, a) // delays no other
		st.plant.set(errIll, b)
		began := st.rt.Now()
		st.Update(specs(a, b, c))
		if st.AwaitReady(st.rt, began+100*time.Millisecond) {
			t.Error("ready while a has no verdict")
		}
		st.is(a, "probing")
		st.is(b, "ejected by probes")
		st.is(c, "healthy")
		st.pick(c)
		if !st.AwaitReady(st.rt, began+time.Second) {
			t.Error("not ready after every verdict")
		}
		if took := st.rt.Now() - began; took != 500*time.Millisecond {
			t.Errorf("ready after %v, want the timeout of the slowest probe", took)
		}
		st.is(a, "ejected by probes")
	})
}

func TestReadyMeansThatPickKnows(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.Update(specs(addresses(50)...))
		waits := make([]engine.Join, 8)
		for i := range waits {
			waits[i] = st.rt.Fork(func() {
				if !st.AwaitReady(st.rt, 0) || len(st.view.Load().usable) != 50 {
					t.Errorf("ready with %d of 50", len(st.view.Load().usable))
				}
			})
		}
		for _, w := range waits {
			w.Wait()
		}
	})
}

func TestReadyWhenThoseWithoutVerdictLeave(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.plant.set(errHole, a)
		st.Update(specs(a, b))
		synctest.Wait()
		st.renew(b)
		if by := st.rt.Now() + 200*time.Millisecond; !st.AwaitReady(st.rt, by) {
			t.Error("waits for an endpoint that was removed")
		}
	})
}

func TestProbesEjectAndBringBack(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.Update(specs(a, b))
		st.AwaitReady(st.rt, 0)
		st.plant.set(errIll, a)
		left := st.rt.Now()
		for st.states()[a] == "healthy" {
			time.Sleep(10 * time.Millisecond)
		}
		if took := st.rt.Now() - left; took < 2*time.Second || took > 3300*time.Millisecond {
			t.Errorf("left after %v, want three intervals", took)
		}
		st.pick(b)
		st.plant.set(nil, a)
		time.Sleep(2400 * time.Millisecond)
		st.is(a, "healthy")
		st.pick(a)
	})
}

// An endpoint that comes back gets its share at once: what its attempts failed by before is dealt with.
// The default policy would otherwise leave it nearly alone for seconds.
func TestAReturnIsWhole(t *testing.T) {
	onStage(t, Settings{Policy: policy.LeastTime(), Check: everySecond}, func(st *stage) {
		st.Update(specs(a, b, c))
		st.AwaitReady(st.rt, 0)
		for _, back := range []func(ea *endpoint.Endpoint){
			func(*endpoint.Endpoint) { // by its probes
				st.plant.set(errIll, a)
				time.Sleep(4 * time.Second)
				st.is(a, "ejected by probes")
				st.plant.set(nil, a)
				time.Sleep(2400 * time.Millisecond)
			},
			func(ea *endpoint.Endpoint) { // by an operator
				for range 5 {
					st.attempt(ea, true)
				}
				st.is(a, "ejected by breaker")
				st.operate(endpoint.Admit, a, 0)
				time.Sleep(2 * buildEvery)
			},
		} {
			ea := st.at(a)
			for range 4 {
				st.attempt(ea, true)
			}
			back(ea)
			st.is(a, "healthy")
			if share := st.shares(300, false)[a]; share < 0.2 {
				t.Errorf("back, it gets %.2f of the requests, want a third", share)
			}
		}
	})
}

func TestProbesKeepTheirPace(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		probesKeepTheirPace(st, func() { time.Sleep(time.Minute) })
	})
}

// Event loops start with a listener, which may be in the middle of the first probes.
func TestProbesKeepTheirPaceWhileTheyMove(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		probesKeepTheirPace(st, func() {
			for range 600 {
				time.Sleep(100 * time.Millisecond)
				st.Rehome()
			}
		})
		if n := st.rt.forks.Load(); n < 600 {
			t.Errorf("%d tasks in all: the probers did not move", n)
		}
	})
}

func probesKeepTheirPace(st *stage, aMinute func()) {
	t := st.t
	st.plant.set(errHole, b)
	began := st.rt.Now()
	st.Update(specs(a, b))
	aMinute()
	different := map[time.Duration]bool{}
	for _, address := range []string{a, b} {
		times := st.plant.times(address)
		if times[0] != began {
			t.Errorf("%s: first probe after %v", address, times[0]-began)
		}
		for i, at := range times[1:] {
			gap := at - times[i]
			if different[gap] = true; gap < 900*time.Millisecond || gap > 1100*time.Millisecond {
				t.Errorf("%s: probed again after %v", address, gap)
			}
		}
	}
	if len(different) < 50 {
		t.Errorf("%d different intervals: no jitter", len(different))
	}
}

func TestSlowProbesFollowEachOther(t *testing.T) {
	check := &Check{Interval: 100 * time.Millisecond, Timeout: time.Second}
	onStage(t, Settings{Check: check}, func(st *stage) {
		st.plant.set(errHole, a)
		st.Update(specs(a))
		time.Sleep(10500 * time.Millisecond)
		if n := len(st.plant.times(a)); n != 11 {
			t.Errorf("%d probes in 10.5 s of a second each", n)
		}
	})
}

func TestTheBreakerActsAtOnce(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b, c))
		builds := st.policy.builds.Load()
		e := st.pick(a)
		for range 4 {
			st.attempt(e, true)
		}
		st.attempt(e, false)
		for range 4 {
			st.attempt(e, true)
		}
		st.pick(a)
		st.attempt(e, true)
		if st.policy.builds.Load() != builds {
			t.Fatal("rebuilt: the test proves nothing")
		}
		st.pick(b) // no time passed, no view was built
		st.is(a, "ejected by breaker")
		time.Sleep(buildEvery)
		synctest.Wait()
		if len(st.view.Load().usable) != 2 {
			t.Error("it is still in the view")
		}
	})
}

func TestClientAbortsNeverCount(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		e := st.pick(a)
		for range 100 {
			st.Begin(e, st.rt.Now())
			st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Failed: true}, false)
		}
		st.pick(a)
		if s := e.Stats(st.rt.Now()); s.Failures != 0 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTheFailureRateEjects(t *testing.T) {
	breaker := health.Breaker{ConsecutiveFailures: -1, FailureRate: 50, MinRequests: 20}
	onStage(t, Settings{Breaker: breaker}, func(st *stage) {
		st.Update(specs(a, b))
		e := st.pick(a)
		for i := range 100 { // 4 in 10
			st.attempt(e, i%5 < 2)
		}
		st.pick(a)
		time.Sleep(11 * time.Second) // forgotten
		for i := range 19 {
			st.attempt(e, i%2 == 0)
		}
		st.pick(a)
		st.attempt(e, true)
		st.is(a, "ejected by breaker")
	})
}

func TestTheLastHealthyEndpointStays(t *testing.T) {
	onStage(t, Settings{PanicThreshold: -1}, func(st *stage) {
		st.Update(specs(a, b))
		ea := st.eject(a)
		eb := st.pick(b)
		for range 100 {
			st.attempt(eb, true)
		}
		st.pick(b, ea) // without ea it may be the turn of that one: b is kept though it fails
		// A trial that fails is not held against the last one either: b leaves.
		st.renew(a)
		st.pick("")
		time.Sleep(10 * time.Second)
		st.is(a, "half-open")
		st.pick(a)
		st.attempt(ea, true)
		st.is(a, "healthy")
		st.pick(a)
	})
}

func TestTrials(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		ea := st.eject(a)
		time.Sleep(10 * time.Second)
		st.is(a, "half-open")
		st.pick(a) // takes the only trial
		st.pick(b)
		st.Begin(ea, st.rt.Now())
		st.Settle(ea, endpoint.Outcome{Now: st.rt.Now()}, false) // the client left: given back
		st.pick(a)
		st.attempt(ea, true)
		st.is(a, "ejected by breaker")
		time.Sleep(20 * time.Second)
		st.is(a, "half-open")
		st.pick(a)
		st.attempt(ea, false)
		st.is(a, "healthy")
		st.pick(a)
		st.pick(a)
	})
}

// An endpoint hangs; attempts that began before its ejection time out long after. They
// must not eject it again and again when it has recovered.
func TestStragglersDoNotJudgeARecoveredEndpoint(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		ea := st.pick(a)
		for range 20 {
			st.Begin(ea, st.rt.Now())
		}
		late := func() { st.Settle(ea, endpoint.Outcome{Now: st.rt.Now(), Failed: true}, true) }
		for range 10 {
			late()
		}
		time.Sleep(10 * time.Second)
		st.is(a, "half-open")
		late()
		late()
		st.is(a, "half-open")
		st.pick(a)
		st.Begin(ea, st.rt.Now())
		late()
		st.is(a, "half-open")
		st.Settle(ea, endpoint.Outcome{Now: st.rt.Now()}, true)
		st.is(a, "healthy")
		for range 7 {
			st.Settle(ea, endpoint.Outcome{Now: st.rt.Now()}, true)
		}
		if n := ea.InFlight(); n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

func TestEveryEjectionEndsInItsTime(t *testing.T) {
	onStage(t, Settings{PanicThreshold: -1}, func(st *stage) {
		all := addresses(6)
		st.Update(specs(all...))
		for _, address := range all[:5] {
			st.eject(address)
			time.Sleep(time.Second)
		}
		// The first has been out for 5 s, the last for 1 s.
		time.Sleep(5*time.Second - time.Millisecond)
		for _, address := range all[:5] {
			st.is(address, "ejected by breaker")
			time.Sleep(time.Millisecond)
			st.is(address, "half-open")
			time.Sleep(time.Second - time.Millisecond)
		}
	})
}

func TestASlowTrialIsNotGivenBack(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		ea := st.eject(a)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		st.pick(a)
		st.Begin(ea, st.rt.Now())
		for range 30 {
			time.Sleep(time.Second)
			synctest.Wait()
			st.pick(b)
		}
		st.Settle(ea, endpoint.Outcome{Now: st.rt.Now()}, true)
		st.is(a, "healthy")
	})
}

// The breaker's time is over while the latest probe had failed: the endpoint stays out
// until a probe passes, and then gets its trial although no clock is left to ring.
func TestATrialThatWaitedForAProbe(t *testing.T) {
	check := &Check{Interval: 4 * time.Second, HealthyAfter: 9, UnhealthyAfter: 9}
	onStage(t, Settings{Check: check}, func(st *stage) {
		st.Update(specs(a, b))
		st.AwaitReady(st.rt, 0)
		st.plant.set(errIll, a)
		st.eject(a)
		time.Sleep(14 * time.Second)
		st.is(a, "ejected by breaker")
		st.plant.set(nil, a)
		time.Sleep(5 * time.Second)
		st.is(a, "half-open")
		// Not before the time is over either.
		ea := st.pick(a)
		st.attempt(ea, true)
		time.Sleep(10 * time.Second)
		st.is(a, "ejected by breaker")
	})
}

func TestNothingToDoIsNothingDone(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		e := st.eject(a)
		time.Sleep(11 * time.Second)
		st.pick(a)
		st.attempt(e, false)
		st.renew(a)
		time.Sleep(10 * time.Second)
		waits := st.rt.waits.Load()
		time.Sleep(24 * time.Hour)
		if n := st.rt.waits.Load() - waits; n > 0 {
			t.Errorf("woke up %d times in an idle day", n)
		}
	})
}

func TestMembersThatNobodyMayPickAreBuiltToo(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.Update(specs(a))
		st.AwaitReady(st.rt, 0)
		time.Sleep(time.Second)
		st.plant.set(errHole, b)
		builds := st.policy.builds.Load()
		st.renew(a, b) // tables stand on members
		if n := st.policy.builds.Load() - builds; n != 1 || len(st.view.Load().members) != 2 {
			t.Errorf("%d builds", n)
		}
	})
}

func TestATrialThatIsNeverReportedIsGivenBack(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		st.eject(a)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		st.pick(a) // and forgotten
		st.pick(b)
		time.Sleep(patience - time.Second)
		st.pick(b)
		time.Sleep(2 * tick)
		st.pick(a)
	})
}

func TestPanicMode(t *testing.T) {
	for _, threshold := range []int{0, -1, 20} {
		onStage(t, Settings{Check: everySecond, PanicThreshold: threshold}, func(st *stage) {
			st.Update(specs(addresses(4)...))
			st.AwaitReady(st.rt, 0)
			st.plant.set(errIll, addresses(2)...)
			time.Sleep(4 * time.Second)
			if st.Panic() {
				t.Error("panic at half of them")
			}
			st.plant.set(errIll, addresses(3)...)
			time.Sleep(4 * time.Second)
			want := "10.0.0.3:80"
			if threshold == 0 {
				want = "10.0.0.0:80"
			}
			st.pick(want)
			if got := st.Panic(); got != (threshold == 0) {
				t.Errorf("threshold %d: panic %v", threshold, got)
			}
			st.plant.set(errIll, addresses(4)...)
			time.Sleep(4 * time.Second)
			if threshold == -1 {
				want = ""
			} else {
				want = "10.0.0.0:80"
			}
			st.pick(want)
			st.plant.set(nil, addresses(4)...)
			time.Sleep(4 * time.Second)
			if st.Panic() {
				t.Error("panic is not over")
			}
		})
	}
}

func TestPanicModeHasNoUseForWhatIsCertain(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.plant.set(engine.ErrRefused, a)
		st.plant.set(errIll, b)
		st.plant.set(errHole, c) // no verdict yet
		st.Update(specs(a, b, c))
		time.Sleep(2 * buildEvery) // those without a verdict hold panic off: a's and b's are needed
		synctest.Wait()
		st.pick(b)
		st.plant.set(engine.ErrRefused, b)
		time.Sleep(400 * time.Millisecond)
		st.pick(b)
		time.Sleep(2 * time.Second)
		st.pick(c) // b is certain by now, c has its verdict
		st.plant.set(engine.ErrRefused, c)
		time.Sleep(2 * time.Second)
		if st.Panic() || len(st.view.Load().usable) > 0 {
			t.Error("panic although there is nothing else to use")
		}
		if wait := st.RetryAfter(st.rt.Now()); wait != time.Second {
			t.Errorf("retry after %v, want 1 s: the last resort", wait)
		}
	})
}

func TestAnEmptySetIsASet(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(nil)
		st.pick("")
		if st.Panic() || !st.Settled() {
			t.Error("panic, or not settled")
		}
	})
}

func TestRetryAfterIsTheEarliest(t *testing.T) {
	onStage(t, Settings{PanicThreshold: -1, Check: &Check{Interval: 20 * time.Second}}, func(st *stage) {
		st.plant.set(errHole, c)
		st.Update(specs(c))
		if wait := st.RetryAfter(st.rt.Now()); wait != time.Second {
			t.Errorf("retry after %v while probing, want any moment", wait)
		}
		time.Sleep(1100 * time.Millisecond)
		if wait := st.RetryAfter(st.rt.Now()); wait < 1500*time.Millisecond || wait > 2*probeAgain {
			t.Errorf("retry after %v, want two probes", wait)
		}
		st.renew(a, b, c)
		time.Sleep(2 * buildEvery) // a view with both, in whatever order they were probed
		st.eject(a)
		st.renew(a, c) // in this order: a is earlier
		if wait := st.RetryAfter(st.rt.Now()); wait > resortEvery {
			t.Errorf("retry after %v, want the time of the last resort", wait)
		}
	})
}

func TestRetryAfterIsTheLastResorts(t *testing.T) {
	onStage(t, Settings{PanicThreshold: -1}, func(st *stage) {
		if wait := st.RetryAfter(st.rt.Now()); wait != time.Second {
			t.Errorf("retry after %v without endpoints", wait)
		}
		st.Update(specs(a, b))
		st.eject(a)
		st.renew(a)
		if wait := st.RetryAfter(st.rt.Now()); wait != resortEvery {
			t.Errorf("retry after %v, want the time of the last resort", wait)
		}
	})
}

func TestRemovedEndpointsDrain(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.Update(specs(a, b))
		st.AwaitReady(st.rt, 0)
		ea := st.pick(a)
		st.Begin(ea, st.rt.Now())
		time.Sleep(time.Second)
		st.Update(specs(b))
		st.is(a, "draining")
		st.pick(b)
		probes := len(st.plant.times(a))
		time.Sleep(time.Minute)
		if st.freed(a) != 0 {
			t.Error("freed with an attempt in flight")
		}
		if n := len(st.plant.times(a)); n != probes {
			t.Error("probed while draining")
		}
		st.Settle(ea, endpoint.Outcome{Now: st.rt.Now(), Failed: true}, true)
		time.Sleep(2 * tick)
		st.is(a, "")
		if st.freed(a) != 1 || st.freed(b) != 0 {
			t.Errorf("freed %v", st.discarded)
		}
		// The same address later is a new endpoint.
		st.Update(specs(a, b))
		synctest.Wait()
		time.Sleep(buildEvery)
		st.is(a, "healthy")
		if e := st.pick(a); e == ea {
			t.Error("gone, and back")
		}
	})
}

func TestARemovalTakenBack(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.Update(specs(a, b, c))
		st.AwaitReady(st.rt, 0)
		ea := st.pick(a)
		st.Begin(ea, st.rt.Now())
		st.plant.set(errIll, b)
		time.Sleep(4 * time.Second)
		st.is(b, "ejected by probes")
		st.plant.set(errHole, a, b)
		st.Update(specs(c))
		st.is(a, "draining")
		time.Sleep(500 * time.Millisecond)
		st.Update(specs(a, b, c))
		// Verdicts live on: nothing new is known, and nothing is older than an interval.
		st.is(b, "ejected by probes")
		if e := st.pick(a); e != ea || e.InFlight() != 1 {
			t.Error("another endpoint")
		}
		st.Update(specs(c))
		time.Sleep(time.Minute)
		st.Update(specs(a, c))
		st.is(a, "probing") // too long ago
		st.Settle(ea, endpoint.Outcome{Now: st.rt.Now()}, true)
	})
}

func TestWeightsOnlyUpdate(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		e := st.pick(a)
		time.Sleep(time.Second)
		builds := st.policy.builds.Load()
		heavy := specs(a, b)
		heavy[0].Weight = 7
		st.Update(heavy)
		if got := st.pick(a); got != e || got.Weight() != 7 || st.policy.builds.Load() != builds+1 {
			t.Errorf("weight %d, same %v, %d builds", got.Weight(), got == e, st.policy.builds.Load()-builds)
		}
		time.Sleep(time.Second)
		st.Update(heavy)
		if n := st.policy.builds.Load(); n != builds+1 {
			t.Error("rebuilt for the same set")
		}
	})
}

func TestBuildsAreCoalesced(t *testing.T) {
	for _, x := range []struct {
		takes time.Duration // a build
		most  int64         // builds in a second
	}{{0, 201}, {time.Millisecond, 101}, {10 * time.Millisecond, 12}, {time.Second, 3}} {
		onStage(t, Settings{}, func(st *stage) {
			st.policy.takes = x.takes
			for i, began := 0, st.rt.Now(); st.rt.Now() < began+time.Second; i++ {
				st.Update(specs(addresses(i%7 + 1)...))
				time.Sleep(time.Millisecond)
			}
			st.Update(specs(c))
			if n := st.policy.builds.Load(); n > x.most || n < x.most/2 {
				t.Errorf("%d builds of %v in a second, want %d at most", n, x.takes, x.most)
			}
			time.Sleep(buildRest)
			synctest.Wait()
			st.pick(c) // the last one wins
		})
	}
}

func TestConfigure(t *testing.T) {
	onStage(t, Settings{Check: everySecond, ProbeID: "HEAD /"}, func(st *stage) {
		st.plant.set(errIll, b)
		st.Update(specs(a, b))
		st.AwaitReady(st.rt, 0)
		ea := st.pick(a)
		set := func(s Settings) { st.Configure(st.with(s)) }

		// The same check: nothing starts anew.
		before := len(st.plant.times(a))
		other := &first{rt: st.rt}
		set(Settings{Check: everySecond, ProbeID: "HEAD /", Policy: other})
		st.is(b, "ejected by probes")
		if n := len(st.plant.times(a)); n != before || other.builds.Load() != 1 {
			t.Errorf("%d probes more, %d builds", n-before, other.builds.Load())
		}
		// Another one: probed at once, and its first verdict decides.
		st.plant.set(errIll, a)
		st.plant.set(nil, b)
		set(Settings{Check: everySecond, ProbeID: "HEAD /other", PanicThreshold: -1})
		st.is(a, "ejected by probes")
		st.is(b, "healthy")
		// None: what probes ejected comes back.
		set(Settings{})
		st.is(a, "healthy")
		if st.pick(a) != ea {
			t.Error("another endpoint")
		}
		probes := len(st.plant.times(a))
		time.Sleep(time.Minute)
		if n := len(st.plant.times(a)); n != probes || st.rt.tasks.Load() != 1 {
			t.Errorf("%d probes more without a check, %d tasks", n-probes, st.rt.tasks.Load())
		}
		// A first one: what is in rotation stays there until its verdict.
		st.plant.set(errHole, a)
		set(Settings{Check: everySecond, ProbeID: "HEAD /"})
		st.is(a, "healthy")
		time.Sleep(600 * time.Millisecond)
		st.is(a, "ejected by probes")
	})
}

func TestConfigureChangesTheInterval(t *testing.T) {
	onStage(t, Settings{Check: &Check{Interval: time.Hour}}, func(st *stage) {
		st.Update(specs(a))
		st.AwaitReady(st.rt, 0)
		time.Sleep(10 * time.Minute)
		st.Configure(st.with(Settings{Check: everySecond}))
		time.Sleep(10 * time.Second)
		if n := len(st.plant.times(a)); n < 9 || n > 13 {
			t.Errorf("%d probes in 10 s", n)
		}
	})
}

func TestABreakerSwitchedOffLetsGo(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		st.eject(a)
		st.Configure(st.with(Settings{Breaker: health.Breaker{Off: true}}))
		st.pick(a)
	})
}

func TestPickersHandOverUnlessThePolicyMayBeAnother(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a))
		if st.policy.prev != nil {
			t.Error("the first picker replaces one")
		}
		st.renew(a, b)
		if st.policy.prev == nil {
			t.Error("the second does not")
		}
		st.Configure(st.with(Settings{}))
		if st.policy.prev != nil {
			t.Error("handed over to what may be another policy")
		}
		st.renew(a)
		if st.policy.prev == nil {
			t.Error("nothing handed over after Configure")
		}
	})
}

// Between the removal of an endpoint and the next view stands the old one.
func TestARemovedEndpointIsNotPickedFromTheLastView(t *testing.T) {
	for _, fault := range []error{nil, errIll} { // in panic mode neither
		onStage(t, Settings{Check: everySecond}, func(st *stage) {
			st.plant.set(fault, a, b)
			st.Update(specs(a, b))
			st.AwaitReady(st.rt, 0)
			st.pick(a)
			called := false
			st.policy.during = func() {
				called = true
				st.pick(b)
			}
			st.renew(b)
			if !called {
				t.Fatal("not built: the test proves nothing")
			}
		})
	}
}

func TestStateChangesAreCoalesced(t *testing.T) {
	onStage(t, Settings{PanicThreshold: -1}, func(st *stage) {
		st.policy.takes = 10 * time.Millisecond
		st.Update(specs(addresses(100)...))
		time.Sleep(time.Second)
		builds := st.policy.builds.Load()
		for _, e := range st.view.Load().members[:90] {
			for range 5 {
				st.attempt(e, true)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if n := st.policy.builds.Load() - builds; n > 3 {
			t.Errorf("%d builds of 10 ms in 180 ms", n)
		}
	})
}

// The first set is the exception: readiness waits for no build's time.
func TestReadyAtOnce(t *testing.T) {
	onStage(t, Settings{Check: &Check{Timeout: 30 * time.Millisecond}}, func(st *stage) {
		st.plant.set(errHole, a)
		began := st.rt.Now()
		st.Update(specs(a, b))
		st.AwaitReady(st.rt, 0)
		if took := st.rt.Now() - began; took != 30*time.Millisecond {
			t.Errorf("ready after %v", took)
		}
	})
}

func TestTheVerdictOfAnOldCheckIsDropped(t *testing.T) {
	onStage(t, Settings{Check: everySecond, ProbeID: "old"}, func(st *stage) {
		st.plant.set(errHole, a)
		st.Update(specs(a))
		synctest.Wait() // its probe hangs
		st.plant.set(nil, a)
		st.Configure(st.with(Settings{Check: everySecond, ProbeID: "new"}))
		time.Sleep(501 * time.Millisecond) // the old probe fails; the new one passes
		st.is(a, "healthy")
	})
}

func TestPassingProbesClearTheBreaker(t *testing.T) {
	onStage(t, Settings{Check: everySecond, Breaker: health.Breaker{OpenFor: time.Hour}}, func(st *stage) {
		st.Update(specs(a, b))
		st.AwaitReady(st.rt, 0)
		st.eject(a)
		st.is(a, "ejected by breaker")
		time.Sleep(2300 * time.Millisecond)
		st.is(a, "healthy")
		st.pick(a)
	})
}

func TestMoreLeaveAtOnceThanTriedHolds(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		all := addresses(30)
		st.Update(specs(all...))
		w := st.view.Load()
		for _, e := range w.members[:29] {
			for range 5 {
				st.attempt(e, true)
			}
		}
		if st.view.Load() != w {
			t.Fatal("rebuilt: the test proves nothing")
		}
		st.pick(w.members[29].ID().Address)
		st.pick("", w.members[29])
	})
}

func TestSeqIsOneForAllAndStartsAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, other := newStage(t, Settings{}), newStage(t, Settings{})
		x, y := st.Seq(), other.Seq()
		if st.Seq() != x+1 || other.Seq() != y+1 || x+y == 2 {
			t.Error("not a running number of its own")
		}
	})
}

func TestLoadIsTheServices(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		e := st.pick(a)
		for range 3 {
			st.Begin(e, st.rt.Now())
		}
		st.Begin(st.pick(b, e), st.rt.Now())
		var at policy.Attempt
		st.Pick(&at)
		if at.Load != 4 {
			t.Errorf("load %d, want 4", at.Load)
		}
		for range 3 {
			st.Settle(e, endpoint.Outcome{Now: st.rt.Now()}, true)
		}
		st.Pick(&at)
		if at.Load != 1 {
			t.Errorf("load %d, want 1", at.Load)
		}
	})
}

func TestStateChangesAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, Settings{Check: everySecond})
		var out logbook
		st.events.Observe("log", event.Log(slog.New(slog.NewTextHandler(&out, nil))))
		keeper := st.rt.Fork(st.Run)
		st.Update(specs(a, b))
		st.AwaitReady(st.rt, 0)
		st.plant.set(errIll, a)
		time.Sleep(5 * time.Second)
		st.plant.set(errIll, b)
		time.Sleep(5 * time.Second)
		st.plant.set(nil, a, b)
		time.Sleep(5 * time.Second)
		st.Update(specs(c))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		told := out.String() // by a keeper that still runs
		st.Stop()
		keeper.Wait()
		st.events.Close(st.rt.Now() + time.Minute)
		for _, want := range []string{
			`msg="endpoints changed" added=2 removed=0 members=2`,
			`msg="endpoints changed" added=1 removed=2 members=1`,
			`level=INFO msg="endpoint healthy" endpoint=http://` + a + ` from=probing to=healthy why="probes passed"`,
			`level=WARN msg="panic mode: too many endpoints are ejected, all are used" usable=2 members=2`,
			`level=INFO msg="panic mode is over" usable=1 members=2`,
			`level=WARN msg="endpoint ejected" endpoint=http://` + a + ` from=healthy to=ejected why="probes failed" error="status 500"`,
		} {
			if !strings.Contains(told, want) {
				t.Errorf("no %s in\n%s", want, told)
			}
		}
	})
}

func TestStopIsPromptAndFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, Settings{Check: everySecond})
		st.plant.set(errHole, a)
		keeper := st.rt.Fork(st.Run)
		st.Update(specs(a, b))
		time.Sleep(100 * time.Millisecond)
		began := st.rt.Now()
		st.Stop()
		st.Stop()
		keeper.Wait()
		if took := st.rt.Now() - began; took > 400*time.Millisecond {
			t.Errorf("stopped after %v, want the end of one probe", took)
		}
		time.Sleep(time.Second)
		st.Update(specs(a, b, c))
		if st.freed(a) != 1 || st.freed(b) != 1 || len(st.Endpoints()) != 2 {
			t.Errorf("freed %v of %d", st.discarded, len(st.Endpoints()))
		}
		st.pick(b) // exchanges that still hold the last view may finish
	})
}

func TestAFullReplacementLeavesNoGap(t *testing.T) {
	onStage(t, Settings{Check: &Check{Interval: time.Second}}, func(st *stage) {
		st.Update(specs(a))
		synctest.Wait()
		st.pick(a)
		st.plant.set(errHole, b)
		st.renew(b) // whose first probe hangs
		time.Sleep(2 * buildEvery)
		st.pick(a)
		st.plant.set(nil, b)
		time.Sleep(5 * time.Second)
		st.pick(b)
		if states := st.states(); len(states) != 1 {
			t.Errorf("a is kept although b serves: %v", states)
		}
	})
}

func TestWhatWasJustRemovedIsBetterThanNothing(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a))
		st.renew(b)
		st.pick(b)
		old := st.view.Load()
		time.Sleep(2 * buildEvery)
		st.renew(a)
		st.view.Store(old) // as an exchange sees it between reconcile and build
		st.pick(b)
	})
}
