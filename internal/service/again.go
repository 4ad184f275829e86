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
	well := func(e *endpoint.Endpoint) bool { return !e.Failed() && !tried.Has(e) && s.admit(w, e) }
	e, _ := w.draw(a, w.picker.Pick(a), well)
	if e == nil { // there may be more of the ill than Tried can hold
		e = sweep(w.usable, a, well)
	}
	if e == nil && !only {
		e = s.Pick(a)
	}
	return e
}

// Ejected reports whether e is out of rotation by the verdict of probes or of the breaker,
// and that is believed: what waits for its answer waits in vain, most likely.
func (s *Service) Ejected(e *endpoint.Endpoint) bool {
	mode := Of(e).mode.Load()
	return mode > modeShut && mode < modeCalm && !s.view.Load().panic
}
