package service

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/policy"
)

// A chaos does to a service whatever may happen to one, in random order, and knows by
// itself what must be true afterwards.
type chaos struct {
	*stage
	r        *rand.Rand
	all      []string
	named    []string                      // by the last update
	known    map[string]*endpoint.Endpoint // as last seen, until it is gone
	flights  []*endpoint.Endpoint          // attempts in flight
	inFlight map[*endpoint.Endpoint]int64
	out      map[*endpoint.Endpoint]bool // discarded
	wanted   []endpoint.Override         // by operators
}

func (x *chaos) update() {
	x.named = nil
	var set []endpoint.Spec
	for _, i := range x.r.Perm(len(x.all))[:x.r.IntN(len(x.all)+1)] {
		x.named = append(x.named, x.all[i])
		s := specs(x.all[i])[0]
		s.Weight = float64(x.r.IntN(5))
		set = append(set, s)
		if x.r.IntN(10) == 0 {
			set = append(set, s) // named twice
		}
	}
	if x.r.IntN(2) == 0 {
		x.Update(set)
		return
	}
	x.Take(discovery.Update{Endpoints: set})
}

func (x *chaos) configure() {
	set := Settings{PanicThreshold: []int{-1, 0, 30, 100}[x.r.IntN(4)], Connect: x.plant.probe}
	set.Guard = Guard{MaxRemoval: []int{-1, 10, 50}[x.r.IntN(3)], Hold: time.Duration(1+x.r.IntN(5)) * time.Second}
	if x.r.IntN(3) > 0 {
		set.Check = &Check{Interval: time.Duration(1+x.r.IntN(2000)) * time.Millisecond, Timeout: 300 * time.Millisecond, UnhealthyAfter: 1 + x.r.IntN(3)}
		set.ProbeID = fmt.Sprint(x.r.IntN(2))
	}
	set.Breaker = health.Breaker{Off: x.r.IntN(5) == 0, ConsecutiveFailures: 1 + x.r.IntN(3), OpenFor: time.Second,
		FailureRate: x.r.IntN(2) * 30, MinRequests: 5, Trials: 1 + x.r.IntN(3)}
	set.Outliers = Outliers{MaxEjected: x.r.IntN(2) * 30, Limits: health.Limits{MinRequests: 3, FailureRate: 1, Latency: 1.1}}
	set.Policy = []policy.Policy{x.policy, policy.RoundRobin(), policy.P2C(), policy.ConsistentHash(policy.HashConfig{BoundedLoad: 1.25})}[x.r.IntN(4)]
	x.Configure(x.with(set))
}

func (x *chaos) begin() {
	a := policy.Attempt{Rand: x.r.Uint64(), Seq: x.Seq(), Now: x.rt.Now()}
	w := x.view.Load()
	e := x.Pick(&a)
	if e == nil {
		return
	}
	m := Of(e)
	x.Service.mu.Lock()
	state, trials := m.machine.State(), m.machine.Trials()
	away := m.drained || m.machine.Barred()
	x.Service.mu.Unlock()
	switch {
	case state == health.Gone:
		x.t.Fatalf("picked %v, which is gone", e.ID())
	case state == health.Draining && slices.ContainsFunc(w.usable, calm):
		x.t.Fatalf("picked %v, which is draining, while others are healthy", e.ID())
	case state == health.Probing:
		x.t.Fatalf("picked %v, which is probing", e.ID())
	case state == health.Ejected && !w.panic && slices.ContainsFunc(w.usable, calm) && !slices.ContainsFunc(w.usable, kept):
		x.t.Fatalf("picked %v, which is ejected, outside panic mode, while others are healthy", e.ID())
	case state == health.HalfOpen && trials == 0 && !w.panic:
		x.t.Fatalf("picked %v, half-open, without a trial", e.ID())
	case away && state < health.Draining:
		x.t.Fatalf("picked %v, which an operator has drained or ejected", e.ID())
	case trials > 3: // the most that is ever configured
		x.t.Fatalf("%d trials", trials)
	}
	x.Begin(e, x.rt.Now())
	x.flights = append(x.flights, e)
	x.inFlight[e]++
}

