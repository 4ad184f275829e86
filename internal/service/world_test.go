package service

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/policy"
)

// goroutines is a runtime for tests: goroutines, and the clock of the bubble they run in,
// which jumps when every goroutine waits. A task left behind fails the bubble.
type goroutines struct {
	engine.Runtime // nothing of it: a service neither dials nor watches
	start          time.Time
	mu             sync.Mutex
	rand           *rand.Rand
	tasks          atomic.Int64
	forks, joins   atomic.Int64
	waits          atomic.Int64 // for signals
	worked         atomic.Int64 // time that passed while tasks worked and none waited
}

func newGoroutines(seed uint64) *goroutines {
	return &goroutines{start: time.Now().Add(-time.Hour), rand: rand.New(rand.NewPCG(seed, 0))}
}

func (g *goroutines) Now() time.Duration {
	return time.Since(g.start) + time.Duration(g.worked.Load())
}

func (g *goroutines) Rand() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rand.Uint64()
}

func (g *goroutines) NewSignal() engine.Signal { return &signal{g, make(chan struct{}, 1)} }

func (g *goroutines) Fork(f func()) engine.Join {
	g.tasks.Add(1)
	g.forks.Add(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer g.tasks.Add(-1)
		f()
	}()
	return &join{g: g, done: done}
}

type join struct {
	g      *goroutines
	done   chan struct{}
	waited atomic.Bool
}

func (j *join) Wait() {
	if j.waited.Swap(true) {
		panic("joined twice")
	}
	j.g.joins.Add(1)
	<-j.done
}

type signal struct {
	g   *goroutines
	set chan struct{}
}

func (s *signal) Set() {
	select {
	case s.set <- struct{}{}:
	default:
	}
}

func (s *signal) Wait(by time.Duration) bool {
	s.g.waits.Add(1)
	if by == 0 {
		<-s.set
		return true
	}
	timer := time.NewTimer(by - s.g.Now())
	defer timer.Stop()
	select {
	case <-s.set:
		return true
	case <-timer.C:
		return false
	}
}

// first is a policy that picks the first usable endpoint not tried, and counts builds.
type first struct {
	builds  atomic.Int64
	at      atomic.Bool // a build is under way
	overlap atomic.Bool // two were at once
	prev    policy.Picker
	during  func() // called by the next build
	takes   time.Duration
	rt      *goroutines
}

type firstPicker []*endpoint.Endpoint

func (f *first) Build(_, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker {
	f.builds.Add(1)
	f.rt.worked.Add(int64(f.takes))
	f.prev = prev
	if during := f.during; during != nil {
		f.during = nil
		during()
	}
	if f.at.Swap(true) {
		f.overlap.Store(true)
	}
	defer f.at.Store(false)
	return firstPicker(usable)
}

func (f firstPicker) Pick(a *policy.Attempt) *endpoint.Endpoint {
	for _, e := range f {
		if !a.Tried.Has(e) {
			return e
		}
	}
	return nil
}

// A plant is what the endpoints' checks answer, by address.
type plant struct {
	mu     sync.Mutex
	faults map[string]error
	probes map[string][]time.Duration // when they were probed
	rt     engine.Runtime
}

var (
	errIll  = errors.New("status 500")
	errHole = errors.New("no answer at all")
)

// set makes the endpoints answer with err from now on; nil: they pass.
func (p *plant) set(err error, addresses ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range addresses {
		p.faults[a] = err
	}
}

func (p *plant) probe(_ engine.Runtime, e *endpoint.Endpoint, by time.Duration) error {
	a := e.ID().Address
	p.mu.Lock()
	err := p.faults[a]
	p.probes[a] = append(p.probes[a], p.rt.Now())
	p.mu.Unlock()
	if err == errHole {
		p.rt.NewSignal().Wait(by)
		return engine.ErrTimeout
	}
	return err
}

// times are the instants at which an address was probed.
func (p *plant) times(a string) []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Duration(nil), p.probes[a]...)
}

// A logbook is what an observer has logged. A reader waits until all tasks wait, so that
// everything that has happened is in it.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is what was logged, without the name of the service, which is always the same.
func (l *logbook) String() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.ReplaceAll(l.text.String(), " service=web", "")
}

func (l *logbook) Len() int { return len(l.String()) }

