package poise_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// restless is a source that changes its own map all the time, under its own lock.
type restless struct {
	spec    endpoint.Spec
	started atomic.Int64
	done    func() // a field that == of the struct could not compare

	mu   sync.Mutex
	seen map[int]int
}

func (r *restless) Run(ctx context.Context, publish func(discovery.Update)) error {
	r.started.Add(1)
	publish(discovery.Update{Endpoints: []endpoint.Spec{r.spec}})
	for i := 0; ctx.Err() == nil; i++ {
		r.mu.Lock()
		r.seen[i%1000] = i
		r.mu.Unlock()
	}
	return nil
}

// TestApplyDoesNotLookInsideCustomSources fails in the race detector, or by a fatal error
// of the map, if a comparison does. An equal configuration does not start a source anew.
func TestApplyDoesNotLookInsideCustomSources(t *testing.T) {
	spec := endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: "127.0.0.1:1"}}
	one := &restless{spec: spec, seen: map[int]int{}, done: func() {}}
	part := &restless{spec: spec, seen: map[int]int{}, done: func() {}}
	c := poise.Config{
		Services: map[string]poise.Service{
			"one": {Source: &poise.Source{Custom: one}},
			"two": {Source: &poise.Source{Merge: []poise.SourcePart{{Source: poise.Source{Custom: part}}, {Source: poise.Source{Custom: discovery.Static{spec}}}}}},
		},
		Routes: []poise.Route{{Service: "one"}},
		Logger: quiet,
	}
	p := start(t, c)
	eventually(t, "both run", func() bool { return one.started.Load() == 1 && part.started.Load() == 1 })
	for range 200 {
		if err := p.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := one.started.Load(), part.started.Load(); a != 1 || b != 1 {
		t.Errorf("started %d and %d times by equal configurations", a, b)
	}
}