func calm(e *endpoint.Endpoint) bool { return Of(e).mode.Load() == modeCalm }
func kept(e *endpoint.Endpoint) bool { return Of(e).mode.Load() == modeKept }

func (x *chaos) settle() {
	if len(x.flights) == 0 {
		return
	}
	i := x.r.IntN(len(x.flights))
	e := x.flights[i]
	x.flights = slices.Delete(x.flights, i, i+1)
	x.inFlight[e]--
	x.Settle(e, endpoint.Outcome{
		Now: x.rt.Now(), Began: x.rt.Now() - time.Duration(x.r.IntN(3))*time.Second, Latency: time.Millisecond,
		Failed: x.r.IntN(3) == 0, Unreached: x.r.IntN(3) == 0, Refused: x.r.IntN(2) == 0,
	}, x.r.IntN(5) > 0)
}

func (x *chaos) plantSomething() {
	fault := []error{nil, nil, errIll, errHole, engine.ErrRefused, engine.ErrStopping}[x.r.IntN(6)]
	x.plant.set(fault, x.all[x.r.IntN(len(x.all))])
}

// override has an operator say something, or take it back.
func (x *chaos) override() {
	o := endpoint.Override{
		Endpoint: specs(x.all[x.r.IntN(len(x.all))])[0].ID, Weight: 1 + float64(x.r.IntN(9)),
		Kind: []endpoint.OverrideKind{endpoint.Drain, endpoint.Eject, endpoint.Weigh, endpoint.Admit}[x.r.IntN(4)],
	}
	if x.r.IntN(3) > 0 {
		o.Until = x.rt.Now() + time.Duration(1+x.r.Int64N(int64(5*time.Second)))
	}
	if x.r.IntN(3) == 0 {
		if _, err := x.RemoveOverride(o.Endpoint, o.Kind, "chaos"); err == nil {
			x.forget(o.Endpoint, o.Kind)
		}
		return
	}
	if _, err := x.Override(o); err != nil {
		return // it does not have the endpoint
	}
	switch o.Kind {
	case endpoint.Admit:
		x.forget(o.Endpoint, endpoint.Eject)
		return
	case endpoint.Drain, endpoint.Eject:
		x.forget(o.Endpoint, endpoint.Drain)
		x.forget(o.Endpoint, endpoint.Eject)
	}
	x.forget(o.Endpoint, o.Kind)
	x.wanted = append(x.wanted, o)
}

// forget removes what an operator wanted from the list.
func (x *chaos) forget(id endpoint.ID, k endpoint.OverrideKind) {
	x.wanted = slices.DeleteFunc(x.wanted, func(o endpoint.Override) bool { return o.Endpoint == id && o.Kind == k })
}

// overridden checks that exactly what operators want is in force, for members and for others.
func (x *chaos) overridden() {
	x.t.Helper()
	now := x.rt.Now()
	x.wanted = slices.DeleteFunc(x.wanted, func(o endpoint.Override) bool { return o.Until > 0 && o.Until <= now })
	got := x.Overrides()
	if len(got) != len(x.wanted) {
		x.t.Fatalf("%d overrides, want %d:\n%v\n%v", len(got), len(x.wanted), got, x.wanted)
	}
	x.Service.mu.Lock()
	defer x.Service.mu.Unlock()
	for _, o := range got {
		if !slices.ContainsFunc(x.wanted, func(w endpoint.Override) bool {
			return w.Endpoint == o.Endpoint && w.Kind == o.Kind && w.Until == o.Until && w.Weight == o.Weight
		}) {
			x.t.Fatalf("%+v is in force, and nobody wants it", o)
		}
	}
	for id, m := range x.byID {
		want := func(k endpoint.OverrideKind) bool {
			return slices.ContainsFunc(x.wanted, func(o endpoint.Override) bool { return o.Endpoint == id && o.Kind == k })
		}
		if m.machine.State() < health.Draining && (m.drained != want(endpoint.Drain) || m.machine.Barred() != want(endpoint.Eject)) {
			x.t.Fatalf("%v: drained %v, ejected %v, and that is not what was wanted", id, m.drained, m.machine.Barred())
		}
	}
}

