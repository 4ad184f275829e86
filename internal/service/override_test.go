package service

import (
	"errors"
	"fmt"
	"log/slog"
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

// operate has an operator say something of an endpoint, for a time or, with 0, until it is removed.
func (st *stage) operate(k endpoint.OverrideKind, address string, during time.Duration) {
	st.t.Helper()
	o := endpoint.Override{Endpoint: specs(address)[0].ID, Kind: k, Weight: 1, Who: "zhao", Why: "test"}
	if during > 0 {
		o.Until = st.rt.Now() + during
	}
	if _, err := st.Override(o); err != nil {
		st.t.Fatal(err)
	}
}

// revoke has an operator take something back.
func (st *stage) revoke(k endpoint.OverrideKind, address string) {
	st.t.Helper()
	if _, err := st.RemoveOverride(specs(address)[0].ID, k, "li"); err != nil {
		st.t.Fatal(err)
	}
}

// inForce lists what is in force, as "drain 10.0.0.1:80".
func (st *stage) inForce() (all []string) {
	for _, o := range st.Overrides() {
		s := o.String() + " " + o.Endpoint.Address
		if o.Absent {
			s += " absent"
		}
		all = append(all, s)
	}
	return all
}

// logged gives st an observer that is the log.
func (st *stage) logged() *logbook {
	log := &logbook{}
	st.events.Observe("log", event.Log(slog.New(slog.NewTextHandler(log, nil))))
	return log
}

func TestADrainedEndpointGetsNoNewRequestsAndIsProbed(t *testing.T) {
	for _, check := range []*Check{nil, everySecond} {
		onGuardedStage(t, Settings{Check: check, SlowStart: SlowStart{Window: 10 * time.Second}}, func(st *stage) {
			st.take(a, b)
			time.Sleep(2 * time.Second)
			e := st.pick(a)
			st.Begin(e, st.rt.Now())

			st.operate(endpoint.Drain, a, 0)
			st.pick(b)
			if st.Keep(new(policy.Attempt), e) != nil {
				t.Error("a client whose connection is bound to it goes on with it")
			}
			st.uses(b)
			if n := len(st.view.Load().members); n != 2 {
				t.Errorf("%d members, want 2: keys must come home", n)
			}
			st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Latency: time.Millisecond}, true)
			st.operate(endpoint.Drain, b, 0)
			st.pick("")
			if st.Panic() || st.Resorting() {
				t.Error("an operator's word is doubted")
			}
			probes := len(st.plant.times(a))
			time.Sleep(10 * time.Second)
			st.uses()
			if n := len(st.plant.times(a)); (n > probes) != (check != nil) {
				t.Errorf("%d probes before, %d after 10 s", probes, n)
			}

			st.revoke(endpoint.Drain, a)
			st.pick(a) // at once: its state is current
			if m := Of(e); m.slowUntil == 0 {
				t.Error("no slow start")
			}
			st.uses(a)
		})
	}
}

// What an operator says holds on return, though views are built some milliseconds apart only.
func TestADrainHoldsOnReturn(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a, b))
		time.Sleep(2 * buildEvery)
		st.operate(endpoint.Eject, b, 0) // the view has only a now, and the next one must wait
		st.pick(a)
		st.operate(endpoint.Admit, b, 0)
		st.operate(endpoint.Drain, a, 0)
		st.pick(b)
		st.operate(endpoint.Drain, b, 0)
		st.pick("")
		st.revoke(endpoint.Drain, b)
		st.pick(b)
	})
}

func TestAnOperatorsEjectionIsNotDoubted(t *testing.T) {
	onGuardedStage(t, Settings{Check: everySecond, PanicThreshold: 100}, func(st *stage) {
		st.take(a, b, c)
		time.Sleep(2 * time.Second)
		e := st.pick(a)
		st.operate(endpoint.Eject, a, 0)
		st.pick(b)
		if !st.Ejected(e) {
			t.Error("an exchange goes on waiting for it")
		}
		st.is(a, "ejected by operator")
		time.Sleep(10 * time.Second) // its probes pass
		st.is(a, "ejected by operator")
		st.uses(b, c)
		if st.Panic() {
			t.Error("it counts as failing")
		}
		// Panic mode and the last resort use b, but not a.
		st.plant.set(errIll, b)
		st.plant.set(engine.ErrRefused, c)
		time.Sleep(10 * time.Second)
		st.is(b, "ejected by probes")
		st.uses(b)
		st.operate(endpoint.Eject, b, 0)
		st.operate(endpoint.Eject, c, 0)
		st.pick("")
		if !st.Ejected(e) || st.Panic() || st.Resorting() {
			t.Error("panic mode or the last resort doubts an operator")
		}
		// When it is over each is where its probes have brought it.
		for _, address := range []string{a, b, c} {
			st.revoke(endpoint.Eject, address)
		}
		st.is(a, "healthy")
		st.is(b, "ejected by probes")
		st.is(c, "ejected by probes")
	})
}

