package service

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
)

// takeOut has the source name endpoints, some of which it says are out.
func (st *stage) takeOut(outs []string, addresses ...string) {
	st.t.Helper()
	time.Sleep(2 * buildEvery)
	set := specs(addresses...)
	for i := range set {
		set[i].Out = slices.Contains(outs, set[i].Address)
	}
	st.Take(discovery.Update{Endpoints: set})
}

func TestWhoIsSaidToBeOutGetsNothingAtOnce(t *testing.T) {
	for _, check := range []*Check{nil, everySecond} {
		onGuardedStage(t, Settings{Check: check}, func(st *stage) {
			st.take(a, b, c)
			time.Sleep(time.Second)
			e := st.pick(a)
			st.Begin(e, st.rt.Now())

			st.takeOut([]string{a, b}, a, b, c) // the guard would hold two of three
			st.pick(c)
			st.uses(c)
			if st.Source().Held != 0 {
				t.Error("held, although it is said")
			}
			if n := len(st.view.Load().members); n != 3 {
				t.Errorf("%d members, want 3: keys must come home", n)
			}
			st.takeOut([]string{a, b, c}, a, b, c)
			st.pick("")
			st.uses()
			if st.Panic() {
				t.Error("panic mode doubts what is said")
			}
			time.Sleep(5 * time.Minute)
			st.uses()
			st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Latency: time.Millisecond}, true)

			st.takeOut(nil, a, b, c)
			time.Sleep(time.Second) // a probe passes first, where there is a check
			st.uses(a, b, c)
			if st.pick(a) != e {
				t.Error("another endpoint")
			}
		})
	}
}

// One that is out is not probed, and the verdicts of its probes make no event.
func TestWhoIsOutIsNotProbed(t *testing.T) {
	onGuardedStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.take(a, b)
		time.Sleep(3 * time.Second)
		st.takeOut([]string{a}, a, b)
		time.Sleep(time.Second)
		n := len(st.plant.times(a))
		st.plant.set(engine.ErrRefused, a)
		time.Sleep(10 * time.Second)
		if now := len(st.plant.times(a)); now != n {
			t.Errorf("%d probes while it was out", now-n)
		}
		st.is(a, "healthy")
		// It comes back after a long time and must be probed before it is used.
		st.takeOut(nil, a, b)
		time.Sleep(100 * time.Millisecond)
		st.uses(b)
		st.is(a, "ejected by probes")
		st.plant.set(nil, a)
		time.Sleep(3 * time.Second)
		st.uses(a, b)
	})
}

// A service whose first set is out altogether is ready, and has nothing.
func TestTheFirstSetMayBeOut(t *testing.T) {
	for _, check := range []*Check{nil, everySecond} {
		onGuardedStage(t, Settings{Check: check}, func(st *stage) {
			st.takeOut([]string{a, b}, a, b)
			st.uses()
			if !st.Settled() {
				t.Error("not settled")
			}
			st.takeOut([]string{a}, a, b)
			time.Sleep(time.Second)
			st.uses(b)
		})
	}
}

// What is missing beside what is said is judged by those that are in use.
func TestTheGuardCountsWhoIsInUse(t *testing.T) {
	const e = "10.0.0.9:80"
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a, b, c, e)
		st.takeOut([]string{c, e}, c, e) // all that is left of use is missing
		st.uses(a, b)
		if st.Source().Held != 2 {
			t.Errorf("%d held", st.Source().Held)
		}
		st.takeOut([]string{c, e}, a, b, c, e)
		st.takeOut(nil, a, b) // those that are gone were out: nothing is held
		st.uses(a, b)
		if st.Source().Held != 0 {
			t.Errorf("%d held", st.Source().Held)
		}
		// A colour is made ready with weight 0; then the colours change places.
		st.takeOut([]string{c, e}, a, b, c, e)
		st.takeOut(nil, c, e)
		st.uses(c, e)
		if st.Source().Held != 0 {
			t.Error("a full replacement is held")
		}
		// New endpoints that are out replace no other.
		st.takeOut([]string{a, b}, a, b)
		st.uses(c, e)
	})
}

// One that is held and then said to be out is out; one that was out does not stand in for
// those that replace it.
func TestOutEndsAHoldAndCoversNothing(t *testing.T) {
	onGuardedStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.take(a, b)
		time.Sleep(time.Second)
		st.take()
		st.uses(a, b)
		st.takeOut([]string{a, b}, a, b)
		st.uses()
		st.plant.set(errHole, c)
		st.take(c) // without a verdict yet
		st.uses()
		st.pick("")
	})
}

