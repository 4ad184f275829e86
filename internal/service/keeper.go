package service

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/event"
)

// tick is how often the keeper looks while there is something to look at: draining
// endpoints, or trials.
const tick = time.Second

// patience is how long a trial may be taken and not begun.
const patience = 3 * time.Second

// Run is the service's own task, the keeper: it follows updates, ends ejections in time,
// builds views, starts and ends the probers, and lets removed endpoints go. It returns after
// Stop, when its probers have ended, which takes no longer than one probe, and frees every
// endpoint.
func (s *Service) Run() {
	for !s.stopped.Load() {
		next := s.rt.Now() + tick // if the round panics
		s.shield("the keeper of a service", func() { next = s.round(s.rt.Now()) })
		s.wake.Wait(next)
	}
	s.work.Lock() // an Update that came before Stop ends first, a later one does nothing
	s.mu.Lock()
	all := make([]*Member, 0, len(s.byID))
	for _, m := range s.byID {
		all = append(all, m)
	}
	discard := s.conf.set.Discard
	s.mu.Unlock()
	s.work.Unlock()

	slices.SortFunc(all, byID)
	for _, m := range all {
		if m.prober != nil {
			s.shield("a prober", m.prober.Wait)
		}
	}
	for _, m := range all {
		if discard != nil {
			s.shield("discarding an endpoint", func() { discard(m.endpoint) })
		}
	}
	s.publish(event.ServiceStopped{})
}

// round does what is to be done now and returns when it must be called again; zero: not
// before the next wake.
func (s *Service) round(now time.Duration) (next time.Duration) {
	next, gone, discard := s.update(now)
	s.tend()
	for _, e := range gone {
		if discard != nil {
			discard(e)
		}
	}
	return next
}

// update brings members and view up to date. It returns when that must be done again, and
// the endpoints that are gone, with what frees them.
func (s *Service) update(now time.Duration) (next time.Duration, gone []*endpoint.Endpoint, discard func(*endpoint.Endpoint)) {
	s.work.Lock()
	defer s.work.Unlock()
	if s.mayBuild(now) {
		s.reconcile(now)
	}
	s.expire(now)
	gone = s.reap(now)
	if s.mayBuild(now) {
		s.buildIfDirty(now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next(now), gone, s.conf.set.Discard
}

// mayBuild reports whether a build now would keep the distance to the last one, or is too
// urgent for that. Called with work held.
func (s *Service) mayBuild(now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.builds.begun || s.todo.urgent || now >= s.builds.next
}

// buildIfDirty is build unless nothing happened. Called with work held.
func (s *Service) buildIfDirty(now time.Duration) {
	s.mu.Lock()
	dirty := s.todo.dirty || s.builds.again > 0 && now >= s.builds.again
	s.mu.Unlock()
	if dirty {
		s.build(now)
		s.rest(now)
	}
}

// rest puts the next build off for as long as one that began then deserves. Called with
// work held.
func (s *Service) rest(began time.Duration) {
	took := s.rt.Now() - began
	s.builds.next = began + min(max(buildShare*took, buildEvery), buildRest)
}

// next is the earliest instant at which the clock alone makes work. Called with both locks.
func (s *Service) next(now time.Duration) time.Duration {
	at := s.todo.due
	earlier := func(t time.Duration) {
		if at == 0 || t < at {
			at = t
		}
	}
	if s.builds.begun && (s.todo.dirty || s.named.unread) {
		earlier(s.builds.next)
	}
	if s.builds.again > 0 {
		earlier(max(s.builds.again, s.builds.next))
	}
	if s.source.backAt > 0 {
		earlier(s.source.backAt + backAfter)
	}
	if len(s.draining)+len(s.todo.trying) > 0 {
		earlier(now + tick)
	}
	return at
}

// expire ends ejections, holds and quiet times that are over and looks after trials.
// Called with work held.
func (s *Service) expire(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recover(now)
	if s.todo.due > 0 && now >= s.todo.due {
		s.todo.due = 0
		s.release(now)
		s.undamp(now)
		s.fast(now)
		for _, m := range s.members {
			if at := m.machine.Deadline(); at > 0 && at <= now {
				s.apply(m, health.Input{Event: health.TimePassed, Now: now}, nil)
			}
			s.alarm(m, now)
		}
	}
	s.prune()
	s.todo.trying = slices.DeleteFunc(s.todo.trying, func(m *Member) bool {
		if m.machine.State() != health.HalfOpen {
			return true
		}
		s.lookAfter(m, now)
		return false
	})
}

// lookAfter gives back the trials of a half-open endpoint that has had nothing in flight
// for patience: their ends were taken for those of strangers, or never reported, and the
// endpoint would wait for them for ever. Called with mu held.
func (s *Service) lookAfter(m *Member, now time.Duration) {
	if m.machine.Trials() == 0 || m.endpoint.InFlight() > 0 {
		m.busyAt = now
	}
	if now-m.busyAt < patience {
		return
	}
	for m.machine.Trials() > 0 {
		s.apply(m, health.Input{Event: health.AttemptAbandoned, Now: now}, nil)
	}
}