func TestAnAdmittedEndpointIsHealthyAtOnce(t *testing.T) {
	onStage(t, Settings{Check: everySecond}, func(st *stage) {
		log := st.logged()
		st.plant.set(errIll, a)
		st.Update(specs(a, b))
		time.Sleep(time.Second)
		st.is(a, "ejected by probes")
		st.operate(endpoint.Admit, a, 0)
		st.is(a, "healthy")
		st.pick(a)
		time.Sleep(3500 * time.Millisecond) // three probes fail
		st.is(a, "ejected by probes")

		st.plant.set(nil, a)
		time.Sleep(3 * time.Second)
		st.eject(a)
		st.is(a, "ejected by breaker")
		st.operate(endpoint.Eject, a, 0)
		st.operate(endpoint.Admit, a, 0)
		st.is(a, "healthy")
		if got := st.inForce(); got != nil {
			t.Errorf("in force: %v", got)
		}
		for _, want := range []string{`override: admit"`, "admitted by an operator", "reason=replaced who=zhao"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log has no %s:\n%s", want, log)
			}
		}
	})
}

// Overrides end by their instant, by removal, or by another one, and each end is logged. They
// outlive the endpoint and every configuration.
func TestOverridesBelongToTheIdentity(t *testing.T) {
	onGuardedStage(t, Settings{Guard: Guard{MaxRemoval: -1}}, func(st *stage) {
		log := st.logged()
		st.take(a, b)
		st.operate(endpoint.Drain, a, 100*time.Second)
		st.operate(endpoint.Eject, b, 0)
		st.take(a)
		time.Sleep(10 * time.Second) // b is gone
		st.Renew()
		st.Configure(st.with(Settings{Policy: policy.RoundRobin()}))
		if got := fmt.Sprint(st.inForce()); got != "[drain 10.0.0.1:80 eject 10.0.0.2:80 absent]" {
			t.Errorf("in force: %s", got)
		}
		st.take(b)
		time.Sleep(10 * time.Second) // a is gone
		st.is(b, "ejected by operator")
		st.uses()
		st.take(a, b, c)
		st.uses(c) // from the start
		st.takeOut([]string{b}, a, b, c)
		st.takeOut(nil, a, b, c)
		st.uses(c)
		st.operate(endpoint.Drain, b, 0) // in place of the ejection
		st.is(b, "healthy")
		st.uses(c)
		time.Sleep(99*time.Second - st.rt.Now() + st.Overrides()[0].Made)
		st.uses(c)
		time.Sleep(time.Second)
		st.uses(a, c)
		st.revoke(endpoint.Drain, b)
		st.uses(a, b, c)
		for _, want := range []string{
			`override: drain" endpoint=http://10.0.0.1:80 who=zhao why=test for=1m40s`,
			`override ended: eject" endpoint=http://10.0.0.2:80 reason=replaced who=zhao`,
			`override ended: drain" endpoint=http://10.0.0.1:80 reason=expired`,
			`override ended: drain" endpoint=http://10.0.0.2:80 reason=removed who=li`,
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log has no %s:\n%s", want, log)
			}
		}
		// One that ends while the endpoint is away does not come back with it.
		st.operate(endpoint.Eject, a, 30*time.Second)
		st.take(b, c)
		time.Sleep(time.Minute)
		st.take(a, b, c)
		st.uses(a, b, c)
	})
}

// One whose removal is taken back while it drains obeys what was said meanwhile.
func TestADrainingEndpointComesBackAsItWasWanted(t *testing.T) {
	onGuardedStage(t, Settings{Guard: Guard{MaxRemoval: -1}}, func(st *stage) {
		st.take(a, b)
		e := st.pick(a)
		st.Begin(e, st.rt.Now()) // so that it is not gone
		st.operate(endpoint.Eject, a, 0)
		st.take(b)
		st.revoke(endpoint.Eject, a)
		st.take(a, b)
		st.is(a, "healthy")
		if st.pick(a) != e {
			t.Error("another endpoint")
		}
		st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Latency: time.Millisecond}, true)
	})
}

