package service

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// shares makes n requests, which each take no time, and returns the share of each endpoint.
func (st *stage) shares(n int, key bool) map[string]float64 {
	got := map[string]float64{}
	for i := range n {
		a := policy.Attempt{Rand: st.rt.Rand(), Seq: uint64(i), Now: st.rt.Now()}
		if key {
			a.Key = policy.Hash([]byte(fmt.Sprint(i)))
		}
		e := st.Pick(&a)
		st.attempt(e, false)
		got[e.ID().Address] += 1 / float64(n)
	}
	return got
}

func TestSlowStart(t *testing.T) {
	policies := map[string]policy.Policy{
		"p2c": policy.P2C(), "round_robin": policy.RoundRobin(), "weighted_round_robin": policy.WeightedRoundRobin(),
		"least_connections": policy.LeastConnections(), "random": policy.Random(),
		"consistent_hash": policy.ConsistentHash(policy.HashConfig{Algorithm: policy.Maglev}),
	}
	for name, p := range policies {
		t.Run(name, func(t *testing.T) {
			onStage(t, Settings{Policy: p, SlowStart: SlowStart{Window: 20 * time.Second}}, func(st *stage) {
				const n = 4000
				near := func(when, address string, want float64) {
					t.Helper()
					got := st.shares(n, name == "consistent_hash")[address]
					if got < want*0.75-0.01 || got > want*1.25+0.01 {
						t.Errorf("%s: %s has a share of %.3f, want %.3f", when, address, got, want)
					}
				}
				st.Update(specs(a, b))
				synctest.Wait()
				near("at the start", a, 0.5)
				st.renew(a, b, c)
				near("when c joins", c, 0.1/3)
				time.Sleep(10 * time.Second)
				near("half way", c, 0.55/3)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				near("at the end", c, 1.0/3)
				for _, e := range st.Endpoints() {
					if e.ID().Address != a {
						continue
					}
					for range 5 {
						st.attempt(e, true)
					}
				}
				st.is(a, "ejected by breaker")
				time.Sleep(11 * time.Second)
				for st.states()[a] != "healthy" {
					st.shares(1, false)
				}
				near("after an ejection", a, 0.1/3)
				if s := st.Snapshot(); s[0].Slow == 0 || s[1].Slow != 0 {
					t.Errorf("the status does not show who starts slowly: %+v", s)
				}
				st.Configure(st.with(Settings{Policy: p}))
				if s := st.Snapshot(); s[0].Slow != 0 {
					t.Error("a window goes on although slow start was switched off")
				}
				time.Sleep(time.Minute) // the failures are forgotten
				near("without a slow start", a, 1.0/3)
			})
		})
	}
}

// TestSlowStartKeepsKeysAtHome: a key that has returned to its endpoint stays there.
func TestSlowStartKeepsKeysAtHome(t *testing.T) {
	set := Settings{Policy: policy.ConsistentHash(policy.HashConfig{}), SlowStart: SlowStart{Window: 10 * time.Second}}
	onStage(t, set, func(st *stage) {
		st.Update(specs(a, b))
		synctest.Wait()
		st.renew(a, b, c)
		at := func(key uint64) string {
			q := policy.Attempt{Key: key*2654435761 + 1, Rand: st.rt.Rand(), Now: st.rt.Now()}
			return st.Pick(&q).ID().Address
		}
		moves := map[uint64]int{}
		was := map[uint64]string{}
		for range 50 {
			for key := range uint64(200) {
				if now := at(key); was[key] != now {
					was[key] = now
					moves[key]++
				}
			}
			time.Sleep(time.Second / 4)
		}
		home := 0
		for key, n := range moves {
			if n > 2 {
				t.Errorf("key %d moved %d times", key, n-1)
			}
			if was[key] == c {
				home++
			}
		}
		if home < 30 {
			t.Errorf("%d of 200 keys are at the new endpoint", home)
		}
	})
}

// TestSlowStartOfAll: where nothing else is there, endpoints in their window serve.
func TestSlowStartOfAll(t *testing.T) {
	onStage(t, Settings{Policy: policy.P2C(), SlowStart: SlowStart{Window: time.Minute}}, func(st *stage) {
		st.Update(nil)
		synctest.Wait()
		st.renew(a)
		for range 100 {
			st.attempt(st.pick(a), false)
		}
		st.renew(a, b)
		got := st.shares(1000, false)
		if got[a] < 0.3 || got[b] < 0.3 {
			t.Errorf("shares of two endpoints in their window: %v", got)
		}
		var e *endpoint.Endpoint
		if n := testing.AllocsPerRun(100, func() { e = st.pick0() }); n > 1 || e == nil { // the Attempt of pick0
			t.Errorf("%v allocations", n)
		}
	})
}
