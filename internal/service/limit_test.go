package service

import (
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/concurrency"
	"github.com/poise-lb/poise/policy"
)

// found are settings under which limits are found.
func found(least, most int64) Settings {
	return Settings{Overload: Overload{Found: concurrency.Bounds{Min: least, Max: most}}}
}

// at is the endpoint of an address.
func (st *stage) at(address string) *endpoint.Endpoint {
	all := st.Endpoints()
	return all[slices.IndexFunc(all, func(e *endpoint.Endpoint) bool { return e.ID().Address == address })]
}

// statusOf is the status of the endpoint of an address.
func (st *stage) statusOf(address string) EndpointStatus {
	all := st.Snapshot()
	return all[slices.IndexFunc(all, func(e EndpointStatus) bool { return e.Spec.Address == address })]
}

// saturate keeps as many attempts in flight at the only endpoint as its limit allows, for a time. Each
// is answered after it has waited for those before it: one attempt is worked on at a time.
func (st *stage) saturate(e *endpoint.Endpoint, work, lasts time.Duration) {
	st.t.Helper()
	var began []time.Duration
	for until := st.rt.Now() + lasts; st.rt.Now() < until; {
		for st.Begin(e, st.rt.Now()) {
			began = append(began, st.rt.Now())
		}
		time.Sleep(work)
		now := st.rt.Now()
		st.Settle(e, endpoint.Outcome{Now: now, Began: began[0], Latency: now - began[0]}, true)
		began = began[1:]
	}
	for _, at := range began {
		st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Began: at}, false)
	}
}

// The limit begins with 20, shrinks when answers wait for each other, is the endpoint's own, and
// stays what it is over a reload that does not change how it is made.
func TestLimitsAreFound(t *testing.T) {
	onStage(t, found(2, 50), func(st *stage) {
		st.Update(specs(a, b))
		e, other := st.at(a), st.at(b)
		if e.Limit() != 20 || other.Limit() != 20 {
			t.Fatalf("limits of %d and %d to begin with", e.Limit(), other.Limit())
		}
		st.saturate(e, 5*time.Millisecond, 8*time.Second)
		limit := e.Limit()
		if limit > 12 || limit < 2 || other.Limit() != 20 {
			t.Fatalf("limits of %d and %d under load at the first one", limit, other.Limit())
		}
		if got := st.statusOf(a); !got.Found || got.Limit != limit || got.Base < 4*time.Millisecond || got.Base > 60*time.Millisecond {
			t.Errorf("found %v, limit %d, base %v", got.Found, got.Limit, got.Base)
		}
		st.Configure(st.with(found(1, 60)))
		if e.Limit() != limit {
			t.Errorf("with other bounds the limit is %d, before it was %d", e.Limit(), limit)
		}
		st.Configure(st.with(found(30, 60)))
		if e.Limit() != 30 {
			t.Errorf("with a least limit of 30 it is %d", e.Limit())
		}
	})
}

// What a reload makes of limits.
func TestFoundLimitsFollowTheSettings(t *testing.T) {
	onStage(t, found(2, 50), func(st *stage) {
		st.Update(specs(a))
		e := st.at(a)
		for _, c := range []struct {
			set  Settings
			want int64
		}{{Settings{}, 0}, {Settings{Overload: Overload{EndpointInFlight: 7}}, 7}, {found(2, 9), 9}, {Settings{}, 0}} {
			st.Configure(st.with(c.set))
			if e.Limit() != c.want {
				t.Errorf("the limit is %d, want %d", e.Limit(), c.want)
			}
			if got := st.statusOf(a); got.Found != (c.set.Overload.Found.Max > 0) {
				t.Errorf("found: %v", got.Found)
			}
		}
		for range 30 {
			st.begin(e)
		}
		for range 30 {
			st.end(e)
		}
	})
}

// Requests that wait are called when a limit grows.
func TestGrowingLimitsCallRequests(t *testing.T) {
	o := Overload{Found: concurrency.Bounds{Min: 1, Max: 1}, Queue: 5, QueueTimeout: time.Minute}
	onStage(t, Settings{Overload: o}, func(st *stage) {
		st.Update(specs(a))
		e := st.begin(st.at(a))
		w := st.Join(st.rt, Normal)
		done := st.rt.Fork(func() {
			got, end := st.Await(w, st.rt.Now()+time.Hour, func() *endpoint.Endpoint { return st.PickQueued(&policy.Attempt{}) })
			if got != e || end != QueueServed {
				t.Errorf("%v, %v", got, end)
			} else if st.Begin(got, st.rt.Now()) {
				st.Leave(w, end)
			}
		})
		time.Sleep(10 * time.Millisecond)
		o.Found.Max, o.Found.Min = 2, 2
		st.Configure(st.with(Settings{Overload: o}))
		done.Wait()
		st.end(e)
		st.end(e)
	})
}

// What an attempt says without an answer, and what says nothing.
func TestMeasure(t *testing.T) {
	onStage(t, found(1, 50), func(st *stage) {
		st.Update(specs(a))
		e := st.at(a)
		end := func(n int, took time.Duration, o endpoint.Outcome, counts bool) {
			for range n {
				time.Sleep(2 * time.Millisecond)
				for e.InFlight() < e.Limit() {
					st.begin(e)
				}
				o.Now = st.rt.Now()
				o.Began = o.Now - took
				st.Settle(e, o, counts)
			}
		}
		end(400, 10*time.Millisecond, endpoint.Outcome{Latency: 10 * time.Millisecond}, true)
		base, limit := st.statusOf(a).Base, e.Limit()
		end(400, time.Microsecond, endpoint.Outcome{Latency: time.Microsecond, Failed: true}, true) // 503 at once
		end(400, 3*time.Second, endpoint.Outcome{Failed: true, Unreached: true}, true)
		end(400, time.Microsecond, endpoint.Outcome{}, false) // the client left
		if got := st.statusOf(a).Base; got != base || e.Limit() < limit {
			t.Errorf("base %v, limit %d, before %v, %d", got, e.Limit(), base, limit)
		}
		end(400, 2*time.Second, endpoint.Outcome{}, false)
		if e.Limit() >= limit {
			t.Errorf("after clients left that had waited for 2 s the limit is %d", e.Limit())
		}
		for e.InFlight() > 0 {
			st.end(e)
		}
	})
}
