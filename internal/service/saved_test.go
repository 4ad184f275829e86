package service

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
)

// successor runs f on a service that takes the place of st's after the given time, with another
// clock, and is given what st's had saved.
func (st *stage) successor(set Settings, after time.Duration, f func(next *stage)) {
	st.t.Helper()
	text, err := json.Marshal(st.Save())
	if err != nil {
		st.t.Fatal(err)
	}
	var saved Saved
	if err := json.Unmarshal(text, &saved); err != nil {
		st.t.Fatal(err)
	}
	time.Sleep(after)
	next := newStage(st.t, set)
	next.rt.start = time.Now().Add(-time.Second) // it has just begun
	next.Restore(saved, after)
	keeper := next.rt.Fork(next.Run)
	f(next)
	next.Stop()
	keeper.Wait()
	next.events.Close(next.rt.Now() + time.Minute)
}

// What the breaker has ejected stays out as long as it would have, and latency is known.
func TestRestoreKeepsEjections(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		st.pick(a)
		e := st.eject(a)
		st.Begin(e, st.rt.Now())
		st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Latency: 20 * time.Millisecond, Failed: true}, true)
		ejected := time.Now()
		time.Sleep(3 * time.Second)
		st.successor(Settings{}, 2*time.Second, func(next *stage) {
			next.Update(specs(a, b))
			next.is(a, "ejected by breaker")
			next.is(b, "healthy")
			next.pick(b)
			if s := next.Snapshot()[0]; s.Latency < 5*time.Millisecond || s.Latency > 20*time.Millisecond {
				t.Errorf("latency %v", s.Latency)
			}
			for next.states()[a] == "ejected by breaker" {
				time.Sleep(10 * time.Millisecond)
			}
			if out := time.Since(ejected); out < 10*time.Second || out > 10*time.Second+50*time.Millisecond {
				t.Errorf("ejected for %v over both processes, want 10 s", out)
			}
			next.is(a, "half-open")
		})
	})
}

// An endpoint with a verdict is used at once; one without is waited for. Another check asks anew,
// and what it has not asked about stays.
func TestRestoreKeepsVerdicts(t *testing.T) {
	set := Settings{Check: &Check{Interval: time.Second}, ProbeID: "GET /"}
	onStage(t, set, func(st *stage) {
		st.plant.set(errIll, a)
		st.Update(specs(a, b))
		st.is(a, "ejected by probes")
		st.is(b, "healthy")
		for _, id := range []string{"GET /", "GET /other"} {
			set := set
			set.ProbeID = id
			st.successor(set, time.Second, func(next *stage) {
				next.plant.set(errHole, a, b, c) // verdicts take a second
				next.Update(specs(a, b))
				if next.AwaitReady(next.rt, next.rt.Now()+time.Millisecond) != true {
					t.Error("known endpoints are waited for")
				}
				next.is(a, "ejected by probes")
				next.is(b, "healthy")
				next.pick(b)
			})
		}
		st.successor(Settings{}, 0, func(next *stage) { // no check any more
			next.Update(specs(a, b, c))
			next.is(a, "healthy")
		})
		st.successor(set, 0, func(next *stage) {
			next.plant.set(errHole, c)
			next.Update(specs(a, b, c))
			if next.AwaitReady(next.rt, next.rt.Now()+time.Millisecond) {
				t.Error("a new endpoint is not waited for")
			}
			next.is(c, "probing")
		})
	})
}

// The limit that was found is in force from the first request on, unless the next process finds none, or
// within other bounds.
func TestRestoreKeepsFoundLimits(t *testing.T) {
	onStage(t, found(2, 50), func(st *stage) {
		st.Update(specs(a, b))
		st.saturate(st.at(a), 5*time.Millisecond, 8*time.Second)
		was, limit := st.statusOf(a), st.at(a).Limit()
		if limit > 12 {
			t.Fatalf("a limit of %d was found", limit)
		}
		for _, c := range []struct {
			set      Settings
			limit    int64
			other    int64
			isFound  bool
			baseless bool
		}{
			{found(2, 50), limit, 20, true, false},
			{found(30, 50), 30, 30, true, false},
			{Settings{Overload: Overload{EndpointInFlight: 7}}, 7, 7, false, true},
			{Settings{}, 0, 0, false, true},
		} {
			st.successor(c.set, time.Second, func(next *stage) {
				next.Update(specs(a, b))
				got := next.statusOf(a)
				if got.Limit != c.limit || next.at(b).Limit() != c.other || got.Found != c.isFound {
					t.Errorf("%+v: limits of %d and %d, found %v; want %d and %d", c.set.Overload, got.Limit, next.at(b).Limit(), got.Found, c.limit, c.other)
				}
				if want := map[bool]time.Duration{false: was.Base}[c.baseless]; got.Base != want {
					t.Errorf("%+v: base %v, want %v", c.set.Overload, got.Base, want)
				}
			})
		}
		other := found(2, 50)
		st.Configure(st.with(other))
		if now := st.at(a).Limit(); now != limit {
			t.Errorf("a reload makes of a limit of %d one of %d", limit, now)
		}
	})
	onStage(t, Settings{}, func(st *stage) { // a process that found none
		st.Update(specs(a))
		st.successor(found(2, 50), time.Second, func(next *stage) {
			next.Update(specs(a))
			if limit := next.at(a).Limit(); limit != 20 {
				t.Errorf("a limit of %d, and nothing was known", limit)
			}
		})
	})
}

// What an operator wants goes on in the next process until the same moment; what was over before is
// not taken up again.
func TestRestoreKeepsOverrides(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b, c))
		set := func(address string, k endpoint.OverrideKind, d time.Duration) {
			o := endpoint.Override{Endpoint: endpoint.ID{Scheme: "http", Address: address}, Kind: k, Who: "eve", Weight: 3}
			if k != endpoint.Weigh {
				o.Weight = 0
			}
			if d > 0 {
				o.Until = st.rt.Now() + d
			}
			if _, err := st.Override(o); err != nil {
				t.Fatal(err)
			}
		}
		set(a, endpoint.Drain, 10*time.Second)
		set(b, endpoint.Eject, 0)
		set(c, endpoint.Weigh, 2*time.Second)
		time.Sleep(time.Second)
		st.successor(Settings{}, 2*time.Second, func(next *stage) {
			next.Update(specs(a, b, c))
			next.is(b, "ejected by operator")
			next.pick(c)
			all := next.Overrides()
			if len(all) != 2 || all[0].Who != "eve" || all[0].Absent || all[1].Until != 0 {
				t.Errorf("overrides: %+v", all)
			}
			if left := all[0].Until - next.rt.Now(); left != 7*time.Second {
				t.Errorf("drained for another %v, want 7 s", left)
			}
			time.Sleep(7*time.Second + 10*time.Millisecond)
			if all := next.Overrides(); len(all) != 1 {
				t.Errorf("overrides after the end of one: %+v", all)
			}
			next.pick(a)
		})
	})
}

// What was handed over is good for a minute, and what makes no sense is ignored.
func TestRestoreEnds(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		st.eject(a)
		st.successor(Settings{}, 0, func(next *stage) {
			next.Update(specs(b))
			time.Sleep(savedKept + time.Second)
			next.Update(specs(a, b))
			next.is(a, "healthy")
		})
	})
	for _, s := range []health.Saved{
		{}, {State: "draining"}, {State: "asleep"}, {State: "healthy", Cause: "probes"}, {State: "ejected"},
		{State: "healthy", Fails: -1},
	} {
		if _, ok := s.Machine(time.Second); ok {
			t.Errorf("%+v was accepted", s)
		}
	}
}
