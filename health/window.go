package health

// Attempts and failures of the last ten seconds, in buckets of one second, for the breaker's
// failure rate. Counting is an atomic addition; a bucket is cleared by the first to use it in a
// new second.

import (
	"sync/atomic"
	"time"
)

// Span is how far back a Window looks.
const Span = buckets * bucketSpan

const (
	buckets    = 10
	bucketSpan = time.Second
)

// A Window counts the attempts of the last Span, for the breaker's failure rate. It is
// safe for concurrent use without a lock; the zero value is empty. Readers may miss what
// is being added at that moment: the rate is an estimate.
type Window struct {
	requests [buckets]bucket
	failures [buckets]bucket
}

// A bucket is a count of one second (low 32 bits) and which second that was (high 32), in
// one word so that both change at once.
type bucket struct{ word atomic.Uint64 }

// Success adds an attempt that did not fail.
func (w *Window) Success(now time.Duration) {
	second := secondOf(now)
	w.requests[second%buckets].add(second)
}

// Failure adds a failed attempt and returns the sums with it.
func (w *Window) Failure(now time.Duration) (requests, failures int64) {
	second := secondOf(now)
	w.requests[second%buckets].add(second)
	w.failures[second%buckets].add(second)
	return w.Sums(now)
}

// Sums is the number of attempts in the Window and of failed ones among them.
func (w *Window) Sums(now time.Duration) (requests, failures int64) {
	second := secondOf(now)
	for i := range buckets {
		requests += w.requests[i].since(second)
		failures += w.failures[i].since(second)
	}
	return requests, failures
}

// Reset empties the Window.
func (w *Window) Reset() {
	for i := range buckets {
		w.requests[i].word.Store(0)
		w.failures[i].word.Store(0)
	}
}

// secondOf numbers the seconds so that an unused bucket (second 0) is always too old to count.
func secondOf(now time.Duration) uint32 { return uint32(now/bucketSpan) + buckets }

// add counts one in the given second. Between the look and the addition the bucket may
// come to belong to a later second, which then gets the one: the slack of an estimate.
func (b *bucket) add(second uint32) {
	for {
		old := b.word.Load()
		if uint32(old>>32) >= second { // later: a straggler's clock is behind by a turn
			b.word.Add(1)
			return
		}
		if b.word.CompareAndSwap(old, uint64(second)<<32|1) {
			return
		}
	}
}

// since is the bucket's count if it belongs to the Span that ends with second now.
func (b *bucket) since(now uint32) int64 {
	word := b.word.Load()
	if second := uint32(word >> 32); second > now || now-second >= buckets {
		return 0
	}
	return int64(uint32(word))
}
