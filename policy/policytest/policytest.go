// Package policytest is one suite of properties for every policy, the built-in ones and
// those of others. A test of a policy is a call of Run:
//
//	func TestMine(t *testing.T) {
//		policytest.Run(t, mine.New(), policytest.ByLoad())
//	}
//
// Run checks what every policy owes; the options say what else this one claims.
package policytest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// An Option is something a policy claims, or asks to be excused from.
type Option func(*suite)

// ByWeight claims that shares follow weights while nothing is in flight.
func ByWeight() Option { return func(s *suite) { s.byWeight = true } }

// ByLoad claims that, of two endpoints, the one that is busier by an attempt or more per
// weight is never picked, and that an endpoint which fails at once gains nothing by it.
func ByLoad() Option { return func(s *suite) { s.byLoad = true } }

// ByKey claims that the key alone says where an attempt goes: that it stays there, that an
// endpoint which is unusable for a while moves only its own keys, which return to it, and
// that of n members one that comes or goes moves no more than a share of 1/n + slack.
func ByKey(slack float64) Option {
	return func(s *suite) { s.byKey, s.slack = true, slack }
}

// KeepsHistory asks to be excused from picking alike whatever the previous picker was.
func KeepsHistory() Option { return func(s *suite) { s.history = true } }

type suite struct {
	policy   policy.Policy
	byWeight bool
	byLoad   bool
	byKey    bool
	slack    float64
	history  bool
}

// Run runs the suite as subtests of t, which must not be parallel (allocations are counted).
func Run(t *testing.T, p policy.Policy, opts ...Option) {
	t.Helper()
	s := &suite{policy: p}
	for _, o := range opts {
		o(s)
	}
	run := func(claimed bool, name string, f func(*testing.T)) {
		if claimed {
			t.Run(name, f)
		}
	}
	run(true, "sizes", s.sizes)
	run(true, "usable only", s.usableOnly)
	run(true, "tried", s.tried)
	run(true, "deterministic", s.deterministic)
	run(!s.history, "whatever came before", s.whateverCameBefore)
	run(true, "prev untouched", s.prevUntouched)
	run(true, "no allocation", s.noAllocation)
	run(true, "concurrent", s.concurrent)
	run(true, "failing at once", s.failingAtOnce)
	run(s.byWeight, "share follows weight", s.shareFollowsWeight)
	run(s.byLoad, "never the busier", s.neverTheBusier)
	run(s.byLoad, "never the failing of two", s.neverTheFailing)
	run(s.byKey, "key stays", s.keyStays)
	run(s.byKey, "flapping", s.flapping)
	run(s.byKey, "come and go", s.comeAndGo)
	run(s.byKey, "without key", s.withoutKey)
}

// now is the instant at which the suite picks, where time plays no part.
const now = time.Minute

// Endpoints makes n usable endpoints in the order of their IDs, with the weights that
// weight says by index; nil: 1. It is exported for tests of particular policies.
func Endpoints(n int, weight func(i int) int) []*endpoint.Endpoint {
	eps := make([]*endpoint.Endpoint, n)
	for i := range eps {
		eps[i] = newEndpoint(i, weight)
	}
	return eps
}

func newEndpoint(i int, weight func(int) int) *endpoint.Endpoint {
	s := endpoint.Spec{ID: endpoint.ID{
		Scheme:  "http",
		Address: fmt.Sprintf("10.%03d.%03d.%03d:8080", i>>16&255, i>>8&255, i&255),
	}}
	if weight != nil {
		s.Weight = float64(weight(i))
	}
	e := endpoint.New(s)
	e.SetUsable(true)
	return e
}

// uneven gives all kinds of weights.
func uneven(i int) int { return 1 + i*i*31%17 }

// Attempts makes attempts one after the other as a worker does, each with a key.
type Attempts struct {
	rand *rand.Rand
	seq  uint64
}

// NewAttempts starts from a seed.
func NewAttempts(seed uint64) *Attempts {
	r := rand.New(rand.NewPCG(seed, 0x706f6973))
	return &Attempts{rand: r, seq: r.Uint64()}
}

// Next is the next attempt.
func (s *Attempts) Next() policy.Attempt {
	s.seq++
	return policy.Attempt{Key: s.rand.Uint64() | 1, Rand: s.rand.Uint64(), Seq: s.seq, Now: now}
}

// subset leaves out about one in four.
func subset(eps []*endpoint.Endpoint, r *rand.Rand) []*endpoint.Endpoint {
	var some []*endpoint.Endpoint
	for _, e := range eps {
		if r.IntN(4) > 0 {
			some = append(some, e)
		}
	}
	return some
}

func set(eps []*endpoint.Endpoint) map[*endpoint.Endpoint]bool {
	m := make(map[*endpoint.Endpoint]bool, len(eps))
	for _, e := range eps {
		m[e] = true
	}
	return m
}

// sizes: none, one, two, many; and none usable.
func (s *suite) sizes(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 100, 10_000} {
		weights := []func(int) int{nil, uneven, func(i int) int { return 1 + i*7919%1000 }}
		if n > 100 {
			weights = weights[1:2] // builds take their time
		}
		for _, weight := range weights {
			eps := Endpoints(n, weight)
			attempts := NewAttempts(uint64(n))
			var picker policy.Picker
			for _, usable := range [][]*endpoint.Endpoint{eps, nil, eps[:n/2], eps[n/2:]} {
				picker = s.policy.Build(eps, usable, picker)
				if picker == nil {
					t.Fatalf("no picker for %d of %d", len(usable), n)
				}
				in := set(usable)
				for range 200 {
					a := attempts.Next()
					if e := picker.Pick(&a); (e == nil) != (len(usable) == 0) || e != nil && !in[e] {
						t.Fatalf("picked %v among %d of %d", e, len(usable), n)
					}
				}
			}
		}
	}
}

