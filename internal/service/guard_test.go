package service

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/policy"
)

// take has a source name a set, at an instant at which a build may follow at once.
func (st *stage) take(addresses ...string) {
	time.Sleep(2 * buildEvery)
	st.Take(discovery.Update{Endpoints: specs(addresses...)})
	synctest.Wait()
}

// uses wants exactly these endpoints in rotation.
func (st *stage) uses(want ...string) {
	st.t.Helper()
	time.Sleep(2 * buildEvery) // the keeper has done its work
	synctest.Wait()
	var got []string
	for _, e := range st.view.Load().usable {
		got = append(got, e.ID().Address)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		st.t.Fatalf("in use: %v, want %v\n%v", got, want, st.states())
	}
}

// connecting are settings of a service without a check whose held members can be probed.
func (st *stage) connecting(set Settings) Settings {
	set.Connect = st.plant.probe
	return st.with(set)
}

func onGuardedStage(t *testing.T, set Settings, f func(st *stage)) {
	t.Helper()
	onStage(t, set, func(st *stage) {
		st.Configure(st.connecting(set))
		f(st)
	})
}

func TestGuardArithmetic(t *testing.T) {
	for _, test := range []struct {
		max, missing, members, added int
		want                         bool
	}{
		{0, 0, 10, 0, false},
		{0, 5, 10, 0, false}, // half is not more than half
		{0, 6, 10, 0, true},  //
		{0, 6, 10, 5, true},  // not quite a replacement
		{0, 6, 10, 6, false}, // a replacement
		{0, 10, 10, 9, true}, //
		{0, 1, 1, 0, true},   // all
		{0, 1, 1, 1, false},  //
		{100, 9, 10, 0, false},
		{100, 10, 10, 0, true}, // all, whatever the percentage
		{-1, 10, 10, 0, false},
		{1, 1, 100, 0, false},
		{1, 2, 100, 0, true},
	} {
		g := Guard{MaxRemoval: test.max}.withDefaults()
		if got := g.holds(test.missing, test.members, test.added); got != test.want {
			t.Errorf("%+v: held %v", test, got)
		}
	}
	if g := (Guard{}).withDefaults(); g.Hold != time.Minute {
		t.Errorf("held for %v by default", g.Hold)
	}
}

func TestAnEmptySetIsHeldForAWhile(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a, b)
		st.uses(a, b)
		began := st.rt.Now()
		st.take()
		st.uses(a, b)
		if got := st.Source().Held; got != 2 {
			t.Errorf("%d held, want 2", got)
		}
		for _, e := range st.Snapshot() {
			if held := e.Held - began; held < time.Minute || held > time.Minute+time.Second {
				t.Errorf("%s is held until %v from now", e.Spec.Address, held)
			}
		}
		time.Sleep(58 * time.Second)
		st.uses(a, b)
		time.Sleep(2 * time.Second)
		st.uses()
		if got := st.Source().Held; got != 0 {
			t.Errorf("%d held after the hold", got)
		}
		// One connection a second to each, give or take the jitter.
		if n := len(st.plant.times(a)); n < 50 || n > 70 {
			t.Errorf("%d probes in a minute of hold", n)
		}
	})
}

func TestTheFirstSetIsNotHeld(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b, c)) // by the configuration, before it named a source
		st.uses(a, b, c)
		st.Renew()
		st.take(a)
		st.uses(a)
		st.take()
		st.uses(a) // that is the second
		st.Renew()
		st.Take(discovery.Update{}) // taken together with the next, which is no less free
		st.Take(discovery.Update{})
		st.uses()
	})
}

func TestWhatTheConfigurationSaysIsNotHeld(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a, b, c)
		st.take(a)
		st.uses(a, b, c)
		st.renew(a)
		st.uses(a)
	})
}

