package discovery

import (
	"math/rand/v2"
	"time"
)

// Backoff spaces the attempts of a source that fails: each wait is twice the one before,
// less a random share, so that many sources do not ask a recovering server in step. The
// zero value begins at one second and ends at one minute. It belongs to one goroutine.
type Backoff struct {
	First time.Duration // 0: one second
	Most  time.Duration // 0: one minute
	next  time.Duration
}

// Next returns how long to wait now: between half of the step and all of it.
func (b *Backoff) Next() time.Duration {
	first, most := b.First, b.Most
	if first <= 0 {
		first = time.Second
	}
	if most <= 0 {
		most = time.Minute
	}
	step := min(max(b.next, first), most)
	b.next = min(2*step, most)
	return step/2 + rand.N(step/2+1)
}

// Reset begins anew, after a success.
func (b *Backoff) Reset() { b.next = 0 }