func TestAnOperatorsWeightStandsForTheSources(t *testing.T) {
	onStage(t, Settings{Policy: policy.WeightedRoundRobin()}, func(st *stage) {
		name := func(weights ...float64) {
			time.Sleep(2 * buildEvery)
			set := specs(a, b)
			for i := range set {
				set[i].Weight = weights[i]
			}
			st.Update(set)
		}
		share := func(want float64) {
			t.Helper()
			if got := st.shares(1000, false)[a]; got < want-0.01 || got > want+0.01 {
				t.Errorf("a has a share of %.3f, want %.3f", got, want)
			}
		}
		name(1, 1)
		id := specs(a)[0].ID
		time.Sleep(2 * buildEvery)
		if _, err := st.Override(endpoint.Override{Endpoint: id, Kind: endpoint.Weigh, Weight: 0.25, Until: st.rt.Now() + time.Minute}); err != nil {
			t.Fatal(err)
		}
		share(0.2)
		name(1, 3) // the source goes on naming weights
		share(0.25 / 3.25)
		time.Sleep(time.Minute)
		synctest.Wait()
		share(0.25)
	})
}

// The guard and the panic threshold look at those that are in use.
func TestTheDrainedDoNotCount(t *testing.T) {
	const e = "10.0.0.9:80"
	onGuardedStage(t, Settings{Check: everySecond}, func(st *stage) {
		st.take(a, b, c, e)
		time.Sleep(2 * time.Second)
		st.operate(endpoint.Drain, a, 0)
		st.operate(endpoint.Eject, b, 0)
		st.plant.set(errIll, c)
		time.Sleep(5 * time.Second)
		if st.Panic() {
			t.Error("panic mode, with 1 of 2 endpoints in use")
		}
		st.plant.set(nil, c)
		time.Sleep(5 * time.Second)
		st.take(a, b, c) // one of the two in use
		if st.Source().Held != 0 {
			t.Errorf("%d are held", st.Source().Held)
		}
		st.take(a, b) // the last one in use
		if st.Source().Held != 1 {
			t.Errorf("%d are held, want the last one in use", st.Source().Held)
		}
		st.take(c, e) // a full replacement of the one in use
		st.uses(c, e)
	})
}

// The keys of a drained endpoint move, no others do, and all come back.
func TestKeysOfADrainedEndpointComeBack(t *testing.T) {
	for _, kind := range []endpoint.OverrideKind{endpoint.Drain, endpoint.Eject} {
		onStage(t, Settings{Policy: policy.ConsistentHash(policy.HashConfig{})}, func(st *stage) {
			all := addresses(5)
			st.Update(specs(all...))
			owners := func() (of [1000]string) {
				time.Sleep(2 * buildEvery)
				for i := range of {
					at := policy.Attempt{Key: policy.Hash([]byte(fmt.Sprint(i))), Now: st.rt.Now()}
					of[i] = st.Pick(&at).ID().Address
				}
				return of
			}
			before := owners()
			st.operate(kind, all[1], time.Minute)
			moved := 0
			for i, now := range owners() {
				if now != before[i] {
					moved++
				}
				if (now != before[i]) != (before[i] == all[1]) {
					t.Fatalf("key %d went from %s to %s", i, before[i], now)
				}
			}
			if moved == 0 {
				t.Error("no key has moved: the test proves nothing")
			}
			time.Sleep(time.Minute)
			if owners() != before {
				t.Error("the keys have not come back")
			}
		})
	}
}

func TestOverridesThatCannotBe(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a))
		id := endpoint.ID{Scheme: "http", Address: b}
		if _, err := st.Override(endpoint.Override{Endpoint: id}); !errors.Is(err, ErrNoEndpoint) {
			t.Error(err)
		}
		if _, err := st.RemoveOverride(specs(a)[0].ID, endpoint.Drain, ""); !errors.Is(err, ErrNoOverride) {
			t.Error(err)
		}
		st.operate(endpoint.Eject, a, 0)
		if _, err := st.RemoveOverride(specs(a)[0].ID, endpoint.Drain, ""); !errors.Is(err, ErrNoOverride) {
			t.Error(err)
		}
	})
}

// A service that stops ends its overrides, and says so before its own end.
func TestOverridesEndWithTheirService(t *testing.T) {
	var ends []event.Detail
	onStage(t, Settings{}, func(st *stage) {
		st.events.Observe("ends", event.Func(func(e event.Event) {
			switch e.Detail.(type) {
			case event.OverrideEnded, event.ServiceStopped:
				ends = append(ends, e.Detail)
			}
		}))
		st.Take(discovery.Update{Endpoints: specs(a)})
		st.operate(endpoint.Drain, a, 0)
		st.operate(endpoint.Weigh, a, 0)
	})
	if len(ends) != 3 || ends[0].(event.OverrideEnded).Reason != event.OverrideDropped || ends[2] != (event.ServiceStopped{}) {
		t.Errorf("%+v", ends)
	}
}
