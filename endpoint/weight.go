package endpoint

import "math"

// Registries give weights in many forms: percent, fractions, thousands. All that matters
// is their proportions within a set, so policies get whole numbers with these proportions.
//
//	1, 3          →  1, 3          whole and small enough: as they are
//	0.1, 0.4      →  1, 4          the smallest power of ten that makes all whole
//	1e6, 4e6      →  16384, 65536  too large: scaled so that the largest is WeightMax
//	1, 1e9        →  1, 65536      a share below 1/WeightMax of the largest counts as that

// WeightMax is the largest weight that a policy sees.
const WeightMax = 1 << 16

// decimals bounds the powers of ten that Weights tries before it scales.
const decimals = 10_000

// share is the weight that s gives, with what its other values mean: always positive and
// finite.
func (s *Spec) share() float64 {
	if s.Weight > 0 && s.Weight <= math.MaxFloat64 {
		return s.Weight
	}
	return 1
}

// Weights returns for each spec of a set a whole number from 1 to WeightMax, in the same
// proportions as the weights of the specs. Specs that are Out count too: their weight is
// that of their return.
func Weights(set []Spec) []int64 {
	most, factor := 0.0, 1.0
	for i := range set {
		w := set[i].share()
		most = max(most, w)
		for factor <= decimals && !whole(w*factor) {
			factor *= 10
		}
	}
	if factor > decimals || most > WeightMax/factor {
		factor = WeightMax / most
	}
	out := make([]int64, len(set))
	for i := range set {
		out[i] = int64(min(max(math.Round(set[i].share()*factor), 1), WeightMax))
	}
	return out
}

// whole reports whether w is a whole number, but for the error of a decimal fraction.
func whole(w float64) bool { return math.Abs(w-math.Round(w)) <= 1e-6*w }