func TestAFailedProbeConfirmsARemoval(t *testing.T) {
	for _, check := range []*Check{nil, {Interval: 10 * time.Second, Timeout: time.Second}} {
		onGuardedStage(t, Settings{Check: check}, func(st *stage) {
			st.take(a, b, c)
			st.uses(a, b, c)
			time.Sleep(3 * time.Second)
			st.plant.set(engine.ErrRefused, a)
			st.take()
			st.uses(b, c) // probed at once
			if e := st.Pick(&policy.Attempt{}); e.ID().Address == a {
				t.Error("picked an endpoint whose removal is confirmed")
			}
			st.plant.set(errIll, b)
			time.Sleep(1200 * time.Millisecond) // whatever the interval of the check
			st.uses(c)
			st.take(a, c) // another one has its address now, or it is back
			if check == nil {
				st.uses(a, c)
			} else {
				st.uses(c)
				st.plant.set(nil, a)
				time.Sleep(22 * time.Second)
				st.uses(a, c)
			}
		})
	}
}

func TestTheLastHeldEndpointIsNotUsedOnceConfirmed(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a)
		st.take()
		st.pick(a)
		st.plant.set(engine.ErrRefused, a)
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		st.pick("")
	})
}

func TestEndpointsKnownToBeIllAreNotHeld(t *testing.T) {
	onGuardedStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.plant.set(errIll, a)
		st.take(a, b, c)
		st.uses(b, c)
		st.take()
		st.is(a, "draining")
		st.uses(b, c)
	})
}

func TestASetThatNamesThemAgainEndsTheHold(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a, b, c)
		e := st.pick(a)
		st.take(a)
		time.Sleep(30 * time.Second)
		st.take(a, b, c)
		if st.Source().Held != 0 {
			t.Error("still held")
		}
		probes := len(st.plant.times(b))
		time.Sleep(2 * time.Minute)
		st.uses(a, b, c)
		if now := len(st.plant.times(b)); now > probes+1 {
			t.Errorf("%d probes without a check after the hold", now-probes)
		}
		if st.pick(a) != e {
			t.Error("another endpoint")
		}
		// Its failures mean nothing any more.
		st.plant.set(errIll, a, b, c)
		st.uses(a, b, c)
		st.take(b)
		st.uses(b)
	})
}

func TestAnotherSetWhileOneIsHeld(t *testing.T) {
	all := addresses(10)
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(all...)
		st.take(all[:4]...)
		st.uses(all...)
		time.Sleep(30 * time.Second)
		st.take(all[:2]...) // smaller: two more are held, and for longer
		st.uses(all...)
		if got := st.Source().Held; got != 8 {
			t.Errorf("%d held, want 8", got)
		}
		time.Sleep(30 * time.Second)
		st.uses(all[:4]...)
		time.Sleep(30 * time.Second)
		st.uses(all[:2]...)
	})
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(all...)
		st.take()
		st.take(all[:7]...) // large enough: what it leaves out goes
		st.uses(all[:7]...)
	})
}

func TestAReplacementIsNotHeld(t *testing.T) {
	onGuardedStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.take(a, b)
		st.uses(a, b)
		st.plant.set(errHole, c, "10.0.0.4:80")
		st.Take(discovery.Update{Endpoints: specs(c, "10.0.0.4:80")})
		synctest.Wait()
		st.is(a, "draining")
		if e := st.Pick(&policy.Attempt{}); e == nil || e.ID().Address > b {
			t.Errorf("picked %v, want one that covers for those without a verdict", e)
		}
	})
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a, b)
		st.take()
		st.uses(a, b)
		st.take(c, "10.0.0.4:80")
		st.uses(c, "10.0.0.4:80")
	})
}

func TestTheGuardCanBeSwitchedOff(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a, b)
		st.take()
		st.uses(a, b)
		st.Configure(st.connecting(Settings{Guard: Guard{MaxRemoval: -1}}))
		st.uses()
		st.take(a, b)
		st.take()
		st.uses()
	})
}

