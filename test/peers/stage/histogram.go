//go:build linux

package stage

import (
	"math/bits"
	"time"
)

// fine is how many buckets a doubling of time is divided into: a quantile is off by less
// than one part of them.
const (
	fineBits = 6
	fine     = 1 << fineBits
)

// A histogram counts durations with a precision of 1/64 of each. The zero value is empty.
type histogram struct {
	count [(64 - fineBits) * fine]uint32
	n     int
	max   time.Duration
}

// bucket: what is below fine stands for itself; above, each power of two has fine buckets.
func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < fine {
		return int(v)
	}
	shift := bits.Len64(v) - fineBits - 1
	return shift*fine + int(v>>shift)
}

// upper is the longest duration of a bucket.
func upper(b int) time.Duration {
	if b < fine {
		return time.Duration(b)
	}
	shift := b/fine - 1
	return time.Duration(uint64(b-shift*fine+1)<<shift - 1)
}

func (h *histogram) add(d time.Duration) {
	h.count[bucket(d)]++
	h.n++
	h.max = max(h.max, d)
}

// quantile is the duration that a share q, between 0 and 1, of all does not exceed; 0 if
// there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank, sum := int(q*float64(h.n)), 0
	for b, n := range h.count {
		if sum += int(n); n > 0 && sum > rank {
			return min(upper(b), h.max)
		}
	}
	return h.max
}
