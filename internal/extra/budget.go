// Package extra bounds the extra attempts of a service, which are retries and hedges, and says
// when a hedge is due. It has two parts, each the state of one service:
//
//	Budget   how many extra attempts the requests of the last ten seconds allow    budget.go
//	Tail     the live percentile of the time to a response head                    tail.go
//
// Without a common bound retries multiply load just when there is too little capacity: endpoints
// that can serve 80 of 100 requests fail the rest, each failure is asked again, and the service
// stays overloaded after the cause is gone (Bronson et al., "Metastable Failures in Distributed
// Systems", HotOS 2021). So extra attempts may only be a share of the requests, as in Finagle's
// RetryBudget, and a few per second besides, so that a service of few requests has retries at all.
// With 20 % and 3 per second, in any ten seconds:
//
//	requests   retries and hedges at most
//	0          30
//	100        50
//	10,000     2030
//
// Hedges have no such floor and a smaller share of their own: 5 % of 100 requests are 5. (Dean and
// Barroso, "The Tail at Scale", CACM 2013, find that 5 % take most of the tail away.)
package extra

import (
	"sync"
	"time"
)

// A Kind says what an extra attempt is for.
type Kind uint8

// Kinds of extra attempts.
const (
	Retry Kind = iota // the attempt before it has failed
	Hedge             // the attempt before it takes long
)

// window is the number of slots of a Budget, and slot what each covers.
const (
	window = 10
	slot   = time.Second
)

// Limits are what the configuration allows. The zero value allows nothing.
type Limits struct {
	// Share of the requests that may be extra attempts of either kind; negative: any number.
	Share float64
	// Floor is how many there may be besides, per second on average.
	Floor float64
	// Hedges is the share of the requests that may be hedges. They count towards Share, too.
	Hedges float64
}

// A Budget counts requests and extra attempts of the last ten seconds. It knows requests by a
// running number that its caller has anyway, so a request that needs no extra attempt costs
// nothing here. The zero value is for numbers that begin with 0; any goroutine may call its
// methods, which take a lock for some instructions.
type Budget struct {
	mu      sync.Mutex
	slots   [window]counts // of second n at n % window
	at      int64          // second of the present slot
	counted uint64         // requests up to the latest Turn
	sum     counts         // of all slots
	totals  Totals
}

// counts are what has happened in one slot.
type counts struct {
	requests uint64
	extra    [2]uint64 // by Kind
}

// Totals count since the beginning.
type Totals struct {
	Taken   [2]uint64 // extra attempts, by Kind
	Refused [2]uint64 // those the budget has refused, by Kind
}

// Start sets the running number of requests from which the Budget counts.
func (b *Budget) Start(requests uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counted = requests
}

// Turn moves the window on to the instant now; requests is the running number. Whoever counts
// requests calls it once a second while there are some: those that came since the last call are
// taken for requests of that second.
func (b *Budget) Turn(now time.Duration, requests uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now, requests)
}

func (b *Budget) turn(now time.Duration, requests uint64) {
	fresh := requests - b.counted
	if fresh > 1<<63 { // the number of a task that was late
		fresh = 0
	}
	b.slots[b.at%window].requests += fresh
	b.sum.requests += fresh
	b.counted += fresh
	second := int64(now / slot)
	for n := 0; b.at < second; n++ {
		if b.at++; n >= window { // all slots are empty
			b.at = second
			break
		}
		b.drop(&b.slots[b.at%window])
	}
}

// drop empties the slot that has left the window.
func (b *Budget) drop(c *counts) {
	b.sum.requests -= c.requests
	for i := range c.extra {
		b.sum.extra[i] -= c.extra[i]
	}
	*c = counts{}
}

// Take takes an extra attempt out of the budget; false: there is none left. requests is the running
// number. An attempt that does not come about is given back by Return.
func (b *Budget) Take(now time.Duration, requests uint64, k Kind, l Limits) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now, requests)
	if !b.sum.allows(k, l) {
		b.totals.Refused[k]++
		return false
	}
	b.totals.Taken[k]++
	b.sum.extra[k]++
	b.slots[b.at%window].extra[k]++
	return true
}

// allows reports whether there may be one more extra attempt.
func (c *counts) allows(k Kind, l Limits) bool {
	requests := float64(c.requests)
	if k == Hedge && float64(c.extra[Hedge]+1) > l.Hedges*requests {
		return false
	}
	most := l.Share*requests + l.Floor*window
	return l.Share < 0 || float64(c.extra[Retry]+c.extra[Hedge]+1) <= most
}

// Return gives an extra attempt back, which was taken a moment ago.
func (b *Budget) Return(k Kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.totals.Taken[k]--
	if c := &b.slots[b.at%window]; c.extra[k] > 0 { // else it is the next second already
		c.extra[k]--
		b.sum.extra[k]--
	}
}

// A Spent is how much of a Budget is used. All but Totals is of the last ten seconds.
type Spent struct {
	Totals
	Requests, Retries, Hedges uint64
}

// Share is the number of extra attempts by that of requests; 0 without requests.
func (s *Spent) Share() float64 {
	if s.Requests == 0 {
		return 0
	}
	return float64(s.Retries+s.Hedges) / float64(s.Requests)
}

// Spent reads the budget. requests is the running number.
func (b *Budget) Spent(now time.Duration, requests uint64) Spent {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now, requests)
	return Spent{Totals: b.totals, Requests: b.sum.requests, Retries: b.sum.extra[Retry], Hedges: b.sum.extra[Hedge]}
}