// The breaker and the last healthy endpoint: one that is out does not count.
func TestOneThatIsOutIsNoSpare(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a, b)
		st.takeOut([]string{b}, a, b)
		st.eject(a)
		st.is(a, "healthy") // the last one stays
	})
}

func TestWeightsKeepTheirProportions(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		weights := func(want ...int64) {
			t.Helper()
			var got []int64
			for _, m := range st.view.Load().members {
				got = append(got, m.Weight())
			}
			if !slices.Equal(got, want) {
				t.Errorf("weights %v, want %v", got, want)
			}
		}
		take := func(ws ...float64) {
			time.Sleep(2 * buildEvery)
			set := specs(addresses(len(ws))...)
			for i, w := range ws {
				set[i].Weight = w
			}
			st.Take(discovery.Update{Endpoints: set})
		}
		take(2000, 8000)
		weights(2000, 8000)
		take(0.1, 0.4)
		weights(1, 4)
		take(0.1, 0.4, 0.25)
		weights(10, 40, 25)
		builds := st.policy.builds.Load()
		take(0.1, 0.4, 0.25)
		if st.policy.builds.Load() != builds {
			t.Error("built anew although nothing changed")
		}
		take(1) // two of three are held, with their weights beside it
		weights(100, 40, 25)
	})
}

// Three of four vanish for a quarter of a second in every five: the fourth must not carry
// everything, and no more than its share while all are there.
func TestFlappingDoesNotStarveTheOthers(t *testing.T) {
	const e = "10.0.0.9:80"
	onGuardedStage(t, Settings{Guard: Guard{MaxRemoval: -1}}, func(st *stage) {
		st.take(a, b, c, e)
		for range 30 {
			time.Sleep(4750 * time.Millisecond)
			st.take(e)
			time.Sleep(240 * time.Millisecond)
			st.take(a, b, c, e)
			st.uses(a, b, c, e)
		}
		for range 30 { // one after the other
			for i, one := range []string{a, b, c} {
				others := []string{a, b, c, e}
				st.take(slices.Delete(others, i, i+1)...)
				st.take(one, e, a, b, c)
				if n := len(st.view.Load().usable); n < 2 {
					t.Fatalf("%d of 4 in use", n)
				}
			}
		}
	})
}

// Of the endpoints that could serve, half are used at least, whatever flaps.
func TestDampingHasAFloor(t *testing.T) {
	onGuardedStage(t, Settings{Guard: Guard{MaxRemoval: -1}}, func(st *stage) {
		all := addresses(40)
		st.take(all...)
		for i := range 20 { // each flaps when the ones before it are damped
			for range 5 {
				st.take(slices.Delete(slices.Clone(all), i, i+1)...)
				st.take(all...)
			}
		}
		usable := len(st.view.Load().usable)
		if usable < 20 || usable == 40 {
			t.Fatalf("%d of 40 in use", usable)
		}
		gone := all[20:] // then those leave that never flapped
		for len(gone) > 0 {
			st.take(slices.Concat(all[:20], gone)...)
			w := st.view.Load()
			if len(w.usable)*2 < len(w.usable)+len(w.reserve) {
				t.Fatalf("%d in use, %d kept back", len(w.usable), len(w.reserve))
			}
			gone = gone[1:]
		}
	})
}

// A DNS name whose answers are random subsets of a hundred addresses: none is damped, and
// requests are spread over what the latest answer names.
func TestARotatingSetIsNotDamped(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		r := rand.New(rand.NewPCG(7, 7))
		all := addresses(100)
		hits := make(map[string]int)
		for range 300 {
			var named []string
			for _, i := range r.Perm(len(all))[:4+r.IntN(5)] {
				named = append(named, all[i])
			}
			st.take(named...)
			time.Sleep(time.Second)
			w := st.view.Load()
			if len(w.reserve) > 0 {
				t.Fatalf("%d damped", len(w.reserve))
			}
			for _, one := range named {
				if !slices.ContainsFunc(w.usable, func(e *endpoint.Endpoint) bool { return e.ID().Address == one }) {
					t.Fatalf("%s is named and not in use", one)
				}
			}
			hits[w.usable[r.IntN(len(w.usable))].ID().Address]++
		}
		if len(hits) < 50 {
			t.Errorf("requests went to %d endpoints: %s", len(hits), fmt.Sprint(hits))
		}
	})
}