func TestACheckThatComesAndGoesDuringAHold(t *testing.T) {
	onGuardedStage(t, Settings{}, func(st *stage) {
		st.take(a, b)
		st.take()
		st.Configure(st.connecting(Settings{Check: everySecond}))
		time.Sleep(3 * time.Second)
		st.uses(a, b)
		st.plant.set(errIll, b)
		time.Sleep(1200 * time.Millisecond)
		st.uses(a)
		st.Configure(st.connecting(Settings{}))
		time.Sleep(3 * time.Second)
		st.uses(a)
		st.plant.set(errIll, a)
		time.Sleep(1200 * time.Millisecond)
		st.uses()
	})
}

func TestWithoutConnectTheHoldEndsByTime(t *testing.T) {
	onStage(t, Settings{Guard: Guard{Hold: 10 * time.Second}}, func(st *stage) {
		st.take(a, b)
		st.take()
		time.Sleep(9 * time.Second)
		st.uses(a, b)
		time.Sleep(time.Second)
		st.uses()
	})
}

func TestTheGuardIsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		st := newStage(t, Settings{})
		st.events.Observe("log", event.Log(slog.New(slog.NewTextHandler(&log, nil))))
		st.Configure(st.connecting(Settings{}))
		keeper := st.rt.Fork(st.Run)
		st.take(a, b, c)
		st.take()
		st.take()
		st.take(a)
		st.plant.set(errIll, b)
		time.Sleep(2 * time.Second)
		time.Sleep(time.Minute)
		st.Stop()
		keeper.Wait()
		st.events.Close(st.rt.Now() + time.Minute)
		for want, times := range map[string]int{
			"removal held":                     1,
			"held=3 members=3 for=1m0s":        1,
			"removal taken back":               1,
			"removal confirmed":                1,
			"endpoint=http://" + b + " error=": 1,
			"removal let through":              1,
			"removed=1 members=1":              1,
		} {
			if got := strings.Count(log.String(), want); got != times {
				t.Errorf("%q stands %d times in the log, want %d:\n%s", want, got, times, log.String())
			}
		}
	})
}

// A guardModel is the guard's rules, naively: sets of strings, whose instants are steps of
// a second.
type guardModel struct {
	max     int
	hold    int
	members map[string]int // the step at which its hold ends; 0: not held
	ill     map[string]bool
	sets    int
}

func (g *guardModel) take(named []string) {
	var missing []string
	added := 0
	for m := range g.members {
		if !slices.Contains(named, m) {
			missing = append(missing, m)
		}
	}
	for _, n := range named {
		if _, in := g.members[n]; !in {
			added++
		}
	}
	share := len(missing)*100 > g.max*len(g.members) || len(missing) == len(g.members)
	hold := g.sets > 0 && share && added < len(missing)
	g.sets++
	for _, m := range missing {
		switch {
		case !hold:
			delete(g.members, m)
		case g.members[m] == 0:
			g.members[m] = g.hold
		}
	}
	for _, n := range named {
		g.members[n] = 0
	}
	g.probe()
}

func (g *guardModel) probe() {
	for m, held := range g.members {
		if held > 0 && g.ill[m] {
			delete(g.members, m)
		}
	}
}

func (g *guardModel) second() {
	for m, held := range g.members {
		if held == 1 {
			delete(g.members, m)
		} else if held > 1 {
			g.members[m]--
		}
	}
	g.probe()
}

// TestTheGuardKeepsItsRules plays random sets against the model.
func TestTheGuardKeepsItsRules(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			all := addresses(12)
			guard := Guard{MaxRemoval: []int{1, 30, 50, 75, 100}[r.IntN(5)], Hold: time.Duration(2+r.IntN(20))*time.Second - 300*time.Millisecond}
			model := guardModel{max: guard.MaxRemoval, hold: int(guard.Hold/time.Second) + 1, members: map[string]int{}, ill: map[string]bool{}}
			onGuardedStage(t, Settings{Guard: guard}, func(st *stage) {
				for range 300 {
					step(st, r, all, &model)
				}
			})
		})
	}
}

