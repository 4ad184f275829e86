package discoverytest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

// A board is a registry in memory that can be asked and watched.
type board struct {
	mu      sync.Mutex
	change  chan struct{} // closed and replaced at every change
	specs   []endpoint.Spec
	down    bool
	frozen  bool
	resets  int
	version int
}

func newBoard() *board { return &board{change: make(chan struct{})} }

func (b *board) do(what func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	what()
	b.version++
	close(b.change)
	b.change = make(chan struct{})
}

func (b *board) Set(specs []endpoint.Spec) { b.do(func() { b.specs = slices.Clone(specs) }) }
func (b *board) Down()                     { b.do(func() { b.down = true; b.resets++ }) }
func (b *board) Up()                       { b.do(func() { b.down = false }) }
func (b *board) Reset()                    { b.do(func() { b.resets++ }) }
func (b *board) Freeze()                   { b.do(func() { b.frozen = true }) }
func (b *board) Unfreeze()                 { b.do(func() { b.frozen = false }) }

var errDown = errors.New("connection refused")

// ask returns the set and what tells of the next change. It hangs as long as the board is
// frozen.
func (b *board) ask(ctx context.Context) ([]endpoint.Spec, <-chan struct{}, error) {
	for {
		b.mu.Lock()
		specs, change, frozen, down := b.specs, b.change, b.frozen, b.down
		b.mu.Unlock()
		switch {
		case down:
			return nil, nil, errDown
		case !frozen:
			return specs, change, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-change:
		}
	}
}

// A faulty is a source for boards with at most one fault.
type faulty struct {
	*board
	fault string
}

// sink keeps what a leaking source leaks.
var sink struct {
	mu   sync.Mutex
	held [][]byte
}

func (f faulty) Run(ctx context.Context, publish func(discovery.Update)) error {
	if f.fault == "late" {
		defer func() {
			go func() {
				time.Sleep(time.Millisecond)
				publish(discovery.Update{Err: errDown})
			}()
		}()
	}
	for first := true; ctx.Err() == nil; first = false {
		specs, change, err := f.asked(ctx)
		if ctx.Err() != nil {
			break
		}
		f.tell(publish, specs, err, first)
		wait := time.Second
		if err == nil {
			wait = 10 * time.Second
		}
		f.leak(ctx)
		select {
		case <-f.stopped(ctx):
		case <-change:
		case <-time.After(wait):
		}
	}
	switch f.fault {
	case "returns an error":
		return ctx.Err()
	case "slow end":
		time.Sleep(time.Minute)
	}
	return nil
}

