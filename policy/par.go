package policy

// What counts as fast among endpoints that are compared, and the comparison of three alike, which is
// all that least time does where there are many endpoints and all is well. Of three that weigh the
// same, with a par of 7.5 ms:
//
//	a   5 ms, 2 in flight     b   6 ms, 1 in flight     c   4 ms, 1 in flight     b
//	a   5 ms, 2 in flight     b   9 ms, 1 in flight     c   4 ms, 2 in flight     by penalty: bestBy

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// few is best of three endpoints that weigh the same. Where none of them has a penalty, which is
// nearly always, what they have in flight decides, without a product of weights.
func (p *leastTimePicker) few(a, b, c *endpoint.Endpoint, now time.Duration) *endpoint.Endpoint {
	par := endpoint.ParOf(parOfFew(a, b, c), now)
	if !a.Within(&par) || !b.Within(&par) || !c.Within(&par) {
		return p.bestBy(&par, []*endpoint.Endpoint{a, b, c}, now)
	}
	best, least := a, a.InFlight()
	if n := b.InFlight(); n < least {
		best, least = b, n
	}
	if c.InFlight() < least {
		best = c
	}
	return best
}

// parOfFew is parOf of three endpoints, which nearly always are known.
func parOfFew(a, b, c *endpoint.Endpoint) endpoint.Level {
	la, lb, lc := a.Typical(), b.Typical(), c.Typical()
	if la == endpoint.Unknown || lb == endpoint.Unknown || lc == endpoint.Unknown {
		return parOf([]*endpoint.Endpoint{a, b, c})
	}
	return endpoint.Level((uint64(la)+uint64(lb)+uint64(lc))*inverses[fewSamples]>>inverseBits) + slack
}

// parOf is the level above which one of list is slow: the mean of those that are known, and some
// slack; endpoint.Unanswered if none is.
func parOf(list []*endpoint.Endpoint) endpoint.Level {
	var sum, n uint64
	for _, e := range list {
		l := uint64(e.Typical())
		sum += l
		n += -l >> 63 // 1 of a level that is known, 0 of Unknown
	}
	if n == 0 {
		return endpoint.Unanswered
	}
	if n < uint64(len(inverses)) {
		return endpoint.Level(sum*inverses[n]>>inverseBits) + slack
	}
	return endpoint.Level(sum/n) + slack
}

// inverses are 2^inverseBits / n: a division takes longer than all else that parOf does.
const inverseBits = 28

var inverses = func() (all [lookMost + 1]uint64) {
	for n := range all[1:] {
		all[n+1] = (1<<inverseBits + uint64(n)/2) / uint64(n+1)
	}
	return all
}()
