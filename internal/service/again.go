package service

import (
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// PickAgain is Pick for another attempt of an exchange. It prefers endpoints whose latest
// attempt did not fail, which the policy's choice alone does not: while most of them are
// ill and not ejected yet, a request would go from one of these to the next. only: it
// returns no other. Attempts are the exception, so the whole set may be looked through.
func (s *Service) PickAgain(a *policy.Attempt, only bool) *endpoint.Endpoint {
	w := s.view.Load()
	a.Load = s.load.n.Load()
	tried := a.Tried
	for range policy.AttemptsMax {
		e := w.picker.Pick(a)
		if e == nil {
			break
		}
		if !e.Failed() && !tried.Has(e) && s.admit(w, e) {
			a.Tried = tried
			return e
		}
		a.Tried.Add(e)
	}
	a.Tried = tried
	for i := range w.usable { // the picker had more of the ill to offer than Tried can hold
		e := w.usable[(a.Rand%uint64(len(w.usable))+uint64(i))%uint64(len(w.usable))]
		if !e.Failed() && !tried.Has(e) && s.admit(w, e) {
			return e
		}
	}
	if only {
		return nil
	}
	return s.Pick(a)
}

// Ejected reports whether e is out of rotation by the verdict of probes or of the breaker,
// and that is believed: what waits for its answer waits in vain, most likely.
func (s *Service) Ejected(e *endpoint.Endpoint) bool {
	mode := Of(e).mode.Load()
	return mode > modeShut && mode < modeCalm && !s.view.Load().panic
}
