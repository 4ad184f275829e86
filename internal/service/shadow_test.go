package service

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// last is a policy that picks the last usable endpoint, and does what it is told before.
type last struct {
	build, pick func()
}

type lastPicker struct {
	*last
	usable []*endpoint.Endpoint
}

func (p *last) Build(_, usable []*endpoint.Endpoint, _ policy.Picker) policy.Picker {
	if p.build != nil {
		p.build()
	}
	return &lastPicker{p, usable}
}

func (p *lastPicker) Pick(a *policy.Attempt) *endpoint.Endpoint {
	if p.pick != nil {
		p.pick()
	}
	a.Tried.Add(p.usable[0]) // what a shadow does to its question changes nothing
	a.Rand = 0
	return p.usable[len(p.usable)-1]
}

// ask picks n times as exchanges do, each for its first attempt, and finds endpoint a.
func (st *stage) ask(n int) {
	st.t.Helper()
	for range n {
		q := policy.Attempt{Rand: 2, Seq: st.Seq(), Now: st.rt.Now()}
		before := q
		if e := st.Pick(&q); e == nil || e.ID().Address != a {
			st.t.Fatalf("picked %v", e)
		}
		if q.Load = before.Load; q != before {
			st.t.Fatal("the attempt was changed")
		}
	}
}

// A shadow is asked for first attempts, what it picks is counted and not followed, and its counts end
// with its name.
func TestShadowIsCountedAndNotFollowed(t *testing.T) {
	onStage(t, Settings{Shadow: &last{}, ShadowName: "last"}, func(st *stage) {
		st.Update(specs(a))
		st.ask(3)
		st.renew(a, b)
		st.ask(4)
		one := st.pick(a)
		st.pick(b, one) // a retry
		if x := st.Shadow(); x.Name != "last" || x.Picks != 8 || x.Agreed != 3 || x.Waits != 0 || x.Off != "" {
			t.Errorf("%+v", x)
		}
		// Both have answered, in 10 and in 30 ms.
		both := []*endpoint.Endpoint{one, st.pick(b, one)}
		for i, e := range both {
			for range 20 {
				st.Begin(e, st.rt.Now())
				time.Sleep(5 * time.Millisecond)
				st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Latency: time.Duration(10+20*i) * time.Millisecond}, true)
			}
		}
		st.ask(1)
		if x := st.Shadow(); x.Waits != 1 || x.Would < 2*x.Acted || x.Would > 4*x.Acted || x.Acted < 5*time.Millisecond {
			t.Errorf("%+v", x)
		}
		st.Configure(st.with(Settings{Shadow: &last{}, ShadowName: "last"}))
		if x := st.Shadow(); x.Picks != 9 {
			t.Errorf("%d picks after it was configured again", x.Picks)
		}
		st.Configure(st.with(Settings{Shadow: policy.RoundRobin(), ShadowName: "other"}))
		st.ask(2)
		if x := st.Shadow(); x.Name != "other" || x.Picks != 2 || x.Agreed != 1 {
			t.Errorf("%+v", x)
		}
		st.Configure(st.with(Settings{}))
		if x := st.Shadow(); x != (ShadowStatus{}) {
			t.Errorf("%+v without a shadow", x)
		}
		st.ask(1)
	})
}

// A shadow that panics, when it is built or asked, or takes long is asked no more, and the service
// does not notice.
func TestAShadowHurtsNothing(t *testing.T) {
	fails := func(bad *last, rt *goroutines) {}
	for name, c := range map[string]struct {
		spoil func(bad *last, rt *goroutines)
		off   string
	}{
		"build": {func(bad *last, _ *goroutines) { bad.build = func() { panic("no") } }, "Build panicked: no"},
		"pick":  {func(bad *last, _ *goroutines) { bad.pick = func() { panic("no") } }, "Pick of the shadow panicked: no"},
		"slow":  {func(bad *last, rt *goroutines) { bad.pick = func() { rt.worked.Add(int64(5 * time.Millisecond)) } }, "took 5ms"},
		"well":  {fails, ""},
	} {
		bad := new(last)
		onStage(t, Settings{Shadow: bad, ShadowName: "bad"}, func(st *stage) {
			c.spoil(bad, st.rt)
			st.Update(specs(a, b))
			st.ask(5 * shadowTimed)
			synctest.Wait()
			x := st.Shadow()
			if !strings.Contains(x.Off, c.off) || (x.Off == "") != (c.off == "") {
				t.Errorf("%s: off %q, want %q", name, x.Off, c.off)
			}
			if err := st.Fault(); err != nil {
				t.Errorf("%s: the service has a fault: %v", name, err)
			}
			picks := x.Picks
			st.renew(a, b, "192.0.2.9:80")
			st.ask(3)
			if x := st.Shadow(); c.off != "" && x.Picks != picks || c.off == "" && x.Picks != picks+3 {
				t.Errorf("%s: %d picks, then %d", name, picks, x.Picks)
			}
			if x := st.Explain(0, 0, 10); x.Nothing != 0 {
				t.Errorf("%s: explain picks nothing", name)
			}
		})
	}
}

// Explain shows what the shadow would choose, and counts nothing.
func TestExplainShowsTheShadow(t *testing.T) {
	onStage(t, Settings{Shadow: &last{}, ShadowName: "last"}, func(st *stage) {
		st.Update(specs(a, b))
		x := st.Explain(0, 0, 100)
		if len(x.Candidates) != 2 || x.Candidates[0].Draws != 100 || x.Candidates[0].Shadowed != 0 || x.Candidates[1].Shadowed != 100 {
			t.Errorf("%+v", x.Candidates)
		}
		if n := st.Shadow().Picks; n != 0 {
			t.Errorf("%d picks were counted", n)
		}
	})
}

// A report reaches the endpoint and its status; one that could not be read changes nothing.
func TestLoadReports(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs(a))
		e := st.pick(a)
		st.Begin(e, st.rt.Now())
		st.Report(e, endpoint.Report{InFlight: 7, Utilization: 0.5}, st.rt.Now(), true)
		st.Report(e, endpoint.Report{}, st.rt.Now(), false)
		st.Settle(e, endpoint.Outcome{Now: st.rt.Now()}, false)
		if taken, refused := st.LoadReports(); taken != 1 || refused != 1 {
			t.Errorf("%d taken, %d refused", taken, refused)
		}
		if r := st.Snapshot()[0].Load; r == nil || r.InFlight != 7 || r.Others != 6 || r.Utilization != 0.5 || r.Stale {
			t.Errorf("%+v", r)
		}
		time.Sleep(5 * time.Second)
		if r := st.Snapshot()[0].Load; r == nil || !r.Stale {
			t.Errorf("%+v", r)
		}
	})
}
