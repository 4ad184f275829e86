package service

import (
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// PickAgain is Pick for a further attempt of an exchange. It prefers endpoints whose latest attempt
// did not fail; only: it returns no others. The policy does not look at that: while most endpoints
// fail but are not ejected yet, a request would go from one failing endpoint to the next. It may
// look at the whole set, since further attempts are rare.
//
//	usable: a (tried), b (failed lately), c      Pick: b or c      PickAgain: c
//	usable: a (tried), b (failed lately)         Pick: b           PickAgain: b, with only: nil
//	usable: a (tried), b (full)                  Pick: Wait        PickAgain: Wait, with only: nil
//
// It does not look at the bound of the service: the attempt that the next one follows may have its
// place there still.
func (s *Service) PickAgain(a *policy.Attempt, only bool) *endpoint.Endpoint {
	w := s.view.Load()
	a.Load = s.load.n.Load()
	first, then, _ := w.tiers(a.Lane)
	for _, v := range [...]*view{first, then} {
		if v != nil {
			if e := s.well(v, a); e != nil && (e != policy.Wait || !only) {
				return e
			}
		}
	}
	if only {
		return nil
	}
	return s.pickNow(a)
}

// PickHedge is PickAgain for a hedge, which overtakes no request that waits: nil while some do.
func (s *Service) PickHedge(a *policy.Attempt) *endpoint.Endpoint {
	if s.Crowded() {
		return nil
	}
	return s.PickAgain(a, true)
}

// well picks an endpoint of w whose latest attempt did not fail; nil: there is none that a has not
// tried; policy.Wait: the policy says so, and the service has a queue.
func (s *Service) well(w *view, a *policy.Attempt) *endpoint.Endpoint {
	tried, full := a.Tried, false
	ok := func(e *endpoint.Endpoint) bool { return !e.Failed() && !tried.Has(e) && s.takes(w, e, &full) }
	e := w.picker.Pick(a)
	if e == policy.Wait && s.queue.room.Load() > 0 {
		return e
	}
	e, _ = w.draw(a, e, ok)
	if e == nil { // more endpoints may be failing than draw looks at
		e = sweep(w.usable, a, ok)
	}
	return e
}

// Ejected reports whether probes or the breaker have ejected e, and panic mode does not doubt that,
// or whether an operator has. An outlier is none of these: it answers, only worse than the others.
// An exchange that waits for the answer of such an endpoint will most likely not get one. It takes
// no lock.
func (s *Service) Ejected(e *endpoint.Endpoint) bool {
	mode := Of(e).kind()
	return mode == modeBarred || mode > modeBarred && mode < modeApart && !s.view.Load().panic
}