// check compares the service with what must be true of it in every quiet moment.
func (x *chaos) check() {
	x.t.Helper()
	total, healthy, sound := int64(0), 0, 0
	seen := map[string]bool{}
	for _, e := range x.Endpoints() {
		address := e.ID().Address
		seen[address] = true
		if old := x.known[address]; old != nil && old != e && !x.out[old] {
			x.t.Fatalf("%s became another endpoint while the old one was not gone", address)
		}
		x.known[address] = e
		if got := e.InFlight(); got != x.inFlight[e] {
			x.t.Fatalf("%s: %d in flight, want %d", address, got, x.inFlight[e])
		}
		total += e.InFlight()
		if x.mirrored(e) == health.Healthy && !Of(e).drained {
			healthy++
			if !kept(e) {
				sound++
			}
		}
	}
	for e := range x.out {
		if x.inFlight[e] > 0 {
			x.t.Fatalf("%v was freed with attempts in flight", e.ID())
		}
	}
	for address := range x.known {
		if !seen[address] && !x.out[x.known[address]] {
			x.t.Fatalf("%s is not known any more and was not freed", address)
		}
	}
	x.Service.mu.Lock()
	defer x.Service.mu.Unlock()
	if healthy != x.tally.healthy || sound != x.tally.sound || x.load.n.Load() < total || x.tally.awaiting < 0 {
		x.t.Fatalf("%d healthy, counted %d; %d in flight, counted %d; %d awaited", healthy, x.tally.healthy, total, x.load.n.Load(), x.tally.awaiting)
	}
}

// mirrored checks that e's mirror shows its machine, and returns the state.
func (x *chaos) mirrored(e *endpoint.Endpoint) health.State {
	x.Service.mu.Lock()
	defer x.Service.mu.Unlock()
	m := Of(e)
	mode, usable := modeOf(&m.machine, &x.conf.health), m.machine.Usable(&x.conf.health)
	if m.drained {
		mode, usable = modeShut, false
	}
	if mode != m.mode.Load() || e.Usable() != usable {
		x.t.Fatalf("%v: the mirror shows %d for %+v", e.ID(), m.mode.Load(), m.machine)
	}
	return m.machine.State()
}

// changed reports whether a view is still to be built.
func (x *chaos) changed() bool {
	x.Service.mu.Lock()
	defer x.Service.mu.Unlock()
	return x.todo.dirty
}

// settledDown checks what must be true when nothing happened for a while.
func (x *chaos) settledDown() {
	x.t.Helper()
	time.Sleep(2 * buildEvery)
	synctest.Wait()
	for n := 0; x.changed(); n++ { // something did happen, a probe perhaps
		if n > 100 {
			x.t.Fatal("no view is built")
		}
		time.Sleep(buildEvery / 10)
		synctest.Wait()
	}
	x.check()
	got := []string{}
	w := x.view.Load()
	for _, e := range w.members {
		if m := Of(e); !m.covering && m.heldUntil == 0 { // removed, but still in use
			got = append(got, e.ID().Address)
		}
	}
	slices.Sort(x.named)
	if !slices.IsSortedFunc(w.members, func(a, b *endpoint.Endpoint) int { return a.ID().Compare(b.ID()) }) {
		x.t.Fatal("members are not in order")
	}
	slices.Sort(got)
	if !slices.Equal(got, x.named) {
		x.t.Fatalf("members %v, want %v", got, x.named)
	}
	x.Service.mu.Lock()
	defer x.Service.mu.Unlock()
	for _, e := range w.members {
		if Of(e).covering {
			continue
		}
		state := Of(e).machine.State()
		in := slices.Contains(w.usable, e)
		if Of(e).drained || Of(e).machine.Barred() {
			if in || slices.Contains(w.reserve, e) || slices.Contains(w.ejected, e) {
				x.t.Fatalf("%v is drained or ejected by an operator, and in the view", e.ID())
			}
			continue
		}
		if Of(e).quietUntil > 0 && !in {
			in = slices.Contains(w.reserve, e)
		}
		if good := state == health.Healthy || state == health.HalfOpen; good && !in || !good && in && !w.panic {
			x.t.Fatalf("%v is %v and in the view: %v", e.ID(), state, in)
		}
	}
}