// asked asks with patience, or without end.
func (f faulty) asked(ctx context.Context) ([]endpoint.Spec, <-chan struct{}, error) {
	if f.fault == "hangs" {
		specs, change, err := f.ask(context.Background())
		return specs, change, err
	}
	if f.fault == "hangs until told" {
		return f.ask(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return f.ask(ctx)
}

func (f faulty) stopped(ctx context.Context) <-chan struct{} {
	if f.fault == "deaf" {
		return nil
	}
	return ctx.Done()
}

func (f faulty) leak(ctx context.Context) {
	switch f.fault {
	case "leaks goroutines":
		go func() { <-ctx.Done() }()
	case "leaks memory":
		sink.mu.Lock()
		sink.held = append(sink.held, make([]byte, 64<<10))
		sink.mu.Unlock()
	}
}

// tell publishes the outcome of one question.
func (f faulty) tell(publish func(discovery.Update), specs []endpoint.Spec, err error, first bool) {
	switch {
	case err != nil && f.fault == "empties":
		publish(discovery.Update{})
	case err != nil && f.fault == "silent":
	case err != nil:
		publish(discovery.Update{Err: err})
	case f.fault == "partial" && len(specs) > 2:
		publish(discovery.Update{Endpoints: specs[:2]})
		publish(discovery.Update{Endpoints: specs})
	case f.fault == "twice":
		publish(discovery.Update{Endpoints: append(slices.Clone(specs), specs...)})
	case f.fault == "short" && len(specs) > 100:
		publish(discovery.Update{Endpoints: specs[:100]})
	case f.fault == "weightless":
		all := slices.Clone(specs)
		for i := range all {
			all[i].Weight = 7
		}
		publish(discovery.Update{Endpoints: all})
	case f.fault == "nameless" && len(specs) > 0:
		all := slices.Clone(specs)
		all[0].Address = "host.example:80"
		publish(discovery.Update{Endpoints: all})
	case f.fault == "two at once":
		var both sync.WaitGroup
		both.Go(func() { publish(discovery.Update{Endpoints: specs}) })
		both.Go(func() { publish(discovery.Update{Endpoints: specs}) })
		both.Wait()
	case f.fault == "never empty" && len(specs) == 0:
	case f.fault == "once" && !first:
	default:
		publish(discovery.Update{Endpoints: specs})
	}
}

// faults names a check that must catch each.
var faults = map[string]string{
	"":                 "",
	"empties":          "down",
	"silent":           "down",
	"once":             "changes",
	"partial":          "changes",
	"twice":            "initial",
	"short":            "changes",
	"weightless":       "changes",
	"nameless":         "initial",
	"two at once":      "initial",
	"never empty":      "empty",
	"hangs":            "end-frozen",
	"hangs until told": "frozen",
	"deaf":             "end",
	"slow end":         "end",
	"late":             "end",
	"returns an error": "end",
	"leaks goroutines": "leak",
	"leaks memory":     "leak",
}

const faultVariable = "DISCOVERYTEST_FAULT"

// TestFault runs the suite on a source with the fault that the environment names, for
// TestSuiteCatches.
func TestFault(t *testing.T) {
	fault, ok := os.LookupEnv(faultVariable)
	if !ok {
		t.Skip("run by TestSuiteCatches")
	}
	suite(t, fault)
}

func suite(t *testing.T, fault string) {
	discoverytest.Run(t, discoverytest.Config{
		Virtual: true, Atomic: true, Weights: true,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			b := newBoard()
			return faulty{b, fault}, b
		},
	})
}

// TestSuiteCatches runs the suite on faulty sources, each in a process of its own, because
// it must fail there: a suite that cannot fail says nothing.
func TestSuiteCatches(t *testing.T) {
	for _, fault := range slices.Sorted(maps.Keys(faults)) {
		t.Run(fault, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestFault$")
			cmd.Env = append(os.Environ(), faultVariable+"="+fault)
			out, err := cmd.CombinedOutput()
			caught := faults[fault]
			switch {
			case caught == "" && err != nil:
				t.Errorf("a source without fault fails:\n%s", out)
			case caught != "" && (err == nil || !strings.Contains(string(out), "--- FAIL: TestFault/"+caught+" ")):
				t.Errorf("%s did not catch it (%v):\n%s", caught, err, out)
			}
		})
	}
}

// TestMerge: what is merged of one registry and of a list that never changes is that
// registry's set.
func TestMerge(t *testing.T) {
	discoverytest.Run(t, discoverytest.Config{
		Virtual: true, Atomic: true, Weights: true,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			b := newBoard()
			return discovery.Merge(faulty{board: b}, discovery.Static(nil)), b
		},
		Without: map[string]string{
			"down-at-start": "the list is known, so there is a set, which says that the rest is not",
		},
	})
}

// TestStatic: a list keeps the parts of the contract that concern it.
func TestStatic(t *testing.T) {
	discoverytest.Run(t, discoverytest.Config{
		Virtual: true, Atomic: true, Weights: true,
		New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
			l := new(list)
			return l, l
		},
		Without: without("a list never changes and cannot fail", "late", "empty", "changes", "reordered",
			"down", "down-at-start", "reset", "frozen", "lost-data", "storm", "leak"),
	})
}

func without(why string, checks ...string) map[string]string {
	all := make(map[string]string)
	for _, c := range checks {
		all[c] = why
	}
	return all
}

// A list is made of what is set before it runs.
type list struct {
	board
	discovery.Static
}

func (l *list) Set(specs []endpoint.Spec) { l.Static = specs }
func (l *list) Freeze()                   {}
func (l *list) Unfreeze()                 {}
func (l *list) Down()                     {}
