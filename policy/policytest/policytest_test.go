package policytest_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
	"github.com/poise-lb/poise/policy/policytest"
)

// A mutant is a policy with one fault.
type mutant struct {
	pick  func(b *built, a *policy.Attempt) *endpoint.Endpoint
	stale bool // takes prev for the picker if there is one
	wrong bool // stands on the members
}

type built struct {
	m      mutant
	usable []*endpoint.Endpoint
	picks  *atomic.Int64
}

func (m mutant) Build(members, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker {
	if m.stale && prev != nil {
		return prev
	}
	b := &built{m: m, usable: usable, picks: new(atomic.Int64)}
	if m.wrong {
		b.usable = members
	}
	return b
}

func (b *built) Pick(a *policy.Attempt) *endpoint.Endpoint {
	if len(b.usable) == 0 {
		return nil
	}
	return b.m.pick(b, a)
}

// from is the first endpoint from i on that was not tried.
func (b *built) from(i uint64, a *policy.Attempt) *endpoint.Endpoint {
	n := uint64(len(b.usable))
	for k := range n {
		if e := b.usable[(i%n+k)%n]; !a.Tried.Has(e) {
			return e
		}
	}
	return nil
}

func byRand(b *built, a *policy.Attempt) *endpoint.Endpoint { return b.from(a.Rand>>8, a) }
func byKey(b *built, a *policy.Attempt) *endpoint.Endpoint  { return b.from(a.Key, a) }

var sink []int

// mutants names the subtest that each must fail.
var mutants = map[string]struct {
	mutant
	claims []policytest.Option
	caught string
}{
	"none":       {mutant: mutant{pick: byRand}},
	"members":    {mutant: mutant{pick: byRand, wrong: true}, caught: "usable_only"},
	"stale":      {mutant: mutant{pick: byRand, stale: true}, caught: "whatever_came_before"},
	"unweighted": {mutant: mutant{pick: byRand}, claims: []policytest.Option{policytest.ByWeight()}, caught: "share_follows_weight"},
	"loadless":   {mutant: mutant{pick: byRand}, claims: []policytest.Option{policytest.ByLoad()}, caught: "never_the_busier"},
	"credulous":  {mutant: mutant{pick: idle}, claims: []policytest.Option{policytest.ByLoad()}, caught: "failing_at_once"},
	"modulo":     {mutant: mutant{pick: byKey}, claims: []policytest.Option{policytest.ByKey(0.02)}, caught: "flapping"},
	"moving":     {mutant: mutant{pick: byRand}, claims: []policytest.Option{policytest.ByKey(0.02)}, caught: "key_stays"},
	"keyless":    {mutant: mutant{pick: byKey}, claims: []policytest.Option{policytest.ByKey(1)}, caught: "without_key"},
	"repeating": {mutant: mutant{pick: func(b *built, a *policy.Attempt) *endpoint.Endpoint {
		return b.usable[a.Rand%uint64(len(b.usable))]
	}}, caught: "tried"},
	"counting": {mutant: mutant{pick: func(b *built, a *policy.Attempt) *endpoint.Endpoint {
		return b.from(uint64(b.picks.Add(1))+a.Rand, a)
	}}, caught: "deterministic"},
	"allocating": {mutant: mutant{pick: func(b *built, a *policy.Attempt) *endpoint.Endpoint {
		sink = make([]int, 1)
		return byRand(b, a)
	}}, caught: "no_allocation"},
	"scribbling": {mutant: mutant{pick: func(b *built, a *policy.Attempt) *endpoint.Endpoint {
		e := byRand(b, a)
		if e != nil {
			a.Tried.Add(e)
		}
		return e
	}}, caught: "tried"},
}

// idle picks the endpoint with the fewest attempts in flight and believes that it is well.
func idle(b *built, a *policy.Attempt) *endpoint.Endpoint {
	var best *endpoint.Endpoint
	for _, e := range b.usable {
		if !a.Tried.Has(e) && (best == nil || e.InFlight() < best.InFlight()) {
			best = e
		}
	}
	return best
}

const mutantVariable = "POLICYTEST_MUTANT"

// TestMutant runs the suite on the mutant that the environment names, for TestSuiteCatches.
func TestMutant(t *testing.T) {
	m, ok := mutants[os.Getenv(mutantVariable)]
	if !ok {
		t.Skip("run by TestSuiteCatches")
	}
	policytest.Run(t, m.mutant, m.claims...)
}

// TestSuiteCatches runs the suite on policies with a fault, each in a process of its own,
// because it must fail there: a suite that cannot fail says nothing.
func TestSuiteCatches(t *testing.T) {
	names := make([]string, 0, len(mutants))
	for name := range mutants {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestMutant$")
			cmd.Env = append(os.Environ(), mutantVariable+"="+name)
			out, err := cmd.CombinedOutput()
			caught := mutants[name].caught
			switch {
			case caught == "" && err != nil:
				t.Errorf("a policy without fault fails:\n%s", out)
			case caught != "" && (err == nil || !strings.Contains(string(out), "--- FAIL: TestMutant/"+caught+" ")):
				t.Errorf("%s did not catch it (%v):\n%s", caught, err, out)
			}
		})
	}
}