// TestIdentitySurvivesEverything: whatever sources, operators, checks and clients do, an
// endpoint stays the same one until it is gone, its attempts stay counted, its machine is
// what all see, and no pick returns one that is out.
func TestIdentitySurvivesEverything(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			onStage(t, Settings{}, func(st *stage) {
				x := &chaos{stage: st, r: rand.New(rand.NewPCG(seed, 7)), all: addresses(8),
					known: map[string]*endpoint.Endpoint{}, inFlight: map[*endpoint.Endpoint]int64{}, out: map[*endpoint.Endpoint]bool{}}
				x.run(1000)
			})
		})
	}
}

func (x *chaos) run(changes int) {
	x.onDiscard = func(e *endpoint.Endpoint) { x.out[e] = true }
	x.update()
	for i := 0; i < changes; {
		switch n := x.r.IntN(100); {
		case n < 8:
			x.update()
			i++
		case n < 12:
			x.configure()
			i++
		case n < 15:
			x.override()
		case n < 50:
			x.begin()
		case n < 85:
			x.settle()
		case n < 92:
			x.plantSomething()
		case n < 98:
			time.Sleep(time.Duration(x.r.Int64N(int64(time.Second))))
		default:
			x.settledDown()
		}
		synctest.Wait() // so that one seed is one story
		x.check()
		x.overridden()
	}
	for len(x.flights) > 0 {
		x.settle()
	}
	x.settledDown()
	time.Sleep(10 * time.Second)
	// Those that still stand in for members without a verdict are kept rightly.
	kept := slices.DeleteFunc(x.Endpoints(), func(e *endpoint.Endpoint) bool { return Of(e).covering || Of(e).heldUntil > 0 })
	if len(kept) != len(x.named) {
		x.t.Errorf("%d endpoints are kept of %d named", len(kept), len(x.named))
	}
}