func (l *logbook) Reset() {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// A stage is a service with everything around it, in a bubble.
type stage struct {
	t *testing.T
	*Service
	rt        *goroutines
	plant     *plant
	policy    *first
	mu        sync.Mutex
	discarded map[string]int
	onDiscard func(*endpoint.Endpoint) // if set
}

// onStage runs f in a bubble with a service whose keeper runs. The settings get a policy,
// a probe and the rest unless they have them.
func onStage(t *testing.T, set Settings, f func(st *stage)) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, set)
		keeper := st.rt.Fork(st.Run)
		end := sync.OnceFunc(func() {
			st.Stop()
			keeper.Wait()
			if !st.events.Close(st.rt.Now() + time.Minute) {
				t.Error("an observer has not ended")
			}
		})
		defer end() // also after Fatal
		f(st)
		end()
		if n := st.rt.tasks.Load(); n != 0 {
			t.Errorf("%d tasks are left", n)
		}
		if forks, joins := st.rt.forks.Load(), st.rt.joins.Load(); forks != joins {
			t.Errorf("%d tasks forked, %d joined", forks, joins)
		}
		for _, e := range st.Endpoints() {
			if n := st.freed(e.ID().Address); n < 1 {
				t.Errorf("%v was not freed", e.ID())
			}
		}
	})
}

// Endpoints lists every endpoint that is not gone, in no order. Any goroutine may call it.
func (s *Service) Endpoints() []*endpoint.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*endpoint.Endpoint, 0, len(s.byID))
	for _, m := range s.byID {
		all = append(all, m.endpoint)
	}
	return all
}

func newStage(t *testing.T, set Settings) *stage {
	rt := newGoroutines(1)
	st := &stage{t: t, rt: rt, discarded: map[string]int{}, policy: &first{rt: rt}}
	st.plant = &plant{faults: map[string]error{}, probes: map[string][]time.Duration{}, rt: rt}
	st.Service = New("web", rt, st.with(set), event.NewBus(rt))
	return st
}

// with completes settings.
func (st *stage) with(set Settings) Settings {
	if set.Policy == nil {
		set.Policy = st.policy
	}
	if set.Check != nil && set.Probe == nil {
		set.Probe = st.plant.probe
	}
	set.Attach = func(e *endpoint.Endpoint) any { return "pool of " + e.ID().Address }
	set.Discard = func(e *endpoint.Endpoint) {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.discarded[e.ID().Address]++
		if st.onDiscard != nil {
			st.onDiscard(e)
		}
	}
	return set
}

func (st *stage) freed(address string) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.discarded[address]
}

// renew updates once the last build is long enough ago for that to act at once.
func (st *stage) renew(addresses ...string) {
	time.Sleep(2 * buildEvery)
	st.Update(specs(addresses...))
}

// specs names endpoints by their addresses.
func specs(addresses ...string) (all []endpoint.Spec) {
	for _, a := range addresses {
		all = append(all, endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: a}})
	}
	return all
}

func addresses(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("10.0.0.%d:80", i))
	}
	return all
}

// pick picks, with some endpoints tried, and wants the one at the address; "": none.
func (st *stage) pick(want string, tried ...*endpoint.Endpoint) *endpoint.Endpoint {
	st.t.Helper()
	a := policy.Attempt{Rand: 2}
	for _, e := range tried {
		a.Tried.Add(e)
	}
	e := st.Pick(&a)
	got := ""
	if e != nil {
		got = e.ID().Address
	}
	if got != want {
		st.t.Fatalf("picked %q, want %q\n%v", got, want, st.states())
	}
	if a.Tried.Len() != len(tried) {
		st.t.Fatal("Pick left traces in Tried")
	}
	return e
}

// attempt makes one whole attempt at e.
func (st *stage) attempt(e *endpoint.Endpoint, failed bool) {
	st.Begin(e, st.rt.Now())
	st.Settle(e, endpoint.Outcome{Now: st.rt.Now(), Failed: failed}, true)
}

// eject makes the endpoint that is picked first fail until the breaker ejects it.
func (st *stage) eject(address string) *endpoint.Endpoint {
	st.t.Helper()
	e := st.pick(address)
	for range 5 {
		st.attempt(e, true)
	}
	return e
}

// states are the states of all endpoints, by address.
func (st *stage) states() map[string]string {
	all := map[string]string{}
	for _, s := range st.Snapshot() {
		all[s.Spec.Address] = s.State.String()
		if s.Cause != health.None {
			all[s.Spec.Address] += " by " + s.Cause.String()
		}
	}
	return all
}

// is waits until every goroutine waits, and wants the endpoint in the state.
func (st *stage) is(address, want string) {
	st.t.Helper()
	synctest.Wait()
	if got := st.states()[address]; got != want {
		st.t.Fatalf("%s is %q, want %q", address, got, want)
	}
}
