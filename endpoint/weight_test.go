package endpoint

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func weighted(weights ...float64) []Spec {
	set := make([]Spec, len(weights))
	for i, w := range weights {
		set[i].Weight = w
	}
	return set
}

func TestWeightOfOne(t *testing.T) {
	inf := math.Inf(1)
	for in, want := range map[float64]int64{-5: 1, 0: 1, 1: 1, 3: 3, 2.6: 3, 0.1: 1, 1000: 1000, 1 << 40: WeightMax, math.MaxFloat64: WeightMax, inf: 1, -inf: 1} {
		if got := New(Spec{Weight: in}).Weight(); got != want {
			t.Errorf("weight %v became %d, want %d", in, got, want)
		}
	}
	e := New(Spec{Weight: math.NaN()})
	if e.Weight() != 1 {
		t.Errorf("NaN became %d", e.Weight())
	}
	for in, want := range map[int64]int64{-1: 1, 0: 1, 7: 7, WeightMax + 1: WeightMax} {
		if e.SetWeight(in); e.Weight() != want {
			t.Errorf("set to %d it is %d, want %d", in, e.Weight(), want)
		}
	}
}

func TestWeightsOfASet(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want []int64
	}{
		{nil, []int64{}},
		{[]float64{0, 1, 0}, []int64{1, 1, 1}},
		{[]float64{1, 100, 1000}, []int64{1, 100, 1000}},
		{[]float64{2000, 8000}, []int64{2000, 8000}}, // Consul's
		{[]float64{0.1, 0.4}, []int64{1, 4}},         // Nacos's
		{[]float64{1, 0.25, 0.1}, []int64{100, 25, 10}},
		{[]float64{0.3, 0.6, 0.9}, []int64{3, 6, 9}},
		{[]float64{1.0 / 3, 2.0 / 3}, []int64{WeightMax / 2, WeightMax}},
		{[]float64{1e6, 4e6}, []int64{WeightMax / 4, WeightMax}},
		{[]float64{1e-9, 3e-9}, []int64{21845, WeightMax}},
		{[]float64{1, 1e9}, []int64{1, WeightMax}},
		{[]float64{math.MaxFloat64, 1}, []int64{WeightMax, 1}},
		{[]float64{5e-324, 1}, []int64{1, WeightMax}},
		{[]float64{-3, math.NaN(), math.Inf(1), 2}, []int64{1, 1, 1, 2}},
	} {
		if got := Weights(weighted(c.in...)); !slices.Equal(got, c.want) {
			t.Errorf("%v became %v, want %v", c.in, got, c.want)
		}
	}
}

// Whatever the scale, proportions hold within the rounding of the smallest share.
func TestWeightsKeepProportions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		scale := math.Pow(10, float64(r.IntN(20)-10))
		in := make([]float64, 1+r.IntN(9))
		for i := range in {
			in[i] = scale * math.Exp(r.Float64()*6)
		}
		out := Weights(weighted(in...))
		most, mostOut := slices.Max(in), slices.Max(out)
		for i, w := range out {
			exact := in[i] / most * float64(mostOut)
			if w < 1 || w > WeightMax || math.Abs(float64(w)-exact) > 1 {
				t.Fatalf("%v became %v: %d should be %v", in, out, w, exact)
			}
		}
	}
}
