package service

// The last resort. When no usable endpoint is left for an attempt, or those that are left fail,
// an ejected one may have recovered. The breaker would find out when open_for is over, perhaps
// in minutes, and probes at their next turn; requests that would fail otherwise find out at
// once.
//
// Each ejected endpoint gets one such attempt every resortEvery. It gets any number if the
// latest one succeeded, or if the latest probe or attempt was refused a connection: that costs
// next to nothing. With two endpoints, of which the breaker ejects a at 0 s for 10 s:
//
//	0.5 s    b begins to refuse connections. a is not due: it has failed at 0 s
//	1.0 s    b refuses; a is due and gets an attempt, which fails. a is due again at 2.0 s
//	2.0 s    b refuses; a gets an attempt, which succeeds: a is back (with Breaker.Trials 1)
//
// A success counts for that only if the attempt began health.ProofAfter (1 s) after the
// ejection. An endpoint that its probes have ejected serves the request, but only its probes
// bring it back.

import (
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/policy"
)

const (
	// resortEvery is the interval of last-resort attempts at one endpoint.
	resortEvery = time.Second
	// resortMost bounds how many endpoints one pick looks at.
	resortMost = 256
	// probeAgain is the interval of probes while no endpoint is sound, unless that of the check
	// is shorter. It is at least probeShare for each member, so that a large service that is
	// switched off costs little: 1 s for 500 endpoints, 2 s for 1000.
	probeAgain = time.Second
	probeShare = 2 * time.Millisecond
)

// pace is the interval of probes while no endpoint is sound. Called with mu held.
func (s *Service) pace() time.Duration {
	return min(s.conf.check.Interval, max(probeAgain, time.Duration(len(s.members))*probeShare))
}

// resort returns an ejected endpoint that may be tried now; nil: there is none. It is also nil if a
// usable endpoint is known to work (modeCalm): this exchange has tried it, so its failure may be
// the fault of the request.
func (s *Service) resort(w *view, a *policy.Attempt) *endpoint.Endpoint {
	for _, e := range w.usable[:min(len(w.usable), policy.AttemptsMax)] {
		if Of(e).kind() == modeCalm {
			return nil
		}
	}
	due := func(m *Member, now int64) bool { return m.resortAt.Load() == 0 || w.claim(&m.resortAt, now) }
	if e := s.ejected(w.ejected, a, modeProbed, due); e != nil {
		return e
	}
	least := modeProbed
	if w.strict {
		least = modeOpen
	}
	return s.ejected(w.usable, a, least, due) // those that were ejected since the view was built
}

// ahead returns an endpoint that the breaker has ejected, to be tried in place of one that is only
// kept; nil: none is due. Otherwise a service that gets only requests that may not be repeated
// would never find out that an ejected endpoint works again.
func (s *Service) ahead(w *view, a *policy.Attempt) *endpoint.Endpoint {
	return s.ejected(w.ejected, a, modeOpen, func(m *Member, now int64) bool { return w.claim(&m.aheadAt, now) })
}

// ejected returns the first endpoint of list, from a random position on, that is ejected with a
// mode of at least least, was not tried, and is due; nil: there is none among resortMost. due
// may take the turn of the endpoint that it is asked for.
func (s *Service) ejected(list []*endpoint.Endpoint, a *policy.Attempt, least int32, due func(m *Member, now int64) bool) *endpoint.Endpoint {
	if len(list) == 0 {
		return nil
	}
	now := int64(a.Now)
	i := int(a.Rand % uint64(len(list)))
	for range min(len(list), resortMost) {
		m := Of(list[i])
		mode := m.kind()
		if mode >= least && mode < modeCalm && !a.Tried.Has(list[i]) && !m.full() && due(m, now) {
			return list[i]
		}
		if i++; i == len(list) {
			i = 0
		}
	}
	return nil
}

// served notes that an attempt which began at an instant has succeeded although m is ejected.
func (m *Member) served(began time.Duration) {
	if int64(began) > m.servedAt.Load() {
		m.servedAt.Store(int64(began))
	}
}

// stale reports whether an attempt or a probe of an ejected endpoint, which failed, says nothing
// new: one that began later has succeeded meanwhile. So it is when a host comes back, which the
// connections that were being made before do not notice, and time out one after the other.
// Called with mu held.
func (m *Member) stale(began time.Duration) bool {
	return m.machine.State() == health.Ejected && began > 0 && int64(began) < m.servedAt.Load()
}

// claim reports whether a turn is due at the instant now, and if so takes it: the next turn is due
// resortEvery later. Of several tasks one gets it. A frozen view takes none.
func (w *view) claim(at *atomic.Int64, now int64) bool {
	was := at.Load()
	return now >= was && (w.frozen || at.CompareAndSwap(was, now+int64(resortEvery)))
}

// rest sets when m may be tried again: at any time if free, because it has served an attempt or
// has refused a connection, and else resortEvery after now, unless a turn is set. Called with mu
// of the service held.
func (m *Member) rest(free bool, now time.Duration) {
	if free {
		m.resortAt.Store(0)
	} else if m.resortAt.Load() == 0 {
		m.resortAt.Store(int64(now + resortEvery))
	}
}