// TestEverythingAtOnce does the same from many goroutines at once, for the race detector.
func TestEverythingAtOnce(t *testing.T) {
	onStage(t, Settings{Check: &Check{Interval: 20 * time.Millisecond, Timeout: 10 * time.Millisecond}}, func(st *stage) {
		all := addresses(6)
		st.Update(specs(all...))
		st.AwaitReady(st.rt, 0)
		var picked, begun, settled atomic.Int64
		var tasks sync.WaitGroup
		for task := range 6 {
			tasks.Go(func() {
				r := rand.New(rand.NewPCG(uint64(task), 3))
				for range 1500 {
					a := policy.Attempt{Rand: r.Uint64(), Seq: st.Seq(), Now: st.rt.Now()}
					e := st.Pick(&a)
					if e == nil {
						time.Sleep(time.Millisecond)
						continue
					}
					picked.Add(1)
					st.Begin(e, st.rt.Now())
					begun.Add(1)
					if r.IntN(4) == 0 {
						time.Sleep(time.Duration(r.IntN(2)) * time.Millisecond)
					}
					st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Failed: r.IntN(3) == 0}, r.IntN(5) > 0)
					settled.Add(1)
				}
			})
		}
		for task := range 2 {
			tasks.Go(func() {
				r := rand.New(rand.NewPCG(uint64(task), 4))
				for i := range 200 {
					switch r.IntN(5) {
					case 4:
						o := endpoint.Override{Endpoint: specs(all[r.IntN(len(all))])[0].ID, Weight: 2, Kind: endpoint.OverrideKind(r.IntN(4)), Until: st.rt.Now() + 50*time.Millisecond}
						_, _ = st.Override(o) // an error: it does not have the endpoint
						_, _ = st.RemoveOverride(o.Endpoint, endpoint.OverrideKind(r.IntN(4)), "")
						st.Overrides()
					case 0:
						st.Take(discovery.Update{Endpoints: specs(all[:r.IntN(len(all)+1)]...)})
						st.Take(discovery.Update{Err: errIll})
					case 1:
						st.plant.set([]error{nil, errIll, engine.ErrRefused, errHole}[r.IntN(4)], all[r.IntN(len(all))])
					case 2:
						st.Configure(st.with(Settings{Check: &Check{Interval: 20 * time.Millisecond, Timeout: 10 * time.Millisecond},
							ProbeID: fmt.Sprint(i % 2), Guard: Guard{Hold: 100 * time.Millisecond}, Breaker: health.Breaker{OpenFor: 5 * time.Millisecond, FailureRate: 60 * r.IntN(2)}}))
					case 3:
						st.Snapshot()
						st.RetryAfter(st.rt.Now())
					}
					time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
				}
			})
		}
		tasks.Wait()
		if picked.Load() == 0 || begun.Load() != settled.Load() {
			t.Errorf("picked %d, begun %d, settled %d", picked.Load(), begun.Load(), settled.Load())
		}
		if n := st.load.n.Load(); n != 0 {
			t.Errorf("%d in flight in the end", n)
		}
		for _, e := range st.Endpoints() {
			if n := e.InFlight(); n != 0 {
				t.Errorf("%v: %d in flight in the end", e.ID(), n)
			}
		}
		if st.policy.overlap.Load() {
			t.Error("two builds at once")
		}
	})
}

// TestOnCoroutines runs a service where a lock held across a yield would stop everything,
// and where the same seed must give the same story.
func TestOnCoroutines(t *testing.T) {
	story := func(seed uint64) (told string) {
		world := virtual.New(seed)
		rt := world.Runtime()
		plant := &plant{faults: map[string]error{a: errHole}, probes: map[string][]time.Duration{}, rt: rt}
		world.Go("main", func() {
			s := New("web", rt, Settings{Policy: policy.P2C(), Check: everySecond, Probe: plant.probe}, nil)
			keeper := rt.Fork(s.Run)
			s.Update(specs(a, b, c))
			if !s.AwaitReady(rt, rt.Now()+time.Second) {
				t.Error("not ready")
			}
			r := rand.New(rand.NewPCG(seed, 0))
			for i := range 2000 {
				at := policy.Attempt{Rand: rt.Rand(), Seq: s.Seq(), Now: rt.Now()}
				if e := s.Pick(&at); e != nil {
					s.Begin(e, rt.Now())
					_ = rt.Sleep(rt.Now() + time.Duration(r.IntN(20))*time.Millisecond)
					s.Settle(e, endpoint.Outcome{Now: rt.Now(), Failed: e.ID().Address == b && r.IntN(2) == 0}, true)
					told += e.ID().Address[7:8]
				}
				switch i {
				case 500:
					plant.set(nil, a)
				case 1000:
					s.Update(specs(a, b))
				case 1500:
					s.Configure(Settings{Policy: policy.RoundRobin(), Check: everySecond, Probe: plant.probe})
				}
			}
			s.Stop()
			keeper.Wait()
		})
		if err := world.Run(); err != nil {
			t.Fatal(err)
		}
		return told
	}
	one := story(1)
	if len(one) < 1500 || story(1) != one {
		t.Errorf("%d picks, and another story the second time", len(one))
	}
}
