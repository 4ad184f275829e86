package service

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/policy"
)

// looking are settings that look for outliers, 34 % of the members at most.
func looking() Settings {
	return Settings{Policy: policy.RoundRobin(), Outliers: Outliers{MaxEjected: 34, Limits: health.Limits{MinRequests: 20, FailureRate: 10}}}
}

// busy makes 40 requests a second for so long. fails says how many percent of those to an address
// fail; they are spread evenly, so that never five in a row do. took is the latency at an address; 0: 5 ms.
func (st *stage) busy(d time.Duration, fails map[string]int, took map[string]time.Duration) {
	sent := map[string]int{}
	for n := range int(d / (25 * time.Millisecond)) {
		a := policy.Attempt{Rand: st.rt.Rand(), Seq: uint64(n), Now: st.rt.Now()}
		if e := st.Pick(&a); e != nil {
			to := e.ID().Address
			share := fails[to]
			failed := (sent[to]+1)*share/100 > sent[to]*share/100
			sent[to]++
			st.Begin(e, st.rt.Now())
			st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Latency: max(took[to], 5*time.Millisecond), Failed: failed}, true)
		}
		time.Sleep(25 * time.Millisecond)
	}
	synctest.Wait()
}

// TestOutlierIsEjected: one that fails half of its requests, which the breaker never sees, is out
// within seconds, says why, returns by trials, and stays when it works.
func TestOutlierIsEjected(t *testing.T) {
	onStage(t, looking(), func(st *stage) {
		log := st.logged()
		st.Update(specs(addresses(4)...))
		ill := addresses(4)[0]
		st.busy(5*time.Second, map[string]int{ill: 50}, nil)
		st.is(ill, "ejected by outlier")
		one := st.Snapshot()[0]
		if f := one.Finding; f == nil || f.Requests < 20 || f.Failures*2 < f.Requests-1 || f.Peers != 0 || one.History.Ejections[health.Outlier] != 1 || one.Until <= st.rt.Now() {
			t.Errorf("%+v, %+v", one, f)
		}
		if text := log.String(); !strings.Contains(text, `why="an outlier: it failed 5`) {
			t.Errorf("logged\n%s", text)
		}
		st.busy(15*time.Second, nil, nil)
		st.is(ill, "healthy")
		if one := st.Snapshot()[0]; one.Finding != nil {
			t.Errorf("healthy, and %v", one.Finding)
		}
		st.busy(20*time.Second, nil, nil)
		st.is(ill, "healthy")
	})
}

// TestOutlierIsOutForLonger: one that goes on failing is out twice as long each time, since a trial
// that succeeds is no proof.
func TestOutlierIsOutForLonger(t *testing.T) {
	onStage(t, looking(), func(st *stage) {
		st.Update(specs(addresses(4)...))
		ill := addresses(4)[0]
		st.busy(5*time.Minute, map[string]int{ill: 25}, nil)
		var out []time.Duration
		changes := st.Snapshot()[0].History.Changes
		for i, c := range changes {
			if c.To == health.HalfOpen && i > 0 {
				out = append(out, (c.At - changes[i-1].At).Round(time.Second))
			}
		}
		if len(out) < 4 || out[0] != 10*time.Second || out[1] != 20*time.Second || out[2] != 40*time.Second || out[3] != 80*time.Second {
			t.Errorf("out for %v", out)
		}
	})
}

// TestOutliersAreForgiven: ten seconds like the others make up for one ejection.
func TestOutliersAreForgiven(t *testing.T) {
	onStage(t, looking(), func(st *stage) {
		st.Update(specs(addresses(4)...))
		ill := addresses(4)[0]
		fails := map[string]int{ill: 50}
		for range 3 {
			st.busy(5*time.Second, fails, nil)
			st.is(ill, "ejected by outlier")
			if left := st.Snapshot()[0].Until - st.rt.Now(); left > 10*time.Second {
				t.Errorf("ejected for %v more", left)
			}
			st.busy(15*time.Second, nil, nil)
			st.is(ill, "healthy")
			st.busy(12*time.Second, nil, nil)
		}
	})
}

// TestOutliersNobodyElse: whatever all endpoints do alike ejects none; neither does one of two.
func TestOutliersNobodyElse(t *testing.T) {
	all := addresses(4)
	for name, c := range map[string]struct {
		members int
		fails   map[string]int
	}{
		"all fail":         {4, map[string]int{all[0]: 50, all[1]: 50, all[2]: 50, all[3]: 50}},
		"none fails":       {4, nil},
		"a little":         {4, map[string]int{all[0]: 8}},
		"two endpoints":    {2, map[string]int{all[0]: 50}},
		"all but one fail": {4, map[string]int{all[0]: 50, all[1]: 50, all[2]: 50}},
	} {
		onStage(t, looking(), func(st *stage) {
			st.Update(specs(all[:c.members]...))
			st.busy(30*time.Second, c.fails, nil)
			for address, state := range st.states() {
				if state != "healthy" {
					t.Errorf("%s: %s is %s", name, address, state)
				}
			}
		})
	}
}

