package record

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Durations are counted in buckets with fixed bounds. They are decimal, because operators
// set alerts at round numbers, and finer below 5 ms than what OpenTelemetry advises, because
// a proxy in front of services that answer in 0.4 ms would see nothing otherwise. A bound
// belongs to its bucket: a duration of exactly 1 ms is in the bucket up to 1 ms.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 75 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 7500 * time.Millisecond,
	10 * time.Second, 30 * time.Second, 60 * time.Second,
}

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

// durations is a histogram. The zero value is empty.
type durations struct {
	sum     atomic.Uint64 // nanoseconds
	buckets [Buckets]atomic.Uint64
}

func (d *durations) add(took time.Duration) {
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

func (t *Durations) take(d *durations) {
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
