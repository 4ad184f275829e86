package plan_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/plan"
	"github.com/poise-lb/poise/internal/service"
)

// A field is the endpoints of the test, which note the probes that they get: which check, and where.
type field struct {
	urls   []string
	mu     sync.Mutex
	probes map[string]bool
}

func newField(t *testing.T, n int) *field {
	f := &field{probes: make(map[string]bool)}
	for i := range n {
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.probes[fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, i)] = true
		}))
		t.Cleanup(server.Close)
		f.urls = append(f.urls, server.URL)
	}
	return f
}

// probed is how many endpoints were probed by the checks of c. An endpoint that joins by the same
// Apply that changes the check may be probed by the old one first, which does not count.
func (f *field) probed(c *config.Config) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for at := range f.probes {
		for _, s := range c.Services {
			if s.Health != nil && strings.HasPrefix(at, s.Health.Check+" ") {
				n++
			}
		}
	}
	return n
}

// settled waits until so many endpoints were probed by the checks of c, and reports whether they
// were.
func (f *field) settled(c *config.Config, want int) bool {
	for end := time.Now().Add(30 * time.Second); f.probed(c) < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return f.probed(c) == want
}

// random is a random configuration of a few services and endpoints.
func (f *field) random(r *rand.Rand) config.Config {
	c := config.Config{Services: make(map[string]config.Service)}
	for _, name := range []string{"a", "b", "c"} {
		if r.IntN(4) == 0 {
			continue
		}
		var s config.Service
		for _, i := range r.Perm(len(f.urls))[:1+r.IntN(len(f.urls)-1)] {
			s.Endpoints = append(s.Endpoints, config.Endpoint{URL: f.urls[i], Weight: 1 + r.IntN(2), Drain: r.IntN(8) == 0})
		}
		s.Policy.Type = []string{"p2c", "round_robin", "consistent_hash", "consistent_hash"}[r.IntN(4)]
		if s.Policy.Type == "consistent_hash" {
			s.Policy.Algorithm = []string{"ring", "maglev", "rendezvous"}[r.IntN(3)]
		}
		if r.IntN(3) > 0 {
			s.Health = &config.Health{Check: []string{"HEAD /", "GET /"}[r.IntN(2)] + name, Interval: time.Hour}
		}
		s.Retry.Attempts = 1 + r.IntN(2)
		c.Services[name] = s
		c.Routes = append(c.Routes, config.Route{Name: "to-" + name, Match: config.Match{Path: "/" + name}, Service: name, Timeout: time.Duration(r.IntN(2)) * time.Second})
	}
	if len(c.Services) == 0 {
		return f.random(r)
	}
	return c
}

// A snapshot is what a running proxy has of its services: the service itself, and the pool of each
// endpoint that is not draining.
type snapshot map[string]struct {
	service *service.Service
	pools   map[endpoint.ID]any
}

func look(p *core.Proxy) snapshot {
	out := make(snapshot)
	for _, s := range p.Services() {
		pools := make(map[endpoint.ID]any)
		for _, e := range s.Snapshot() {
			if e.State != health.Draining {
				pools[e.Spec.ID] = e.Attached
			}
		}
		out[s.Name()] = struct {
			service *service.Service
			pools   map[endpoint.ID]any
		}{s, pools}
	}
	return out
}

func make1(p *core.Proxy, c config.Config) (plan.Plan, error) {
	running := make(map[string]*service.Service)
	for _, s := range p.Services() {
		running[s.Name()] = s
	}
	return plan.Make(plan.State{
		Config: *p.Config(), Generation: p.Reloads().Generation,
		Live: func(name string) []service.EndpointStatus { return running[name].Snapshot() },
	}, c)
}

