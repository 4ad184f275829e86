package service

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/policy"
)

// begin begins an attempt at e.
func (st *stage) begin(e *endpoint.Endpoint) *endpoint.Endpoint {
	st.t.Helper()
	if !st.Begin(e, st.rt.Now()) {
		st.t.Fatalf("%v has no place", e.ID())
	}
	return e
}

// end ends an attempt at e with a success.
func (st *stage) end(e *endpoint.Endpoint) {
	st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Latency: time.Millisecond}, true)
}

// waits wants that Pick finds no place.
func (st *stage) waits(tried ...*endpoint.Endpoint) {
	st.t.Helper()
	a := policy.Attempt{Rand: 2}
	for _, e := range tried {
		a.Tried.Add(e)
	}
	if e := st.Pick(&a); e != policy.Wait {
		st.t.Fatalf("picked %v, want Wait", e)
	}
}

// A full endpoint is picked only if it has a place again, whatever the policy says, and a Begin that
// comes too late is refused.
func TestPickAvoidsFullEndpoints(t *testing.T) {
	onStage(t, Settings{Overload: Overload{EndpointInFlight: 2}}, func(st *stage) {
		st.Update(specs(a, b, c))
		first := st.pick(a)
		st.begin(first)
		st.begin(st.pick(a))
		if st.Begin(first, st.rt.Now()) {
			t.Fatal("a third attempt at a")
		}
		second := st.begin(st.pick(b))
		st.begin(st.pick(b))
		st.pick(c, second)
		st.begin(st.pick(c))
		third := st.begin(st.pick(c))
		st.waits()
		st.pick("", first, second, third) // all were tried: it is no question of places
		if st.PickAgain(&policy.Attempt{}, true) != nil || st.PickAgain(&policy.Attempt{}, false) != policy.Wait {
			t.Fatal("a further attempt gets an endpoint that is full")
		}
		st.end(second)
		st.pick(b)
		for _, e := range []*endpoint.Endpoint{first, first, second, third, third} {
			st.end(e)
		}
		if got := st.Queue(); got.InFlight != 0 {
			t.Fatalf("%+v", got)
		}
	})
}

// More endpoints are full than Pick looks at by the policy.
func TestPickFindsTheLastPlace(t *testing.T) {
	for name, p := range map[string]policy.Policy{"first": nil, "p2c": policy.P2C(), "hash": policy.ConsistentHash(policy.HashConfig{}), "least": policy.LeastTime()} {
		t.Run(name, func(t *testing.T) {
			onStage(t, Settings{Policy: p, Overload: Overload{EndpointInFlight: 1}}, func(st *stage) {
				st.Update(specs(addresses(40)...))
				for range 40 {
					e := st.Pick(&policy.Attempt{Rand: st.rt.Rand(), Now: st.rt.Now()})
					if e == nil || e == policy.Wait {
						t.Fatal("no place, and yet there is one")
					}
					st.begin(e)
				}
				st.waits()
				for _, e := range st.view.Load().usable {
					if !e.Full() {
						t.Errorf("%v has a place", e.ID())
					}
					st.end(e)
				}
			})
		})
	}
}

// The bound of the service counts attempts at all endpoints.
func TestTheBoundOfAService(t *testing.T) {
	onStage(t, Settings{Overload: Overload{InFlight: 2}}, func(st *stage) {
		st.Update(specs(a, b))
		e := st.begin(st.pick(a))
		st.begin(e)
		st.waits()
		if st.Begin(e, st.rt.Now()) {
			t.Fatal("a third attempt")
		}
		// A further attempt may follow one that has its place still.
		if st.PickAgain(&policy.Attempt{}, false) != e {
			t.Fatal("no further attempt")
		}
		st.end(e)
		st.pick(a)
		st.end(e)
		st.Configure(st.with(Settings{}))
		for range 10 {
			st.begin(st.pick(a))
		}
		for range 10 {
			st.end(e)
		}
	})
}

