package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// fleet makes n endpoints.
func fleet(n int) []*endpoint.Endpoint {
	members, _ := spreads(make([]spread, n))
	return members
}

// subset is what a proxy of that name uses.
func subset(t *testing.T, members, usable []*endpoint.Endpoint, size int, proxy string) []*endpoint.Endpoint {
	t.Helper()
	p, ok := InSubset(P2C(), size, proxy).Build(members, usable, nil).(*subsetPicker)
	if !ok {
		return slices.Clone(usable)
	}
	if len(p.usable) != min(size, len(usable)) {
		t.Fatalf("%d of %d usable: %d", size, len(usable), len(p.usable))
	}
	return p.usable
}

// TestSubsetsAreSpread: of proxies with numbers every endpoint has nearly as many, however many
// proxies there are; with random names about as many as by chance.
func TestSubsetsAreSpread(t *testing.T) {
	for _, n := range []int{40, 200, 1000} {
		members := fleet(n)
		for _, proxies := range []int{10, 50, 51, 100, 333} {
			for _, size := range []int{n / 10, n / 5, n / 3} {
				counts := make(map[*endpoint.Endpoint]int)
				for i := range proxies {
					for _, e := range subset(t, members, members, size, fmt.Sprint("poise-", i)) {
						counts[e]++
					}
				}
				mean := float64(proxies) * float64(size) / float64(n)
				for _, e := range members {
					if c := float64(counts[e]); c < mean-2.5 || c > mean+2.5 {
						t.Fatalf("%d of %d endpoints, %d proxies: %v are at %v, the mean is %.1f", size, n, proxies, c, e.ID(), mean)
					}
				}
			}
		}
	}
}

// TestSubsetsHardlyMove: an endpoint that comes or goes moves one other into a subset and one out of
// it at most, and another proxy moves nothing.
func TestSubsetsHardlyMove(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	moved, cases := 0, 0
	for range 300 {
		all := fleet(20 + r.IntN(300))
		size := 1 + r.IntN(15)
		gone := r.IntN(len(all))
		rest := slices.Delete(slices.Clone(all), gone, gone+1)
		proxy := fmt.Sprintf("poise-%d", r.IntN(100))
		if r.IntN(2) == 0 {
			proxy = fmt.Sprintf("web-%x-q", r.Uint64())
		}
		before, after := subset(t, all, all, size, proxy), subset(t, rest, rest, size, proxy)
		in, out := 0, 0
		for _, e := range after {
			if !slices.Contains(before, e) {
				in++
			}
		}
		for _, e := range before {
			if e != all[gone] && !slices.Contains(after, e) {
				out++
			}
		}
		if in > 1 || out > 1 {
			t.Fatalf("%d of %d, one gone: %d came and %d others went", size, len(all), in, out)
		}
		moved, cases = moved+out, cases+1
	}
	if moved > cases*2/3 {
		t.Errorf("in %d of %d cases an endpoint left a subset needlessly", moved, cases)
	}
}

// TestSubsetsGrow: others take the place of endpoints that may not be picked, and an endpoint that is
// ejected changes nothing else in the subset.
func TestSubsetsGrow(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 5))
	for range 200 {
		members := fleet(30 + r.IntN(100))
		size := 1 + r.IntN(20)
		usable := slices.Clone(members)
		before := subset(t, members, usable, size, "poise-7")
		for len(usable) > 0 {
			gone := r.IntN(len(usable))
			if r.IntN(2) == 0 {
				gone = slices.Index(usable, before[r.IntN(len(before))])
			}
			lost := usable[gone]
			usable = slices.Delete(usable, gone, gone+1)
			after := subset(t, members, usable, size, "poise-7")
			for _, e := range before {
				if e != lost && !slices.Contains(after, e) {
					t.Fatalf("%v left, and %v with it", lost.ID(), e.ID())
				}
			}
			before = after
		}
	}
}

// An attempt that has tried the whole subset goes to an endpoint outside of it.
func TestSubsetIsNoPrison(t *testing.T) {
	members := fleet(10)
	p := InSubset(RoundRobin(), 2, "poise-0").Build(members, members, nil)
	inside := p.(*subsetPicker).usable
	var a Attempt
	for try := range AttemptsMax {
		e := p.Pick(&a)
		if e == nil || a.Tried.Has(e) || slices.Contains(inside, e) != (try < 2) {
			t.Fatalf("attempt %d at %v", try, e)
		}
		a.Tried.Add(e)
	}
}

// Out endpoints have no place on the circle, and keys have a home.
func TestSubsetOfWhatIsNotOut(t *testing.T) {
	members := fleet(12)
	for _, e := range members[:4] {
		spec := *e.Spec()
		spec.Out = true
		e.Update(spec)
	}
	p := InSubset(ConsistentHash(HashConfig{}), 3, "poise-0").Build(members, members[4:], nil)
	if place := p.(Placer).Places()[0]; place.Members != 8 || place.Usable != 8 || place.Subset != 3 {
		t.Errorf("%+v", place)
	}
	a := Attempt{Key: 77}
	if e := p.Pick(&a); e == nil || e != p.(Owner).Owner(77) {
		t.Errorf("%v", e)
	}
	if s, unit := p.(Scorer).Score(members[5], time.Minute); unit != "" {
		t.Errorf("hashing has a score, %v %s", s, unit)
	}
}

func TestPositions(t *testing.T) {
	ten := uint64(10) // a variable: the product exceeds a constant
	if position("poise-1")-position("poise-0") != golden || position("poise-12")-position("poise-2") != ten*golden {
		t.Error("numbers are no steps")
	}
	if position("poise-0") == position("other-0") || position("a") == position("b") || position("9999999999999999999999999") == 0 {
		t.Error("names do not matter")
	}
}