// step does one thing, half a second after the full one, and compares.
func step(st *stage, r *rand.Rand, all []string, model *guardModel) {
	time.Sleep(500*time.Millisecond - st.rt.Now()%time.Second + time.Second)
	switch r.IntN(4) {
	case 0, 1:
		var named []string
		for _, i := range r.Perm(len(all))[:r.IntN(len(all)+1)] {
			named = append(named, all[i])
		}
		st.Take(discovery.Update{Endpoints: specs(named...)})
		model.take(named)
	case 2:
		one := all[r.IntN(len(all))]
		if model.ill[one] = !model.ill[one]; model.ill[one] {
			st.plant.set(errIll, one)
		} else {
			st.plant.set(nil, one)
		}
		time.Sleep(2 * time.Second) // until every held one was probed
		model.probe()
		model.second()
		model.second()
	}
	time.Sleep(400 * time.Millisecond)
	synctest.Wait()
	got := map[string]bool{}
	st.Service.mu.Lock()
	for _, m := range st.members {
		got[m.endpoint.ID().Address] = m.heldUntil > 0
	}
	st.Service.mu.Unlock()
	for m, held := range got {
		if _, in := model.members[m]; !in {
			st.t.Fatalf("%s is still a member (held %v)", m, held)
		}
	}
	for m, left := range model.members {
		if held, in := got[m]; !in || held != (left > 0) {
			st.t.Fatalf("%s: member %v, held %v; want it held for %d s more", m, in, held, left)
		}
	}
	model.second()
}

// TestDamping: an endpoint that comes and goes often is damped, and after a quiet time no more.
func TestDamping(t *testing.T) {
	onGuardedStage(t, Settings{Guard: Guard{MaxRemoval: -1}}, func(st *stage) {
		flap := func() (damped time.Duration) {
			st.take(b)
			st.take(a, b)
			for _, e := range st.Snapshot() {
				if e.Spec.Address == a && e.Damped > 0 {
					damped = (e.Damped - st.rt.Now()).Round(time.Second)
				}
			}
			return damped
		}
		st.take(a, b)
		for i, want := range []time.Duration{0, 0, 5, 10, 20, 40, 60, 60} {
			if got := flap(); got != want*time.Second {
				t.Fatalf("damped for %v at return %d, want %ds", got, i+1, want)
			}
			if want == 0 {
				st.uses(a, b)
			} else {
				st.uses(b)
			}
		}
		members := len(st.view.Load().members)
		if members != 2 {
			t.Errorf("%d members: keys move twice", members)
		}
		time.Sleep(58 * time.Second)
		st.uses(b)
		time.Sleep(3 * time.Second)
		st.uses(a, b)
		time.Sleep(2 * time.Minute)
		if got := flap(); got != 0 {
			t.Errorf("damped for %v after two quiet minutes", got)
		}
		st.uses(a, b)
	})
}

func TestSlowComingAndGoingIsNotDamped(t *testing.T) {
	onGuardedStage(t, Settings{Guard: Guard{MaxRemoval: -1}}, func(st *stage) {
		st.take(a, b)
		for range 20 {
			time.Sleep(31 * time.Second) // the third-last return is more than a minute ago
			st.take(b)
			st.take(a, b)
			st.uses(a, b)
		}
	})
}

func TestADampedEndpointIsBetterThanNone(t *testing.T) {
	onGuardedStage(t, Settings{Guard: Guard{MaxRemoval: -1}}, func(st *stage) {
		st.take(a, b)
		for range 4 {
			st.take(b)
			st.take(a, b)
		}
		st.uses(b)
		e := st.pick(b)
		st.pick(a, e) // there is no other endpoint for the second attempt
		st.eject(b)
		st.pick(a) // at once, before any view
		st.uses(a)
	})
}

