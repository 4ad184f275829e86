package service

// What exchanges do with a service: Pick an endpoint, Begin an attempt at it, Settle the
// attempt. The common case takes no lock and allocates nothing:
//
//	Pick     view, Picker.Pick, the endpoint's mode is modeCalm or modeTally: return it
//	Begin    two counters, and a comparison with the time of the next turn (extra.go)
//	Settle   modeCalm and a success: two counters and the latency
//
// Bounds (overload.go) add a comparison to each of the three where there are none.
//
// When the picker's choice may not be used, Pick goes on in this order:
//
//	1  other choices of the picker, at most policy.AttemptsMax (8), then all of usable
//	2  usable endpoints that the picker does not know, if it is an older or a custom one
//	3  the reserve: endpoints that are only damped
//	4  the last resort: ejected endpoints whose turn it is
//	5  an endpoint that the source has just removed and that still runs, most likely
//
// If one was passed over only because it is full, there is something better than 4 and 5: to wait.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/policy"
)

// Seq is the next running number, for policy.Attempt.Seq; the first one is random. Each service has
// its own: with a common one, clients that alternate between two services would break round
// robin. All workers share it: many workers with few requests each would not be even otherwise.
func (s *Service) Seq() uint64 { return s.load.seq.Add(1) }

// Pick chooses an endpoint for an attempt; nil: there is none that a has not tried; policy.Wait:
// there are some, but none of them has a place at present. The caller sets
// all fields of a but Load, which Pick sets; the others are unchanged on return. The caller must
// Begin and Settle an attempt at the endpoint, which may be counted as a trial.
//
// Any task may call Pick. It takes no lock and allocates nothing, except that a trial of a
// half-open endpoint is counted under mu.
func (s *Service) Pick(a *policy.Attempt) *endpoint.Endpoint {
	if a.Load = s.load.n.Load(); a.Load >= s.load.open.Load() {
		return policy.Wait
	}
	return s.pickNow(a)
}

// pickNow is Pick with a.Load set, where the bound of the service has room.
func (s *Service) pickNow(a *policy.Attempt) *endpoint.Endpoint {
	w := s.view.Load()
	if w.lanes != nil {
		return s.pickInLane(w, a)
	}
	e := s.pickFrom(w, a)
	if w.shadow != nil {
		s.compareShadow(w.shadow, a, e)
	}
	return e
}