// A limit is that of the settings in force, also of endpoints that come later.
func TestLimitsFollowTheSettings(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a))
		e := st.pick(a)
		if e.Limit() != 0 || st.mode(a) != modeCalm {
			t.Fatal("a limit without a bound")
		}
		st.begin(e)
		st.Configure(st.with(Settings{Overload: Overload{EndpointInFlight: 1}}))
		st.waits() // what began before counts
		st.renew(a, b)
		st.begin(st.pick(b))
		st.waits()
		st.end(e)
		st.pick(a)
		st.SetLimit(e, 3)
		for range 3 {
			st.begin(st.pick(a))
		}
		st.waits()
		st.Configure(st.with(Settings{}))
		st.pick(a)
		if e.Limit() != 0 || st.mode(a) != modeCalm {
			t.Fatal("a limit without a bound")
		}
		for range 3 {
			st.end(e)
		}
	})
}

// Endpoints that are full do not make the last resort of ejected ones, and one that is half-open gives
// its trial back if its place is gone.
func TestFullAndEjected(t *testing.T) {
	onStage(t, Settings{Overload: Overload{EndpointInFlight: 1}, Breaker: health.Breaker{OpenFor: time.Second}}, func(st *stage) {
		st.Update(specs(a, b))
		ejected := st.eject(a)
		other := st.begin(st.pick(b))
		time.Sleep(500 * time.Millisecond)
		st.waits()
		time.Sleep(600 * time.Millisecond)
		st.is(a, "half-open")
		if st.pick(a) != ejected || st.mode(a)&^modeBounded != modeTrial {
			t.Fatal("no trial")
		}
		ejected.Begin(st.rt.Now())
		if st.Begin(ejected, st.rt.Now()) {
			t.Fatal("a second attempt")
		}
		if st.mode(a)&^modeBounded != modeTrial+1 {
			t.Fatal("the trial is lost")
		}
		ejected.End(endpoint.Outcome{Now: st.rt.Now()})
		st.end(other)
	})
}

// waiting has every second request wait.
type waiting struct{ firstPicker }

func (w waiting) Pick(a *policy.Attempt) *endpoint.Endpoint {
	if a.Seq%2 == 1 {
		return policy.Wait
	}
	return w.firstPicker.Pick(a)
}

type waitingPolicy struct{}

func (waitingPolicy) Build(_, usable []*endpoint.Endpoint, _ policy.Picker) policy.Picker {
	return waiting{firstPicker(usable)}
}

// A policy that says "wait" is heard if there is a queue, and else as if it had said nothing.
func TestThePolicyCanSayWait(t *testing.T) {
	onStage(t, Settings{Policy: waitingPolicy{}, Custom: true}, func(st *stage) {
		st.Update(specs(a, b))
		if e := st.Pick(&policy.Attempt{Seq: 1}); e == nil || e == policy.Wait {
			t.Fatal("it waits without a queue")
		}
		st.Configure(st.with(Settings{Policy: waitingPolicy{}, Custom: true, Overload: Overload{Queue: 1}}))
		if e := st.Pick(&policy.Attempt{Seq: 1}); e != policy.Wait {
			t.Fatal("it does not wait")
		}
		st.pick(a)
		if st.PickAgain(&policy.Attempt{Seq: 1}, true) != nil {
			t.Fatal("a hedge that should wait")
		}
		if x := st.Explain(0, 0, 10); x.Waits != 5 {
			t.Fatalf("%+v", x)
		}
	})
}

// An endpoint that is full, and a hedge while others wait, take no trial of a half-open endpoint: no
// attempt follows that would give it back.
func TestNoTrialIsTakenWithoutAPlace(t *testing.T) {
	onStage(t, Settings{Breaker: health.Breaker{OpenFor: time.Second}, Overload: Overload{EndpointInFlight: 1, Queue: 5}}, func(st *stage) {
		st.Update(specs("a:80", "b:80"))
		e := st.view.Load().members[0]
		for range 5 {
			st.attempt(e, true)
		}
		time.Sleep(1100 * time.Millisecond)
		st.is("a:80", "half-open")
		e.Begin(st.rt.Now()) // from before its ejection
		if got := st.Keep(new(policy.Attempt), e); got != policy.Wait {
			t.Errorf("a full endpoint: %v, want policy.Wait", got)
		}
		e.End(endpoint.Outcome{})
		w := st.Join(st.rt, Normal)
		if got := st.PickHedge(&policy.Attempt{Now: st.rt.Now()}); got != nil {
			t.Errorf("a hedge while a request waits: %v", got)
		}
		st.Leave(w, QueueLeft)
		if got := st.Keep(new(policy.Attempt), e); got != e {
			t.Errorf("its trial was taken: %v", got)
		}
	})
}
