package record

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/limits"
)

// bounds are those of limits.DurationBounds. A bound belongs to its bucket: a duration of
// exactly 1 ms is in the bucket up to 1 ms.
var bounds = limits.DurationBounds

// Buckets is how many buckets there are: one for each bound, and one for what is longer.
const Buckets = len(bounds) + 1

// Bounds are the upper bounds of the buckets but for the last one, which has none.
func Bounds() []time.Duration { return append([]time.Duration(nil), bounds[:]...) }

// firstBucket says for every bit length of a duration in nanoseconds where the search for
// its bucket begins: at the bucket of the shortest duration of that length. No bit length
// spans more than two bounds, so the search makes three comparisons at most.
var firstBucket = func() (first [65]uint8) {
	for n := range first {
		shortest := time.Duration(0)
		if n > 0 && n < 64 {
			shortest = 1 << (n - 1)
		}
		for int(first[n]) < len(bounds) && shortest > bounds[first[n]] {
			first[n]++
		}
	}
	return first
}()

// A Histogram counts durations by buckets. One goroutine at a time should add to it, or the
// cache lines are fought for; any may read. The zero value is empty.
type Histogram struct {
	sum     atomic.Uint64 // nanoseconds
	buckets [Buckets]atomic.Uint64
}

// Add counts one duration.
func (d *Histogram) Add(took time.Duration) {
	took = max(took, 0)
	i := int(firstBucket[bits.Len64(uint64(took))])
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	d.buckets[i].Add(1)
	d.sum.Add(uint64(took))
}

// Durations are the sum of histograms.
type Durations struct {
	Sum     time.Duration
	Buckets [Buckets]uint64 // by Bounds; not cumulative
}

// Add adds o to t.
func (t *Durations) Add(o *Durations) {
	t.Sum += o.Sum
	for i, n := range o.Buckets {
		t.Buckets[i] += n
	}
}

// Take adds what a histogram has counted.
func (t *Durations) Take(d *Histogram) {
	t.Sum += time.Duration(d.sum.Load())
	for i := range d.buckets {
		t.Buckets[i] += d.buckets[i].Load()
	}
}

// Count is how many durations there were.
func (t *Durations) Count() (n uint64) {
	for _, b := range t.Buckets {
		n += b
	}
	return n
}