// TestOutliersMaxEjected: no more than the share are out, what the breaker has ejected included, and
// the worst of them is.
func TestOutliersMaxEjected(t *testing.T) {
	all := addresses(10)
	set := looking()
	set.Outliers.MaxEjected = 10
	onStage(t, set, func(st *stage) {
		st.Update(specs(all...))
		st.busy(20*time.Second, map[string]int{all[2]: 25, all[5]: 60, all[7]: 45}, nil)
		for i, s := range st.Snapshot() {
			if (s.State != health.Healthy) != (i == 5) || i != 2 && (s.Finding != nil) != (i == 5 || i == 7) {
				t.Errorf("%s is %s, %v", s.Spec.Address, s.State, s.Finding)
			}
		}
	})
	onStage(t, set, func(st *stage) {
		st.Update(specs(all...))
		st.busy(2*time.Second, map[string]int{all[0]: 100}, nil)
		st.is(all[0], "ejected by breaker")
		st.busy(8*time.Second, map[string]int{all[5]: 50}, nil)
		st.is(all[5], "healthy")
	})
}

// TestOutlierBySlowness: one that is slow for five seconds in a row is ejected, if that is asked for.
func TestOutlierBySlowness(t *testing.T) {
	all := addresses(4)
	slow := map[string]time.Duration{all[1]: 40 * time.Millisecond}
	set := looking()
	set.Outliers.MinRequests = 10
	onStage(t, set, func(st *stage) {
		st.Update(specs(all...))
		st.busy(30*time.Second, nil, slow)
		st.is(all[1], "healthy")
	})
	set.Outliers.Latency = 3
	onStage(t, set, func(st *stage) {
		st.Update(specs(all...))
		st.busy(5*time.Second, nil, nil)
		st.busy(3*time.Second, nil, slow)
		st.is(all[1], "healthy")
		st.busy(10*time.Second, nil, slow)
		st.is(all[1], "ejected by outlier")
		if f := st.Snapshot()[1].Finding; !f.ByLatency || f.PeersLatency > 6*time.Millisecond || f.Latency < 20*time.Millisecond {
			t.Errorf("%+v", f)
		}
	})
}

// TestOutliersAndProbes: probes that pass do not bring an outlier back before its time.
func TestOutliersAndProbes(t *testing.T) {
	set := looking()
	set.Check = &Check{Interval: time.Second}
	onStage(t, set, func(st *stage) {
		st.Update(specs(addresses(4)...))
		ill := addresses(4)[0]
		synctest.Wait()
		st.busy(5*time.Second, map[string]int{ill: 50}, nil)
		st.is(ill, "ejected by outlier")
		st.busy(4*time.Second, nil, nil)
		st.is(ill, "ejected by outlier")
		st.plant.set(errIll, ill)
		st.busy(4*time.Second, nil, nil)
		st.is(ill, "ejected by probes")
		st.plant.set(nil, ill)
		st.busy(4*time.Second, nil, nil)
		st.is(ill, "healthy")
	})
}

// TestOutliersOutlive: a reload and a handover keep an outlier out until the same moment; switched off,
// it is healthy at once, and so it is when an operator says so.
func TestOutliersOutlive(t *testing.T) {
	all := addresses(4)
	onStage(t, looking(), func(st *stage) {
		st.Update(specs(all...))
		st.busy(5*time.Second, map[string]int{all[0]: 50}, nil)
		st.is(all[0], "ejected by outlier")
		until := st.Snapshot()[0].Until - st.rt.Now()
		set := looking()
		set.Breaker.ConsecutiveFailures = 7
		st.Configure(st.with(set))
		st.is(all[0], "ejected by outlier")
		st.successor(looking(), time.Second, func(next *stage) {
			next.Update(specs(all...))
			next.is(all[0], "ejected by outlier")
			one := next.Snapshot()[0]
			if left := one.Until - next.rt.Now(); left != until-time.Second || one.Finding == nil || one.Finding.Requests == 0 {
				t.Errorf("%v left, want a second less than %v: %v", left, until, one.Finding)
			}
			if _, err := next.Override(endpoint.Override{Endpoint: one.Spec.ID, Kind: endpoint.Admit}); err != nil {
				t.Error(err)
			}
			next.is(all[0], "healthy")
		})
		st.Configure(st.with(Settings{Policy: policy.RoundRobin()}))
		st.is(all[0], "healthy")
	})
}

// TestOutliersAreOffByDefault: nothing is kept of endpoints, and no keeper wakes.
func TestOutliersAreOffByDefault(t *testing.T) {
	onStage(t, Settings{Policy: policy.RoundRobin()}, func(st *stage) {
		st.Update(specs(addresses(4)...))
		st.busy(10*time.Second, map[string]int{addresses(4)[0]: 50}, nil)
		st.is(addresses(4)[0], "healthy")
		for _, e := range st.Endpoints() {
			if Of(e).track != nil {
				t.Error("outliers are not looked for, and a track is kept")
			}
		}
	})
}
