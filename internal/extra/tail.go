package extra

// The live percentile after which a hedge is due. Attempts add their time to a histogram of their
// worker's own, which no other worker writes. Once a second one task adds what is new to a
// histogram that forgets a tenth per second, and reads the percentile there:
//
//	second   new times          weight of the first second's   p95
//	1        1000 × 10 ms       1                              11 ms
//	2        1000 × 10 ms       0.9                            11 ms
//	3        1000 × 100 ms      0.81                           104 ms
//
// Buckets are eight to an octave, so the percentile is right within an eighth, from 65 µs to 68 s.
//
// What is added is the time of each exchange's first attempt, also where a hedge has overtaken it:
// then that it took so long at least. If such attempts were left out, each hedge would take a slow
// one out of the picture, the percentile would fall, and ever more hedges would be due.

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/record"
)

const (
	shortestBits = 16 // durations below 2¹⁶ ns are in the first bucket
	octaves      = 20
	perOctave    = 8
	bucketCount  = 1 + octaves*perOctave

	forget  = 0.9 // what a second leaves of the past
	leastOf = 20  // fewer times than this say nothing
)

// Times is the histogram of one worker. Only tasks of that worker add to it.
type Times struct{ n [bucketCount]atomic.Uint32 }

// Add counts one attempt that took d.
func (t *Times) Add(d time.Duration) { t.n[bucketOf(d)].Add(1) }

// bucketOf is the index of the bucket of d.
func bucketOf(d time.Duration) int {
	length := bits.Len64(uint64(max(d, 0)))
	if length <= shortestBits {
		return 0
	}
	i := 1 + (length-shortestBits-1)*perOctave + int(d>>(length-4))&(perOctave-1)
	return min(i, bucketCount-1)
}

// boundsOf are the least duration of a bucket, and the least of the next.
func boundsOf(i int) (from, to time.Duration) {
	if i == 0 {
		return 0, 1 << shortestBits
	}
	octave, eighth := (i-1)/perOctave, (i-1)%perOctave
	step := time.Duration(1) << (shortestBits + octave - 3)
	from = step * time.Duration(perOctave+eighth)
	return from, from + step
}

// A Tail is the live percentile of one service. Make one with NewTail.
type Tail struct {
	cells *record.Cells[Times]
	due   atomic.Int64 // the percentile, in ns; 0: not known

	mu     sync.Mutex // guards what follows
	seen   [bucketCount]uint32
	weight [bucketCount]float64
	turned time.Duration // instant of the latest Turn
}

// NewTail makes a Tail for so many workers.
func NewTail(workers int) *Tail { return &Tail{cells: record.NewCells[Times](workers)} }

// At is the histogram of a slot, as record.Lane gives them.
func (t *Tail) At(slot int) *Times { return t.cells.At(slot) }

// Due is the percentile as of the latest Turn; 0: too few attempts are known. It takes no lock.
func (t *Tail) Due() time.Duration { return time.Duration(t.due.Load()) }

// Turn takes in what is new and works out the percentile p, from 0 to 1. It is called about once a
// second; any goroutine may.
func (t *Tail) Turn(now time.Duration, p float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keep := 1.0
	for age := now - t.turned; age >= slot && keep > 1e-6; age -= slot {
		keep *= forget
	}
	t.turned = now
	var sums [bucketCount]uint32
	t.cells.Each(func(one *Times) {
		for i := range one.n {
			sums[i] += one.n[i].Load()
		}
	})
	total := 0.0
	for i := range sums {
		t.weight[i] = t.weight[i]*keep + float64(sums[i]-t.seen[i])
		total += t.weight[i]
	}
	t.seen = sums
	t.due.Store(int64(t.percentile(p, total)))
}

// percentile is the duration below which the share p of all weight lies. Called with mu held.
func (t *Tail) percentile(p, total float64) time.Duration {
	if total < leastOf {
		return 0
	}
	rest := p * total
	for i, w := range t.weight {
		if w > 0 && rest <= w {
			from, to := boundsOf(i)
			return from + time.Duration(float64(to-from)*rest/w)
		}
		rest -= w
	}
	_, to := boundsOf(bucketCount - 1)
	return to
}
