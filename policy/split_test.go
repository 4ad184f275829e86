package policy

import (
	"math"
	"testing"
)

// keysTried is how many keys a test of shares looks at.
const keysTried = 200_000

// owners are those of the same keys each time.
func owners(s *Shares, ok func(int) bool) []int {
	out := make([]int, keysTried)
	for i := range out {
		out[i] = s.Pick(mix(uint64(i+1)*golden), ok)
	}
	return out
}

func TestSharesFollowWeights(t *testing.T) {
	for _, weights := range [][]int{{95, 5}, {1, 1, 1}, {99, 1}, {1000, 0, 1}, {7, 11, 2, 80}, {0, 3}} {
		names := []string{"v1", "v2", "canary", "next"}[:len(weights)]
		s := NewShares(names, weights)
		counts := make([]float64, len(weights))
		for _, i := range owners(s, nil) {
			counts[i]++
		}
		for i := range weights {
			p := s.Of(i)
			if sigma := math.Sqrt(p*(1-p)/keysTried) + 1e-5; math.Abs(counts[i]/keysTried-p) > 5*sigma {
				t.Errorf("%v: %s has %.5f of the keys, want %.5f", weights, names[i], counts[i]/keysTried, p)
			}
		}
	}
}

// TestSharesMoveTheFewestKeys: when a share grows, keys move to it and no others do; and no more of
// them than it has grown by.
func TestSharesMoveTheFewestKeys(t *testing.T) {
	for _, c := range []struct {
		names    []string
		old, new []int
		to       int     // the only one that gains
		moved    float64 // part of the keys
	}{
		{[]string{"v1", "v2"}, []int{95, 5}, []int{90, 10}, 1, 0.05},
		{[]string{"v1", "v2"}, []int{90, 10}, []int{95, 5}, 0, 0.05},
		{[]string{"v1", "v2"}, []int{1, 0}, []int{99, 1}, 1, 0.01},
		{[]string{"v1", "v2", "v3"}, []int{10, 10, 0}, []int{10, 10, 5}, 2, 0.2},
		{[]string{"v1", "v2", "v3"}, []int{10, 10, 5}, []int{10, 10, 20}, 2, 0.3},
	} {
		was, is := owners(NewShares(c.names, c.old), nil), owners(NewShares(c.names, c.new), nil)
		moved := 0
		for i := range was {
			if was[i] != is[i] {
				if moved++; is[i] != c.to {
					t.Fatalf("%v to %v: a key moves to %s", c.old, c.new, c.names[is[i]])
				}
			}
		}
		if got := float64(moved) / keysTried; math.Abs(got-c.moved) > 0.004 {
			t.Errorf("%v to %v: %.4f of the keys move, want %.4f", c.old, c.new, got, c.moved)
		}
	}
}

// TestSharesIgnoreOrder: where a name stands in the configuration does not matter.
func TestSharesIgnoreOrder(t *testing.T) {
	one, other := owners(NewShares([]string{"a", "b", "c"}, []int{1, 2, 3}), nil), owners(NewShares([]string{"c", "a", "b"}, []int{3, 1, 2}), nil)
	for i := range one {
		if one[i] != (other[i]+2)%3 {
			t.Fatalf("key %d: %d and %d", i, one[i], other[i])
		}
	}
}

// TestSharesOfWhatIsAway: the keys of one that is away go to the others by weight, and no other moves.
func TestSharesOfWhatIsAway(t *testing.T) {
	s := NewShares([]string{"a", "b", "c"}, []int{50, 30, 20})
	all, some := owners(s, nil), owners(s, func(i int) bool { return i != 0 })
	var gained [3]float64
	for i := range all {
		if all[i] != 0 && all[i] != some[i] {
			t.Fatal("a key moves although its owner is there")
		}
		if all[i] == 0 {
			gained[some[i]]++
		}
	}
	if share := gained[1] / (gained[1] + gained[2]); gained[0] > 0 || math.Abs(share-0.6) > 0.01 {
		t.Errorf("the keys of a are shared %v", gained)
	}
	if s.Pick(1, func(int) bool { return false }) != -1 || NewShares([]string{"a"}, []int{0}).Pick(1, nil) != -1 {
		t.Error("there is one where there is none")
	}
	if n := testing.AllocsPerRun(100, func() { s.Pick(7, func(i int) bool { return i > 0 }) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