func TestDampingRemembersABoundedNumber(t *testing.T) {
	var f flaps
	id := func(i int) endpoint.ID { return endpoint.ID{Address: fmt.Sprint(i)} }
	for i := range 5 * flapMax {
		f.left(id(i), time.Duration(i)*time.Millisecond+1)
	}
	if n := len(f.byID); n > flapMax {
		t.Errorf("%d are remembered, more than %d", n, flapMax)
	}
	late := time.Hour
	f.left(id(-1), late)
	if n := len(f.byID); n != 1 {
		t.Errorf("%d are remembered after an hour, want the new one", n)
	}
	if f.returned(id(7), 4, late) != 0 || f.returned(id(-1), 4, late+flapForget+1) != 0 {
		t.Error("damped by what is forgotten")
	}
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		st := newStage(t, Settings{})
		st.events.Observe("log", event.Log(slog.New(slog.NewTextHandler(&log, nil))))
		keeper := st.rt.Fork(st.Run)
		is := func(stale bool, age time.Duration, err string) {
			t.Helper()
			s := st.Source()
			if s.Stale != stale || s.Age != age || fmt.Sprint(s.Err) != err {
				t.Errorf("stale %v, age %v, error %v; want %v, %v, %s", s.Stale, s.Age, s.Err, stale, age, err)
			}
		}
		says := func(want string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			var got []string
			for line := range strings.Lines(log.String()) {
				_, text, _ := strings.Cut(strings.TrimSpace(line), "msg=")
				got = append(got, text)
			}
			log.Reset()
			if joined := strings.Join(got, "\n"); joined != want {
				t.Errorf("the log says\n%s\nwant\n%s", joined, want)
			}
		}
		is(false, 0, "<nil>")
		st.Take(discovery.Update{Err: errors.New("no route")})
		says(`"source fails and has not named a set yet" error="no route"`)
		is(true, 2*time.Second, "no route")
		st.Take(discovery.Update{Err: errors.New("refused")})
		says("")
		is(true, 4*time.Second, "refused")
		if st.Settled() {
			t.Error("ready by an error")
		}
		st.take(a)
		is(false, 0, "<nil>")
		says(`"endpoints changed" added=1 removed=0 members=1` + "\n" + `"source is back" age=4.01s`)
		// A source of parts, one of which fails: every set is followed by its error.
		for range 3 {
			st.Take(discovery.Update{Endpoints: specs(a)})
			st.Take(discovery.Update{Err: errors.New("a part")})
			time.Sleep(10 * time.Second)
		}
		is(true, 30*time.Second, "a part")
		says(`"source is stale: its last set stays in use" error="a part"`)
		st.uses(a)
		st.Renew()
		is(false, 0, "<nil>")
		st.Stop()
		keeper.Wait()
		st.events.Close(st.rt.Now() + time.Minute)
	})
}

func TestRejectedEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		st := newStage(t, Settings{})
		st.events.Observe("log", event.Log(slog.New(slog.NewTextHandler(&log, nil))))
		keeper := st.rt.Fork(st.Run)
		defer func() { st.events.Close(st.rt.Now() + time.Minute) }()
		defer keeper.Wait()
		defer st.Stop()
		var many []discovery.Reject
		for i := range 100 {
			many = append(many, discovery.Reject{ID: fmt.Sprint("i-", i), Reason: strings.Repeat("no port", 1000)})
		}
		for range 3 {
			st.Take(discovery.Update{Endpoints: specs(a), Rejected: many})
			time.Sleep(time.Second)
		}
		s := st.Source()
		if len(s.Rejected) != rejectsMax || s.Rejects != 100 || s.Rejected[3].ID != "i-3" {
			t.Errorf("%d of %d kept: %v", len(s.Rejected), s.Rejects, s.Rejected)
		}
		if n := strings.Count(log.String(), "rejected"); n != 1 || log.Len() > 10_000 {
			t.Errorf("told %d times, in %d bytes", n, log.Len())
		}
		log.Reset()
		st.take(a)
		time.Sleep(time.Second)
		if !strings.Contains(log.String(), "no entry of the source is rejected any more") || st.Source().Rejects != 0 {
			t.Errorf("after a good set: %s", log.String())
		}
	})
}
