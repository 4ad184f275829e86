package policytest

// What the suite asks of policies that keep a key with its endpoint.

import (
	"math"
	"slices"
	"testing"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// keysMax is how many keys the suite follows.
const keysMax = 10_000

// homes is where each of the suite's keys is.
func homes(picker policy.Picker) []*endpoint.Endpoint {
	attempts := NewAttempts(12)
	at := make([]*endpoint.Endpoint, keysMax)
	for i := range at {
		a := attempts.Next()
		at[i] = picker.Pick(&a)
	}
	return at
}

// keyStays: neither chance nor order nor load moves a key.
func (s *suite) keyStays(t *testing.T) {
	eps := Endpoints(20, uneven)
	picker := s.policy.Build(eps, eps, nil)
	attempts := NewAttempts(13)
	for range 200 {
		a := attempts.Next()
		home := picker.Pick(&a)
		for range 10 {
			b := attempts.Next()
			b.Key = a.Key
			if got := picker.Pick(&b); got != home {
				t.Fatalf("a key went from %v to %v", home.ID(), got.ID())
			}
		}
	}
}

// flapping: an endpoint that is unusable for a while moves its own keys, not all to the
// same other one, and they return to it. Others that are unusable all along do not matter,
// not even if they are most.
func (s *suite) flapping(t *testing.T) {
	for _, n := range []int{2, 3, 20, 200, 1000} {
		for _, out := range []int{0, n / 3, n - n/20 - 2} {
			if out < 0 || out > n-2 {
				continue
			}
			eps := Endpoints(n, uneven)
			up := eps[out:]
			first := s.policy.Build(eps, up, nil)
			before := homes(first)
			flapping := up[len(up)/2]
			without := slices.DeleteFunc(slices.Clone(up), func(e *endpoint.Endpoint) bool { return e == flapping })
			second := s.policy.Build(eps, without, first)
			heirs := make(map[*endpoint.Endpoint]int)
			moved := 0
			for i, e := range homes(second) {
				if before[i] == flapping {
					heirs[e]++
					moved++
				} else if e != before[i] {
					t.Fatalf("%d of %d up: a key of %v moved to %v", len(up), n, before[i].ID(), e.ID())
				}
			}
			if len(up) > 5 && moved > 50 && len(heirs) < 4 {
				t.Errorf("%d of %d up: %d keys went to only %d others", len(up), n, moved, len(heirs))
			}
			if !slices.Equal(homes(s.policy.Build(eps, up, second)), before) {
				t.Errorf("%d of %d up: not all keys came home", len(up), n)
			}
		}
	}
}

// comeAndGo: a member more or less moves few keys, and those to or from itself, except for
// the slack.
func (s *suite) comeAndGo(t *testing.T) {
	for _, n := range []int{2, 10, 50, 500} {
		eps := Endpoints(n, nil)
		gone := n / 2
		rest := slices.Delete(slices.Clone(eps), gone, gone+1)
		with := s.policy.Build(eps, eps, nil)
		without := s.policy.Build(rest, rest, with)
		before := homes(with)
		moved, needless, own := 0, 0, 0
		for i, e := range homes(without) {
			if before[i] == eps[gone] {
				own++
			}
			if e != before[i] {
				moved++
				if before[i] != eps[gone] {
					needless++
				}
			}
		}
		// The member's own share is 1/n only about as evenly as the policy spreads keys,
		// for which the slack stands, too.
		bound := keysMax * (1/float64(n) + s.slack)
		bound += 6 * math.Sqrt(bound)
		if float64(moved) > bound {
			t.Errorf("one of %d gone: %d of %d keys moved, of which it had %d; want at most %.0f", n, moved, keysMax, own, bound)
		}
		if allowed := keysMax*s.slack + 6*math.Sqrt(keysMax*s.slack); float64(needless) > allowed {
			t.Errorf("one of %d gone: %d keys of others moved, want at most %.0f", n, needless, allowed)
		}
		if !slices.Equal(homes(s.policy.Build(eps, eps, without)), before) {
			t.Errorf("one of %d gone and back: not all keys came home", n)
		}
	}
}

// withoutKey: attempts without a key do not all go to one endpoint.
func (s *suite) withoutKey(t *testing.T) {
	eps := Endpoints(10, nil)
	picker := s.policy.Build(eps, eps, nil)
	attempts := NewAttempts(14)
	counts := make(map[*endpoint.Endpoint]int)
	const picks = 10_000
	for range picks {
		a := attempts.Next()
		a.Key = 0
		counts[picker.Pick(&a)]++
	}
	for _, e := range eps {
		if c := counts[e]; c < picks/20 || c > picks/5 {
			t.Errorf("%v drew %d of %d without key, want about %d", e.ID(), c, picks, picks/10)
		}
	}
}