// pickFrom is Pick with the view w, which may be that of a lane, and with a.Load set.
func (s *Service) pickFrom(w *view, a *policy.Attempt) *endpoint.Endpoint {
	e := w.picker.Pick(a)
	if e == nil || e == policy.Wait {
		return s.pickOther(w, a, e)
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

// pickOther is Pick when the picker has no choice: e is nil or policy.Wait. If the policy says that
// the request should wait, and the service has a queue, that is what it does.
func (s *Service) pickOther(w *view, a *policy.Attempt, e *endpoint.Endpoint) *endpoint.Endpoint {
	if e == policy.Wait && s.queue.room.Load() > 0 {
		return e
	}
	full := false
	e = s.otherwise(w, a, &full)
	if e == nil && full {
		return policy.Wait
	}
	return e
}

// Keep is Pick for an attempt that is to be made at e, an endpoint of s that was picked for an earlier
// request of the same client: it returns e; nil: e may not be used; policy.Wait: e is full.
func (s *Service) Keep(a *policy.Attempt, e *endpoint.Endpoint) *endpoint.Endpoint {
	w, full := s.view.Load(), false
	switch {
	case w.lanes != nil && !w.keeps(a.Lane, e):
		return nil
	case s.takes(w, e, &full):
		return e
	case full:
		return policy.Wait
	}
	return nil
}

// pickOn is Pick when the picker's choice e is not simply healthy: half-open, kept, in its slow
// start, or not usable any more since the view was built; or if its attempts are bounded.
func (s *Service) pickOn(w *view, a *policy.Attempt, e *endpoint.Endpoint) *endpoint.Endpoint {
	if Of(e).kind() == modeKept {
		if other := s.ahead(w, a); other != nil {
			return other
		}
	}
	var leaving *endpoint.Endpoint
	full := false
	e, more := w.draw(a, e, func(e *endpoint.Endpoint) bool {
		if Of(e).kind() == modeLeaving {
			leaving = e
		}
		return s.takes(w, e, &full)
	})
	if more {
		e = sweep(w.usable, a, func(e *endpoint.Endpoint) bool { return s.takes(w, e, &full) })
	}
	if e == nil {
		e = s.otherwise(w, a, &full)
	}
	switch {
	case e != nil:
		return e
	case full:
		return policy.Wait
	case !w.oldPicker:
		return leaving
	}
	return nil
}

// draw returns the first of the picker's choices, beginning with e, for which ok returns true. The
// others count as tried until it returns. more: ok has refused policy.AttemptsMax of them, or the
// policy says that the rest should wait, so there may be more.
func (w *view) draw(a *policy.Attempt, e *endpoint.Endpoint, ok func(*endpoint.Endpoint) bool) (_ *endpoint.Endpoint, more bool) {
	tried := a.Tried
	defer func() { a.Tried = tried }()
	for range policy.AttemptsMax {
		if e == nil || e == policy.Wait {
			return nil, e != nil
		}
		if ok(e) {
			return e, false
		}
		a.Tried.Add(e)
		e = w.picker.Pick(a)
	}
	return nil, e != nil
}

// otherwise picks without the picker: steps 2 to 4 above. It sets full if it passes over an endpoint
// that is full; if there was one already, it leaves out the last resort.
func (s *Service) otherwise(w *view, a *policy.Attempt, full *bool) *endpoint.Endpoint {
	admitted := func(e *endpoint.Endpoint) bool { return s.takes(w, e, full) }
	if _, custom := w.picker.(*guarded); custom || w.oldPicker {
		if e := sweep(w.usable, a, admitted); e != nil {
			return e
		}
	}
	if e := sweep(w.reserve, a, admitted); e != nil {
		return e
	}
	if *full {
		return nil
	}
	return s.resort(w, a)
}

// sweep returns the first endpoint of list, from a random position on, that was not tried and for
// which ok returns true; nil: there is none.
func sweep(list []*endpoint.Endpoint, a *policy.Attempt, ok func(*endpoint.Endpoint) bool) *endpoint.Endpoint {
	for i := range list {
		e := list[(a.Rand%uint64(len(list))+uint64(i))%uint64(len(list))]
		if !a.Tried.Has(e) && ok(e) {
			return e
		}
	}
	return nil
}

// admit reports whether e may be picked now. If e is half-open it takes a trial, under mu, unless
// the view is frozen.
func (s *Service) admit(w *view, e *endpoint.Endpoint) bool {
	m := Of(e)
	switch mode := m.kind(); {
	case mode >= modeCalm && mode <= modeKept:
		return true
	case mode > modeTrial:
		return w.frozen || s.trial(m)
	case mode == modeProbed || mode == modeApart:
		return w.panic
	case mode == modeOpen || mode == modeConvicted:
		return w.panic && w.failing
	}
	return false
}

// takes is admit for an endpoint that may be full: then it sets full and returns false. An endpoint
// that would not be admitted anyway is not full.
func (s *Service) takes(w *view, e *endpoint.Endpoint, full *bool) bool {
	if !Of(e).full() {
		return s.admit(w, e)
	}
	if kind := Of(e).kind(); kind >= modeCalm || (kind == modeProbed || kind == modeApart) && w.panic {
		*full = true
	}
	return false
}

// trial takes one of m's free trials; false: none is free.
func (s *Service) trial(m *Member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := m.machine.Trial(&s.conf.health)
	s.mirror(m)
	return ok
}

// Begin counts an attempt as in flight that begins at the instant now, at an endpoint that Pick has
// returned, and Settle must follow; false: another task has taken the last place since the Pick, and
// the attempt must not be made. Without bounds it is always true. Any task may call it; it takes no
// lock.
func (s *Service) Begin(e *endpoint.Endpoint, now time.Duration) bool {
	if int64(now) >= s.load.turn.Load() {
		s.turn(now)
	}
	if s.load.bounded.Load() {
		return s.beginBounded(e, now)
	}
	s.load.n.Add(1)
	e.Begin(now)
	return true
}

// Settle ends an attempt with the outcome o. counts false: the attempt says nothing about the
// endpoint, since the client left for instance, so it is only not in flight any more. Any task may
// call it, once for each Begin that was true. A success of a healthy endpoint takes no lock.
func (s *Service) Settle(e *endpoint.Endpoint, o endpoint.Outcome, counts bool) {
	s.ended(e, o, counts)
	if s.load.waiting.Load() > 0 {
		s.freed()
	}
}

// ended is Settle without what follows for requests that wait.
func (s *Service) ended(e *endpoint.Endpoint, o endpoint.Outcome, counts bool) {
	s.load.n.Add(-1)
	m := Of(e)
	o.Failed = o.Failed && counts
	if l := m.limiter.Load(); l != nil {
		s.measure(l, m, &o)
	}
	if counts && !o.Failed && s.rated.Load() {
		m.window.Success(o.Now)
	}
	switch m.kind() {
	case modeLeaving, modeShut, modeBarred:
		e.End(o)
		return
	case modeProbed:
		if !o.Failed {
			m.resortAt.Store(0)
			m.served(o.Began)
			e.End(o)
			return
		}
	case modeCalm:
		if !o.Failed && o.Rest == 0 {
			e.End(o)
			return
		}
	case modeConvicted, modeProbedUnreached, modeOpen, modeOpenUnreached, modeApart, modeTally, modeKept:
		if !counts {
			e.End(o)
			return
		}
	}
	s.settle(m, o, counts)
}

// settle is ended for an outcome that the state machine needs.
func (s *Service) settle(m *Member, o endpoint.Outcome, counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := health.Input{Event: health.AttemptSucceeded, Now: o.Now, Began: o.Began, Spare: s.spare(m), Unreached: o.Unreached}
	if counts && !o.Failed && m.machine.State() == health.Ejected {
		m.served(o.Began)
	}
	switch {
	case !counts, o.Failed && m.stale(o.Began):
		counts = false
		in.Event = health.AttemptAbandoned
	case o.Failed:
		in.Event = health.AttemptFailed
		if s.rated.Load() {
			in.Requests, in.Failures = m.window.Failure(o.Now)
		}
	}
	in.Stranger = m.endpoint.InFlight() > int64(m.machine.Trials())
	s.apply(m, in, nil)
	if o.Rest > 0 {
		s.apply(m, health.Input{Event: health.AskedToRest, Now: o.Now, Rest: min(o.Rest, restMost), Spare: s.mayRest()}, nil)
	}
	if counts {
		m.rest(!o.Failed || o.Refused, o.Now)
	}
	// With mu held, so that the next settle sees the right number in flight.
	m.endpoint.End(o)
}

// restMost bounds the pause that an endpoint gets because it has asked for one.
const restMost = 30 * time.Second

// mayRest reports whether a healthy member may pause, or be ejected as an outlier: at least half of all members stay healthy
// without it, so that one resource which answers 503 everywhere does not take the service away.
// Called with mu held.
func (s *Service) mayRest() bool {
	left := s.tally.healthy - 1
	return left > 0 && 2*left >= len(s.members)
}
