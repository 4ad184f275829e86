package service

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/policy"
)

// Seq is the running number of picks, for Attempt.Seq. It starts anywhere. Two services do
// not share it: alternating between them would break round robin. All workers do: those of
// few requests each would start theirs anywhere, and what they take turns at is not even.
func (s *Service) Seq() uint64 { return s.load.seq.Add(1) }

// Pick chooses an endpoint for an attempt; nil: none is available that a has not tried.
// The caller must Begin and Settle an attempt at the endpoint that it gets: it may be a trial. Pick fills in a.Load; the rest of a is as before on return.
//
// Pick takes no lock and allocates nothing, except that a trial of a half-open endpoint is
// counted under a lock.
func (s *Service) Pick(a *policy.Attempt) *endpoint.Endpoint {
	w := s.view.Load()
	a.Load = s.load.n.Load()
	e := w.picker.Pick(a)
	if e == nil {
		return s.otherwise(w, a)
	}
	mode := Of(e).mode.Load()
	if mode == modeCalm || mode == modeTally {
		return e
	}
	if mode&modeSlow != 0 {
		e = s.passOver(w, a, e)
	}
	return s.pickOn(w, a, e)
}

// Keep reports whether an attempt may be made at e, an endpoint of s that was picked for an
// earlier request of the same client. As after a Pick, the caller must Begin and Settle then.
func (s *Service) Keep(e *endpoint.Endpoint) bool { return s.admit(s.view.Load(), e) }

// pickOn goes on picking when the policy chose an endpoint that left the usable set after
// the view was built, or a half-open one: those it may not have count as tried meanwhile.
// One that the source has just removed is still there, and better than none.
func (s *Service) pickOn(w *view, a *policy.Attempt, e *endpoint.Endpoint) *endpoint.Endpoint {
	if Of(e).mode.Load()&^modeSlow == modeKept {
		if other := s.ahead(w, a); other != nil {
			return other
		}
	}
	var leaving *endpoint.Endpoint
	e, full := w.draw(a, e, func(e *endpoint.Endpoint) bool {
		if Of(e).mode.Load() == modeLeaving {
			leaving = e
		}
		return s.admit(w, e)
	})
	if full {
		e = sweep(w.usable, a, func(e *endpoint.Endpoint) bool { return s.admit(w, e) })
	}
	if e == nil {
		e = s.otherwise(w, a)
	}
	if e == nil && !w.astray {
		return leaving
	}
	return e
}

// draw goes on picking from e, the picker's first choice, until ok takes one: those it does
// not take count as tried meanwhile. full: none was taken, and there are more of them than
// Tried can hold.
func (w *view) draw(a *policy.Attempt, e *endpoint.Endpoint, ok func(*endpoint.Endpoint) bool) (_ *endpoint.Endpoint, full bool) {
	tried := a.Tried
	defer func() { a.Tried = tried }()
	for range policy.AttemptsMax {
		if e == nil {
			return nil, false
		}
		if ok(e) {
			return e, false
		}
		a.Tried.Add(e)
		e = w.picker.Pick(a)
	}
	return nil, e != nil
}

// otherwise picks where the picker has nothing to offer: what a picker of another set does
// not know, or does not choose because it panics, and then the reserve.
func (s *Service) otherwise(w *view, a *policy.Attempt) *endpoint.Endpoint {
	admitted := func(e *endpoint.Endpoint) bool { return s.admit(w, e) }
	if _, custom := w.picker.(*guarded); custom || w.astray {
		if e := sweep(w.usable, a, admitted); e != nil {
			return e
		}
	}
	if e := sweep(w.reserve, a, admitted); e != nil {
		return e
	}
	return s.resort(w, a)
}

// sweep takes the next one of a list that was not tried and that ok takes, from a random place.
func sweep(list []*endpoint.Endpoint, a *policy.Attempt, ok func(*endpoint.Endpoint) bool) *endpoint.Endpoint {
	for i := range list {
		e := list[(a.Rand%uint64(len(list))+uint64(i))%uint64(len(list))]
		if !a.Tried.Has(e) && ok(e) {
			return e
		}
	}
	return nil
}

// admit reports whether e may be picked now, and takes a trial if it is half-open.
func (s *Service) admit(w *view, e *endpoint.Endpoint) bool {
	m := Of(e)
	switch mode := m.mode.Load() &^ modeSlow; {
	case mode >= modeCalm && mode <= modeKept:
		return true
	case mode > modeTrial:
		return s.trial(m)
	case mode == modeProbed:
		return w.panic
	case mode == modeOpen || mode == modeConvicted:
		return w.panic && w.failing
	}
	return false
}

// trial takes one of m's free trials.
func (s *Service) trial(m *Member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := m.machine.Trial(&s.conf.health)
	s.mirror(m)
	return ok
}

// Begin counts an attempt at an endpoint that Pick returned as in flight.
func (s *Service) Begin(e *endpoint.Endpoint, now time.Duration) {
	s.load.n.Add(1)
	e.Begin(now)
}

// Settle ends an attempt. counts false: it says nothing about the endpoint (the client
// went away), whatever o says, and only frees its place. Any task may call it, once for
// each Begin. A success of a healthy endpoint takes no lock.
func (s *Service) Settle(e *endpoint.Endpoint, o endpoint.Outcome, counts bool) {
	s.load.n.Add(-1)
	m := Of(e)
	o.Failed = o.Failed && counts
	if counts && !o.Failed && s.rated.Load() {
		m.window.Success(o.Now)
	}
	switch m.mode.Load() &^ modeSlow {
	case modeLeaving, modeShut:
		e.End(o)
		return
	case modeProbed:
		if !o.Failed {
			m.resortAt.Store(0)
			e.End(o)
			return
		}
	case modeCalm:
		if !o.Failed {
			e.End(o)
			return
		}
	case modeConvicted, modeProbedDeaf, modeOpen, modeOpenDeaf, modeTally, modeKept:
		if !counts {
			e.End(o)
			return
		}
	}
	s.settle(m, o, counts)
}

// settle is Settle where the state machine has to hear of it.
func (s *Service) settle(m *Member, o endpoint.Outcome, counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := health.Input{Event: health.AttemptSucceeded, Now: o.Now, Began: o.Began, Spare: s.spare(m), Unreached: o.Unreached}
	switch {
	case !counts:
		in.Event = health.AttemptAbandoned
	case o.Failed:
		in.Event = health.AttemptFailed
		if s.rated.Load() {
			in.Requests, in.Failures = m.window.Failure(o.Now)
		}
	}
	in.Stranger = m.endpoint.InFlight() > int64(m.machine.Trials())
	s.apply(m, in, nil)
	if counts {
		m.rest(!o.Failed || o.Refused, o.Now)
	}
	// Under the lock, so that the next one to settle sees who is left in flight.
	m.endpoint.End(o)
}
