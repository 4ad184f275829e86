package service

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/policy"
)

// broken is a custom policy that panics on demand.
type broken struct {
	builds int
	build  func(n int) // called by the n-th Build
	pick   func()
	prev   policy.Picker
}

type brokenPicker struct {
	*broken
	firstPicker
}

func (p *broken) Build(_, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker {
	p.builds++
	p.prev = prev
	if p.build != nil {
		p.build(p.builds)
	}
	return &brokenPicker{p, firstPicker(usable)}
}

func (p *brokenPicker) Pick(a *policy.Attempt) *endpoint.Endpoint {
	if p.pick != nil {
		p.pick()
	}
	return p.firstPicker.Pick(a)
}

// onBrokenStage is onStage with a custom policy and a log to look at.
func onBrokenStage(t *testing.T, p *broken, f func(st *stage, log *logbook)) {
	onStage(t, Settings{Policy: p, Custom: true}, func(st *stage) {
		var log logbook
		st.events.Observe("log", event.Log(slog.New(slog.NewTextHandler(&log, nil))))
		f(st, &log)
	})
}

func TestABuildThatAlwaysPanics(t *testing.T) {
	p := &broken{build: func(int) { panic("never") }}
	onBrokenStage(t, p, func(st *stage, log *logbook) {
		st.Update(specs(a))
		synctest.Wait()
		st.pick(a)
		st.renew(a, b)
		seen := map[string]bool{}
		for r := range uint64(8) {
			seen[st.Pick(&policy.Attempt{Rand: r}).ID().Address] = true
		}
		if !seen[a] || !seen[b] {
			t.Errorf("picked %v, want both", seen)
		}
		st.renew(b)
		st.is(a, "draining")
		st.pick(b)
		time.Sleep(time.Minute)
		if n := strings.Count(log.String(), "never"); n != 1 {
			t.Errorf("the panic is in the log %d times, want once:\n%s", n, log)
		}
		if !strings.Contains(log.String(), "broken).Build") {
			t.Errorf("no stack in the log:\n%s", log)
		}
		if err := st.Fault(); err == nil || !strings.Contains(err.Error(), "never") {
			t.Errorf("the fault is %v", err)
		}
		st.Configure(st.with(Settings{}))
		if err := st.Fault(); err != nil {
			t.Errorf("the fault is %v under another policy", err)
		}
		st.pick(b)
	})
}

// TestABuildThatPanicsOnce: the last picker stays, the set is followed all the same, an
// ejection ends in its time, and the next Build gets the last good picker.
func TestABuildThatPanicsOnce(t *testing.T) {
	for _, bad := range []int{1, 2, 3} {
		p := &broken{}
		p.build = func(n int) {
			if n == bad {
				panic("now")
			}
		}
		onBrokenStage(t, p, func(st *stage, log *logbook) {
			st.Update(specs(a, b))
			synctest.Wait()
			e := st.Pick(&policy.Attempt{Rand: 2})
			for range 5 {
				st.attempt(e, true)
			}
			time.Sleep(20 * time.Millisecond)
			if other := st.Pick(&policy.Attempt{Rand: 2}); other == e || other == nil {
				t.Fatalf("bad build %d: picked %v after %v was ejected", bad, other, e.ID())
			}
			time.Sleep(11 * time.Second)
			if got := st.states()[e.ID().Address]; got != "half-open" {
				t.Errorf("bad build %d: %v is %s after open_for", bad, e.ID(), got)
			}
			if st.Fault() != nil || st.view.Load().oldPicker {
				t.Errorf("bad build %d: still at fault: %v", bad, st.Fault())
			}
			if strings.Count(log.String(), "panic in policy") != 1 || !strings.Contains(log.String(), "works again") {
				t.Errorf("bad build %d: the log is\n%s", bad, log)
			}
			if _, ok := p.prev.(*brokenPicker); !ok {
				t.Errorf("bad build %d: the last Build got %T as the picker before", bad, p.prev)
			}
		})
	}
}

func TestABuildWithoutAPicker(t *testing.T) {
	nothing := policyFunc(func(_, _ []*endpoint.Endpoint, _ policy.Picker) policy.Picker { return nil })
	onStage(t, Settings{Policy: nothing, Custom: true}, func(st *stage) {
		st.Update(specs(a))
		synctest.Wait()
		st.pick(a)
		if st.Fault() == nil {
			t.Error("no fault")
		}
	})
}

type policyFunc func(members, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker

func (f policyFunc) Build(members, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker {
	return f(members, usable, prev)
}

func TestAPickThatPanics(t *testing.T) {
	p := &broken{pick: func() { panic("ouch") }}
	onBrokenStage(t, p, func(st *stage, log *logbook) {
		st.Update(specs(a, b))
		synctest.Wait()
		for range 100 {
			e := st.Pick(&policy.Attempt{Rand: 2})
			st.attempt(e, false)
			var tried policy.Attempt
			tried.Tried.Add(e)
			if other := st.Pick(&tried); other == nil || other == e {
				t.Fatalf("picked %v after %v", other, e.ID())
			}
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "ouch"); n != 1 || !strings.Contains(log.String(), "brokenPicker).Pick") {
			t.Errorf("the log is\n%s", log)
		}
		if st.Fault() == nil {
			t.Error("no fault")
		}
		p.pick = nil
		st.pick(a)
		time.Sleep(faultFor)
		if err := st.Fault(); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

// TestAnEndpointOfThePickersOwn: a picker that returns an endpoint the service does not
// know is as bad as one that panics.
func TestAnEndpointOfThePickersOwn(t *testing.T) {
	stray := policyFunc(func(_, _ []*endpoint.Endpoint, _ policy.Picker) policy.Picker {
		return firstPicker{endpoint.New(endpoint.Spec{})}
	})
	onStage(t, Settings{Policy: stray, Custom: true}, func(st *stage) {
		st.Update(specs(a))
		synctest.Wait()
		st.pick(a)
	})
}

// TestAProbeThatPanics: it is logged, and the endpoint is probed again.
func TestAProbeThatPanics(t *testing.T) {
	probes := 0
	set := Settings{Check: everySecond}
	onStage(t, set, func(st *stage) {
		set := st.with(set)
		probe := set.Probe
		set.Probe = func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error {
			if probes++; probes < 3 {
				panic("no")
			}
			return probe(rt, e, by)
		}
		st.Configure(set)
		st.Update(specs(a))
		time.Sleep(5 * time.Second)
		st.is(a, "healthy")
	})
}
