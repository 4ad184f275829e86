package service

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// laned are endpoints by address, with the version of each; "": it has none.
func laned(versions map[string]string) (all []endpoint.Spec) {
	for _, a := range slices.Sorted(maps.Keys(versions)) {
		spec := specs(a)[0]
		spec.Metadata = map[string]string{"team": "shop"}
		if v := versions[a]; v != "" {
			spec.Metadata["version"] = v
		}
		all = append(all, spec)
	}
	return all
}

// within picks for a lane until nothing is left, and returns the addresses in that order.
func (st *stage) within(lane uint64, seed uint64) (picked []string) {
	a := policy.Attempt{Lane: lane, Now: st.rt.Now(), Seq: seed, Key: scramble(seed)}
	for i := range uint64(policy.AttemptsMax) {
		a.Rand = scramble(seed*31 + i)
		e := st.Pick(&a)
		if i%2 == 1 {
			e = st.PickAgain(&a, false)
		}
		if e == nil {
			break
		}
		a.Tried.Add(e)
		picked = append(picked, e.ID().Address)
	}
	return picked
}

func lanePolicies() map[string]policy.Policy {
	all := map[string]policy.Policy{
		"least_time": policy.LeastTime(), "p2c": policy.P2C(), "round_robin": policy.RoundRobin(), "random": policy.Random(),
		"weighted_round_robin": policy.WeightedRoundRobin(), "least_connections": policy.LeastConnections(), "peak_ewma": policy.PeakEWMA(),
	}
	for _, algorithm := range []string{policy.Ring, policy.Maglev, policy.Rendezvous} {
		all[algorithm] = policy.ConsistentHash(policy.HashConfig{Algorithm: algorithm, BoundedLoad: 1.25})
	}
	return all
}

// TestLanesAgainstTheTable: with every policy and every way on, an attempt gets the endpoints of its lane
// first, then those that the table in lanes.go says, and never another one.
func TestLanesAgainstTheTable(t *testing.T) {
	versions := map[string]string{"a": "v1", "b": "v1", "c": "v2", "d": "", "e": "", "f": "v3"}
	in := func(version string) (all []string) {
		for a, v := range versions {
			if v == version {
				all = append(all, a)
			}
		}
		slices.Sort(all)
		return all
	}
	everything := slices.Sorted(maps.Keys(versions))
	for name, p := range lanePolicies() {
		for _, otherwise := range []Otherwise{AnyEndpoint, Unlabelled, NoEndpoint} {
			rest := map[Otherwise][]string{AnyEndpoint: everything, Unlabelled: in(""), NoEndpoint: nil}[otherwise]
			t.Run(fmt.Sprint(name, otherwise), func(t *testing.T) {
				onStage(t, Settings{Policy: p, Lanes: &Lanes{Label: "version", Otherwise: otherwise}}, func(st *stage) {
					st.Update(laned(versions))
					for seed := range uint64(40) {
						for _, version := range []string{"v1", "v2", "v3", "v9"} {
							first, got := in(version), st.within(LaneOf([]byte(version)), seed)
							want := slices.Clone(first)
							for _, a := range rest {
								if !slices.Contains(want, a) {
									want = append(want, a)
								}
							}
							if n := len(first); len(got) != len(want) || !slices.Equal(slices.Sorted(slices.Values(got[:n])), first) ||
								!slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
								t.Fatalf("%s got %v, want %v first, then the rest of %v", version, got, first, want)
							}
						}
						want := in("")
						if otherwise == AnyEndpoint {
							want = everything
						}
						if got := st.within(0, seed); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
							t.Fatalf("without a lane it got %v, want %v", got, want)
						}
					}
				})
			})
		}
	}
}

// TestLanesOfRoutes: endpoints need all labels of a route, and nothing else serves.
func TestLanesOfRoutes(t *testing.T) {
	labels := map[string]string{"version": "v2", "team": "shop"}
	onStage(t, Settings{Lanes: &Lanes{Labels: []map[string]string{labels, {"version": "v7"}}}}, func(st *stage) {
		st.Update(laned(map[string]string{"a": "v1", "b": "v2", "c": "v2", "d": ""}))
		for seed := range uint64(20) {
			if got := st.within(LabelsOf(labels), seed); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"b", "c"}) {
				t.Fatalf("got %v", got)
			}
			if got := st.within(LabelsOf(map[string]string{"version": "v7"}), seed); got != nil {
				t.Fatalf("got %v of v7", got)
			}
			if got := st.within(LabelsOf(map[string]string{"version": "v1"}), seed); got != nil { // of an older configuration
				t.Fatalf("got %v of labels that are not configured", got)
			}
			if got := st.within(0, seed); len(got) != 4 {
				t.Fatalf("got %v without labels", got)
			}
		}
		if all, _ := st.Lanes(); all != nil {
			t.Errorf("lanes %v", all)
		}
	})
}

