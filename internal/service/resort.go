package service

import (
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// The last resort. When no usable endpoint is left for an attempt, or those that are left
// fail, an ejected one may have recovered: the breaker would find out when open_for is over,
// which may be minutes, and probes at their next turn. Requests find out at once. Each
// ejected endpoint gets an attempt every resortEvery; more are let through where the latest
// one succeeded, and where the latest probe or attempt was refused a connection, because that
// costs a request next to nothing.
// The other requests fail, as they would have.
//
// One success brings back what the breaker ejected (as many as it wants trials); see
// health.ProofAfter. What probes ejected serves this one request: its probes, which are due
// every probeAgain while nothing is sound, bring it back.
const (
	resortEvery = time.Second
	// resortMost bounds how many endpoints one pick looks at.
	resortMost = 256
	// probeAgain is the interval of probes while nothing is sound, unless the check's own is
	// shorter, and probeShare how much longer it is for each member, so that a large service
	// that is switched off is not a burden.
	probeAgain = time.Second
	probeShare = 2 * time.Millisecond
)

// pace is the interval of probes while nothing is sound. Called with mu held.
func (s *Service) pace() time.Duration {
	return min(s.conf.check.Interval, max(probeAgain, time.Duration(len(s.members))*probeShare))
}

// resort takes an ejected endpoint that may be tried now; nil: there is none, or an endpoint
// that this exchange has tried works otherwise, so that its failure may be the request's.
func (s *Service) resort(w *view, a *policy.Attempt) *endpoint.Endpoint {
	for _, e := range w.usable[:min(len(w.usable), policy.AttemptsMax)] {
		if Of(e).mode.Load()&^modeSlow == modeCalm {
			return nil
		}
	}
	due := func(m *Member, now int64) bool { return m.resortAt.Load() == 0 || claim(&m.resortAt, now) }
	if e := s.ejected(w.ejected, a, modeProbed, due); e != nil {
		return e
	}
	least := modeProbed
	if w.strict {
		least = modeOpen
	}
	return s.ejected(w.usable, a, least, due) // those that were ejected since the view was built
}

// ahead takes an endpoint that the breaker ejected in place of one that is only kept: by
// requests that may not be repeated it would not be found otherwise.
func (s *Service) ahead(w *view, a *policy.Attempt) *endpoint.Endpoint {
	return s.ejected(w.ejected, a, modeOpen, func(m *Member, now int64) bool { return claim(&m.aheadAt, now) })
}

// ejected returns the first ejected endpoint of a list, from a random place, that was not
// tried and is due. Its mode is at least the given one.
func (s *Service) ejected(list []*endpoint.Endpoint, a *policy.Attempt, least int32, due func(m *Member, now int64) bool) *endpoint.Endpoint {
	if len(list) == 0 {
		return nil
	}
	now := int64(a.Now)
	i := int(a.Rand % uint64(len(list)))
	for range min(len(list), resortMost) {
		m := Of(list[i])
		mode := m.mode.Load()
		if mode >= least && mode < modeCalm && !a.Tried.Has(list[i]) && due(m, now) {
			return list[i]
		}
		if i++; i == len(list) {
			i = 0
		}
	}
	return nil
}

// claim takes the turn that is due at an instant, and sets the next one.
func claim(at *atomic.Int64, now int64) bool {
	was := at.Load()
	return now >= was && at.CompareAndSwap(was, now+int64(resortEvery))
}

// rest has an endpoint that failed wait for its next turn. One that served an attempt, or
// that refused a connection, is free to be tried at any time. Called with the service's mu
// held.
func (m *Member) rest(free bool, now time.Duration) {
	if free {
		m.resortAt.Store(0)
	} else if m.resortAt.Load() == 0 {
		m.resortAt.Store(int64(now + resortEvery))
	}
}
