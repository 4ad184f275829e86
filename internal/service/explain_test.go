package service

import (
	"reflect"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/policy"
)

// Explain takes no trial of a half-open endpoint, no turn of the last resort and no number, and
// moves no share.
func TestExplainChangesNothing(t *testing.T) {
	for name, p := range map[string]policy.Policy{
		"weighted": policy.WeightedRoundRobin(), "p2c": policy.P2C(), "hash": policy.ConsistentHash(policy.HashConfig{BoundedLoad: 1.25}),
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, Settings{Policy: p, Breaker: health.Breaker{OpenFor: time.Second}}, func(st *stage) {
				st.Update(specs(a, b, c))
				for range 5 {
					st.attempt(st.view.Load().members[0], true)
				}
				time.Sleep(1100 * time.Millisecond) // half-open, one trial
				st.is(a, "half-open")
				for _, e := range st.view.Load().members[1:] {
					for range 5 {
						st.attempt(e, true)
					}
				}
				time.Sleep(2 * buildEvery)
				before, seq, tasks := st.Snapshot(), st.load.seq.Load(), st.rt.tasks.Load()
				mode := st.mode(a)
				said := st.Explain(0, 0, 1000)
				if after := st.Snapshot(); !reflect.DeepEqual(before, after) {
					t.Errorf("before %+v\nafter %+v", before, after)
				}
				if st.load.seq.Load() != seq || st.rt.tasks.Load() != tasks || st.mode(a) != mode || mode != modeTrial+1 {
					t.Errorf("numbers, tasks or the mode %d changed", mode)
				}
				if said.Candidates[0].Draws == 0 {
					t.Errorf("the half-open endpoint was never drawn: %+v", said)
				}
			})
		})
	}
}

func (st *stage) mode(address string) int32 {
	st.Service.mu.Lock()
	defer st.Service.mu.Unlock()
	for id, m := range st.byID {
		if id.Address == address {
			return m.mode.Load()
		}
	}
	return -1
}

// The frequencies follow the weights, within the bounds of chance: chi-square of 3 degrees of
// freedom is above 16.27 once in a thousand. The numbers are the same in every run.
func TestExplainFollowsWeights(t *testing.T) {
	for name, p := range map[string]policy.Policy{
		"random": policy.Random(), "weighted": policy.WeightedRoundRobin(),
		"hash": policy.ConsistentHash(policy.HashConfig{Algorithm: policy.Rendezvous}),
	} {
		onStage(t, Settings{Policy: p}, func(st *stage) {
			list := specs(addresses(4)...)
			for i, w := range []float64{1, 2, 3, 4} {
				list[i].Weight = w
			}
			st.Update(list)
			said := st.Explain(0, 0, 1000)
			sum := 0.0
			for i := range said.Candidates {
				c := &said.Candidates[i]
				want := said.Expected(c) * 1000
				if want != float64(100*(i+1)) {
					t.Errorf("%s: %v expected of endpoint %d", name, want, i)
				}
				sum += (float64(c.Draws) - want) * (float64(c.Draws) - want) / want
			}
			if sum > 16.27 {
				t.Errorf("%s: chi-square %v: %+v", name, sum, said)
			}
		})
	}
}

// What Explain draws is what Pick picks, with the same numbers.
func TestExplainDrawsAsPickDoes(t *testing.T) {
	onStage(t, Settings{Policy: policy.PeakEWMA()}, func(st *stage) {
		st.Update(specs(addresses(5)...))
		for i, e := range st.view.Load().members {
			for range i {
				st.Begin(e, st.rt.Now())
			}
		}
		drawn := make(map[string]int)
		at := policy.Attempt{Now: st.rt.Now(), Rand: explainSeed, Seq: st.load.seq.Load()}
		for range 1000 {
			at.Rand, at.Seq = scramble(at.Rand+explainSeed), at.Seq+1
			drawn[st.Pick(&at).ID().Address]++
		}
		for _, one := range st.Explain(0, 0, 1000).Candidates {
			if one.Draws != drawn[one.Spec.Address] {
				t.Errorf("%s: %d draws, %d picks", one.Spec.Address, one.Draws, drawn[one.Spec.Address])
			}
		}
	})
}

func TestExplainOfAKey(t *testing.T) {
	onStage(t, Settings{Policy: policy.ConsistentHash(policy.HashConfig{BoundedLoad: 1.25})}, func(st *stage) {
		st.Update(specs(addresses(4)...))
		key := policy.Hash([]byte("user 7"))
		said := st.Explain(key, 0, 100)
		if said.Owner != said.Serves || said.Spill == said.Owner || said.Spill.Address == "" {
			t.Fatalf("idle: %+v", said)
		}
		home := st.Pick(&policy.Attempt{Key: key})
		for range 12 { // the home is full: the key goes on
			st.Begin(home, st.rt.Now())
		}
		busy := st.Explain(key, 0, 100)
		if busy.Owner != said.Owner || busy.Serves != said.Spill {
			t.Errorf("busy: owner %v, serves %v, want %v, %v", busy.Owner, busy.Serves, said.Owner, said.Spill)
		}
		for range 5 { // ejected: it is the owner still
			st.attempt(home, true)
		}
		time.Sleep(2 * buildEvery)
		if gone := st.Explain(key, 0, 100); gone.Owner != said.Owner || gone.Serves == said.Owner {
			t.Errorf("ejected: owner %v, serves %v", gone.Owner, gone.Serves)
		}
	})
}

// A custom picker that panics is asked all the same, and nothing is published for it.
func TestExplainSurvivesACustomPolicy(t *testing.T) {
	onStage(t, Settings{Policy: wild{}, Custom: true}, func(st *stage) {
		st.Update(specs(a, b))
		if said := st.Explain(0, 0, 100); said.Nothing > 0 || said.Candidates[0].Draws == 0 {
			t.Errorf("%+v", said)
		}
		if err := st.Fault(); err != nil {
			t.Errorf("published: %v", err)
		}
	})
}

// wild is a policy whose picker panics at every other pick.
type wild struct{}

func (wild) Build(_, usable []*endpoint.Endpoint, _ policy.Picker) policy.Picker {
	return &wildPicker{usable: usable}
}

type wildPicker struct{ usable []*endpoint.Endpoint }

func (p *wildPicker) Pick(a *policy.Attempt) *endpoint.Endpoint {
	if a.Rand%2 == 0 {
		panic("at random")
	}
	return p.usable[0]
}

// The turn of a last resort, which comes once a second, is left to requests.
func TestExplainTakesNoTurnOfTheLastResort(t *testing.T) {
	onStage(t, Settings{PanicThreshold: -1, Breaker: health.Breaker{OpenFor: time.Hour}}, func(st *stage) {
		st.Update(specs(a, b))
		e := st.eject(a)
		st.renew(a)
		time.Sleep(1100 * time.Millisecond)
		resort, ahead := Of(e).resortAt.Load(), Of(e).aheadAt.Load()
		said := st.Explain(0, 0, 100)
		if !said.Resorting || said.Candidates[0].Draws != 100 || said.Eligible() != 0 {
			t.Errorf("%+v", said)
		}
		if Of(e).resortAt.Load() != resort || Of(e).aheadAt.Load() != ahead || resort == 0 {
			t.Error("a turn was taken")
		}
		if st.Pick(&policy.Attempt{Now: st.rt.Now()}) != e {
			t.Error("the turn is gone")
		}
	})
}