// TestLaneThatIsEjected: while the endpoints of a lane are ejected the others serve, and the lane returns
// with the trial of one of them. With NoEndpoint the last resort is all that is left.
func TestLaneThatIsEjected(t *testing.T) {
	for _, otherwise := range []Otherwise{AnyEndpoint, Unlabelled, NoEndpoint} {
		onStage(t, Settings{Lanes: &Lanes{Label: "version", Otherwise: otherwise}}, func(st *stage) {
			st.Update(laned(map[string]string{"a": "", "b": "", "c": "v2"}))
			v2 := LaneOf([]byte("v2"))
			c := st.Pick(&policy.Attempt{Lane: v2, Now: st.rt.Now()})
			if c.ID().Address != "c" {
				t.Fatalf("picked %v", c.ID())
			}
			for range 5 {
				st.attempt(c, true)
			}
			time.Sleep(100 * time.Millisecond)
			st.is("c", "ejected by breaker")
			got := st.within(v2, 1)
			if want := map[Otherwise]int{AnyEndpoint: 2, Unlabelled: 2, NoEndpoint: 0}[otherwise]; len(got) != want || slices.Contains(got, "c") {
				t.Errorf("%v: got %v", otherwise, got)
			}
			if all, missed := st.Lanes(); len(all) != 2 || all[1] != (LaneStatus{Value: "v2", Members: 1}) || missed == 0 {
				t.Errorf("%v, %d missed", all, missed)
			}
			time.Sleep(resortEvery)
			if got := st.within(v2, 2); otherwise == NoEndpoint && !slices.Equal(got, []string{"c"}) {
				t.Errorf("the last resort: %v", got)
			}
			time.Sleep(11 * time.Second)
			st.attempt(st.Pick(&policy.Attempt{Lane: v2, Now: st.rt.Now()}), false)
			time.Sleep(100 * time.Millisecond)
			st.is("c", "healthy")
			if got := st.within(v2, 3); got[0] != "c" {
				t.Errorf("got %v after its return", got)
			}
		})
	}
}

// TestLanesFollowTheSource: labels that change move an endpoint; a lane whose last endpoint is gone is none.
func TestLanesFollowTheSource(t *testing.T) {
	onStage(t, Settings{Lanes: &Lanes{Label: "version", Otherwise: Unlabelled}}, func(st *stage) {
		st.Update(laned(map[string]string{"a": "", "b": "v2"}))
		v2, v3 := LaneOf([]byte("v2")), LaneOf([]byte("v3"))
		if got := fmt.Sprint(st.within(v2, 1), st.within(v3, 1)); got != "[b a] [a]" {
			t.Error(got)
		}
		time.Sleep(2 * buildEvery)
		st.Update(laned(map[string]string{"a": "", "b": "v3"}))
		if got := fmt.Sprint(st.within(v2, 1), st.within(v3, 1)); got != "[a] [b a]" {
			t.Error(got)
		}
		time.Sleep(2 * buildEvery)
		st.Update(laned(map[string]string{"a": ""}))
		if got := fmt.Sprint(st.within(v2, 1), st.within(v3, 1), st.within(0, 1)); got != "[a] [a] [a]" {
			t.Error(got)
		}
	})
}

// TestLanesAreKept: an endpoint that a client is bound to serves requests of its lane alone.
func TestLanesAreKept(t *testing.T) {
	onStage(t, Settings{Lanes: &Lanes{Label: "version"}}, func(st *stage) {
		st.Update(laned(map[string]string{"a": "v1", "b": "v2"}))
		b := st.Pick(&policy.Attempt{Lane: LaneOf([]byte("v2"))})
		for version, want := range map[string]bool{"v1": false, "v2": true, "v3": true} {
			if got := st.Keep(&policy.Attempt{Lane: LaneOf([]byte(version))}, b) == b; got != want {
				t.Errorf("%s: %v", version, got)
			}
		}
		if st.Keep(&policy.Attempt{}, b) != b {
			t.Error("without a lane")
		}
	})
}

// failsFor is a policy that panics when it builds for an endpoint of that address alone.
type failsFor struct{ policy.Policy }

func (p failsFor) Build(members, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker {
	if len(members) == 1 && members[0].ID().Address == "b" {
		panic("for b")
	}
	return p.Policy.Build(members, usable, prev)
}

// TestLaneWhosePolicyPanics: its endpoints are picked without one, and the fault is shown.
func TestLaneWhosePolicyPanics(t *testing.T) {
	onStage(t, Settings{Policy: failsFor{policy.Random()}, Custom: true, Lanes: &Lanes{Label: "version", Otherwise: NoEndpoint}}, func(st *stage) {
		st.Update(laned(map[string]string{"a": "v1", "b": "v2"}))
		if got := fmt.Sprint(st.within(LaneOf([]byte("v1")), 1), st.within(LaneOf([]byte("v2")), 1)); got != "[a] [b]" || st.Fault() == nil {
			t.Error(got, st.Fault())
		}
	})
}

// TestPickInLanesDoesNotAllocate, and without lanes neither.
func TestPickInLanesDoesNotAllocate(t *testing.T) {
	onStage(t, Settings{Policy: policy.LeastTime(), Lanes: &Lanes{Label: "version"}}, func(st *stage) {
		st.Update(laned(map[string]string{"a": "v1", "b": "v2", "c": "v2", "d": ""}))
		value := []byte("v2")
		a := policy.Attempt{}
		for _, lane := range []uint64{LaneOf(value), LaneOf([]byte("v7")), 0} {
			if n := testing.AllocsPerRun(200, func() { LaneOf(value); a.Lane = lane; a.Rand += 977; st.Pick(&a) }); n > 0 {
				t.Errorf("lane %x: %v allocations", lane, n)
			}
		}
	})
}