// usableOnly: the set given to Build says what may be picked, not the endpoint's own flag,
// which lies in panic mode.
func (s *suite) usableOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 5, 40, 300} {
		eps := Endpoints(n, uneven)
		attempts := NewAttempts(uint64(n))
		var picker policy.Picker
		for range 20 {
			usable := subset(eps, r)
			in := set(usable)
			for _, e := range eps {
				e.SetUsable(r.IntN(2) == 0)
			}
			picker = s.policy.Build(eps, usable, picker)
			for range 100 {
				a := attempts.Next()
				if e := picker.Pick(&a); (e == nil) != (len(usable) == 0) || e != nil && !in[e] {
					t.Fatalf("picked %v, usable or not by its flag, among %d of %d", e, len(usable), n)
				}
			}
		}
	}
}

// tried: every pick is another endpoint, to the last one, and then nil.
func (s *suite) tried(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for _, n := range []int{1, 2, 3, policy.AttemptsMax - 1, policy.AttemptsMax, policy.AttemptsMax + 1, 33, 200} {
		for _, weight := range []func(int) int{nil, uneven, func(i int) int { return 1 + 99*(i&1) }} {
			eps := Endpoints(n, weight)
			for _, e := range eps {
				for range r.IntN(5) {
					e.Begin(now)
				}
			}
			var picker policy.Picker
			for _, usable := range [][]*endpoint.Endpoint{eps, subset(eps, r)} {
				picker = s.policy.Build(eps, usable, picker)
				s.tryAll(t, picker, len(usable))
			}
		}
	}
}

func (s *suite) tryAll(t *testing.T, picker policy.Picker, usable int) {
	t.Helper()
	attempts := NewAttempts(uint64(usable))
	for range 100 {
		a := attempts.Next()
		for try := range policy.AttemptsMax {
			before := a
			e := picker.Pick(&a)
			if a != before {
				t.Fatal("Pick changed the attempt")
			}
			if (e == nil) != (try >= usable) {
				t.Fatalf("picked %v after %d of %d were tried", e, try, usable)
			}
			if e == nil {
				break
			}
			if a.Tried.Has(e) {
				t.Fatalf("picked %v again, as number %d of %d", e.ID(), try+1, usable)
			}
			a.Tried.Add(e)
			a.Rand = attempts.rand.Uint64()
		}
	}
}

// deterministic: same members, load and attempts, same picks, however often one asks.
func (s *suite) deterministic(t *testing.T) {
	eps := Endpoints(50, uneven)
	r := rand.New(rand.NewPCG(3, 1))
	for _, e := range eps {
		for range r.IntN(4) {
			e.Begin(now)
		}
	}
	usable := subset(eps, r)
	s.samePicks(t, s.policy.Build(eps, usable, nil), s.policy.Build(eps, usable, nil), "built twice")
}

func (s *suite) samePicks(t *testing.T, one, other policy.Picker, when string) {
	t.Helper()
	attempts := NewAttempts(4)
	for i := range 500 {
		a := attempts.Next()
		b := a
		e := one.Pick(&a)
		if f := other.Pick(&b); e != f {
			t.Fatalf("%s: pick %d is %v and %v", when, i, e, f)
		}
		if f := one.Pick(&a); e != f {
			t.Fatalf("%s: pick %d is %v, and asked again %v", when, i, e, f)
		}
	}
}

// whateverCameBefore: sets that shrink, grow and change their weights, each picker built
// on the one before, pick as if built anew.
func (s *suite) whateverCameBefore(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	all := Endpoints(40, uneven)
	var prev policy.Picker
	members, usable := all, all
	for step := range 30 {
		switch r.IntN(5) {
		case 0: // nothing
		case 1:
			members = subset(all, r)
			usable = subset(members, r)
		case 2:
			members = all[:r.IntN(len(all))]
			usable = members
		case 3:
			usable = subset(members, r)
		case 4:
			e := all[r.IntN(len(all))]
			spec := *e.Spec()
			spec.Weight = float64(1 + r.IntN(20))
			e.Update(spec)
		}
		prev = s.policy.Build(members, usable, prev)
		s.samePicks(t, prev, s.policy.Build(members, usable, nil), fmt.Sprintf("step %d, %d of %d", step, len(usable), len(members)))
	}
}

// prevUntouched: exchanges still pick from a picker that is being replaced.
func (s *suite) prevUntouched(t *testing.T) {
	eps := Endpoints(30, uneven)
	prev, same := s.policy.Build(eps[:20], eps[:20], nil), s.policy.Build(eps[:20], eps[:20], nil)
	next := s.policy.Build(eps, eps[5:], prev)
	s.samePicks(t, prev, same, "after a build on it")
	s.policy.Build(eps[3:9], eps[4:6], next)
	s.samePicks(t, prev, same, "after two builds on it")
}

func (s *suite) noAllocation(t *testing.T) {
	for _, n := range []int{2, 20, 200} {
		eps := Endpoints(n, uneven)
		picker := s.policy.Build(eps, eps[n/2:], nil)
		attempts := NewAttempts(6)
		a := attempts.Next()
		if allocs := testing.AllocsPerRun(500, func() {
			a = attempts.Next()
			for range 3 {
				if e := picker.Pick(&a); e != nil {
					a.Tried.Add(e)
				}
			}
		}); allocs != 0 {
			t.Errorf("%d endpoints: %v allocations in three picks", n, allocs)
		}
	}
}

// share is a bound for a count that is a binomial variable with this mean, or closer to
// its mean than one: six standard deviations.
func share(mean float64) float64 { return 6*math.Sqrt(mean) + 3 }