// What a plan says is what Apply does, on random pairs of configurations: services go on or start,
// endpoints keep their pools, come, go and are probed anew, and afterwards nothing changes.
func TestApplyDoesWhatThePlanSays(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	changed := 0
	for seed := range rounds {
		f := newField(t, 6)
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		old, next := f.random(r), f.random(r)
		if r.IntN(8) == 0 {
			next = old
		}
		rt := goroutine.New()
		p, err := core.New(rt, old, core.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if !p.AwaitReady(rt.Now()+10*time.Second) || !f.settled(&old, probedAtFirst(old)) {
			t.Fatalf("%d: %d endpoints probed, want %d", seed, f.probed(&old), probedAtFirst(old))
		}
		before := look(p)
		f.mu.Lock()
		clear(f.probes)
		f.mu.Unlock()
		said, err := make1(p, next)
		if err != nil {
			t.Fatal(err)
		}
		if offline, err := plan.Make(plan.State{Config: old}, next); err != nil || !reflect.DeepEqual(offline.Services, said.Services) || !reflect.DeepEqual(offline.Totals, said.Totals) {
			t.Fatalf("%d: offline %v\n%+v\nlive\n%+v", seed, err, offline, said)
		}
		if err := p.Apply(next); err != nil {
			t.Fatal(err)
		}
		compare(t, fmt.Sprint(seed), &said, before, look(p))
		if !f.settled(&next, said.Totals.Probed) {
			t.Errorf("%d: %d endpoints probed after Apply, planned %d\n%+v", seed, f.probed(&next), said.Totals.Probed, said)
		}
		again, err := make1(p, next)
		if err != nil || again.Changes || again.Hash == said.Hash {
			t.Errorf("%d: after Apply: %v, %+v", seed, err, again)
		}
		p.Close()
		if got := f.probed(&next); got != said.Totals.Probed {
			t.Errorf("%d: %d endpoints probed in all, planned %d", seed, got, said.Totals.Probed)
		}
		if said.Changes {
			changed++
		}
	}
	if changed < rounds/2 || changed == rounds && !testing.Short() {
		t.Fatalf("%d of %d pairs differ: the generator does not reach everything", changed, rounds)
	}
}

// probedAtFirst is how many probes a start makes.
func probedAtFirst(c config.Config) (n int) {
	for _, s := range c.Services {
		for _, e := range s.Endpoints {
			if s.Health != nil && !e.Drain {
				n++
			}
		}
	}
	return n
}

func compare(t *testing.T, at string, said *plan.Plan, before, after snapshot) {
	t.Helper()
	kept := 0
	for name, is := range after {
		was, had := before[name]
		i := slices.IndexFunc(said.Services, func(s plan.Service) bool { return s.Name == name })
		var one plan.Service
		if i >= 0 {
			one = said.Services[i]
		}
		if had != (one.Do != plan.Add) || had && was.service != is.service {
			t.Errorf("%s: service %s: had %v, plan %+v", at, name, had, one)
		}
		var added, removed []string
		for id, pool := range is.pools {
			if old, known := was.pools[id]; !known {
				added = append(added, id.String())
			} else if kept++; old != pool {
				t.Errorf("%s: service %s: %v has another pool", at, name, id)
			}
		}
		for id := range was.pools {
			if _, stays := is.pools[id]; !stays {
				removed = append(removed, id.String())
			}
		}
		for _, list := range [][2][]string{{added, one.Added}, {removed, one.Removed}} {
			slices.Sort(list[0])
			slices.Sort(list[1])
			if !slices.Equal(list[0], list[1]) {
				t.Errorf("%s: service %s: %v, planned %v", at, name, list[0], list[1])
			}
		}
	}
	for name := range before {
		if _, stays := after[name]; !stays && !slices.ContainsFunc(said.Services, func(s plan.Service) bool { return s.Name == name && s.Do == plan.Remove }) {
			t.Errorf("%s: service %s is gone, but not by the plan", at, name)
		}
	}
	if kept != said.Totals.Kept {
		t.Errorf("%s: %d endpoints kept, planned %d", at, kept, said.Totals.Kept)
	}
}
