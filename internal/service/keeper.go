package service

// The keeper: the service's own task. It wakes when something has changed or a deadline has
// come, and does one round, in this order:
//
//	reconcile   a set that was named since the last build
//	expire      ends of ejections, holds, quiet times, slow starts and overrides; lost trials
//	compare     which members are outliers
//	reap        removed endpoints that have nothing in flight
//	build       a view, if something has changed and the last build was long enough ago
//	tend        joins probers that have ended, starts those that are wanted
//	discard     frees the endpoints that reap has removed
//
// Only the keeper does what may wait, except for builds: a task that calls Update or Configure
// builds too, so that the change is in force on return.

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/event"
)

// tick is the interval of rounds while there are draining endpoints or trials to look at.
const tick = time.Second

// patience is how long a half-open endpoint may have trials taken and nothing in flight.
const patience = 3 * time.Second

// Run is the keeper. The caller runs it once, in a task of the service's runtime. It returns after
// Stop, when all probers have ended, which takes no longer than one probe, and all endpoints
// were discarded.
func (s *Service) Run() {
	for !s.stopped.Load() {
		next := s.rt.Now() + tick // if the round panics
		s.shield("the keeper of a service", func() { next = s.round(s.rt.Now()) })
		s.wake.Wait(next)
	}
	s.work.Lock() // waits for an Update under way; a later one does nothing
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
	s.dropOverrides()
	s.publish(event.ServiceStopped{})
}

// round does one round and returns the instant of the next; 0: not before the next wake.
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

// update brings members and view up to date. It returns the instant of the next round, and the
// endpoints that are gone with the function that frees them, which may be nil.
func (s *Service) update(now time.Duration) (next time.Duration, gone []*endpoint.Endpoint, discard func(*endpoint.Endpoint)) {
	s.work.Lock()
	defer s.work.Unlock()
	if s.mayBuild(now) {
		s.reconcile(now)
	}
	s.expire(now)
	s.compare(now)
	gone = s.reap(now)
	if s.mayBuild(now) {
		s.buildIfDirty(now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next(now), gone, s.conf.set.Discard
}

// mayBuild reports whether a view may be built at the instant now: the last build was long enough
// ago, or the next one is urgent. Called with work held.
func (s *Service) mayBuild(now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.builds.begun || s.todo.urgent || now >= s.builds.next
}

// buildIfDirty builds a view if something has changed, or if a failed Build is due again. Called
// with work held.
func (s *Service) buildIfDirty(now time.Duration) {
	s.mu.Lock()
	dirty := s.todo.dirty || s.builds.again > 0 && now >= s.builds.again
	s.mu.Unlock()
	if dirty {
		s.build(now)
		s.rest(now)
	}
}

// rest sets the earliest instant of the next build, after one that began at the instant began: see
// buildShare. Called with work held.
func (s *Service) rest(began time.Duration) {
	took := s.rt.Now() - began
	s.builds.next = began + min(max(buildShare*took, buildEvery), buildRest)
}

// next is the earliest instant at which there is work although nothing wakes the keeper; 0:
// there is none. Called with both locks.
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

// expire ends what is over at the instant now: ejections, holds, quiet times, slow starts. It also
// gives back lost trials. Called with work held.
func (s *Service) expire(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recover(now)
	if s.todo.due > 0 && now >= s.todo.due {
		s.todo.due = 0
		s.release(now)
		s.undamp(now)
		s.endSlow(now)
		s.endOverrides(now)
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

// lookAfter gives back the trials of a half-open endpoint that has had nothing in flight for
// patience. Their ends were taken for those of other attempts, or a picked endpoint got no
// attempt, and without this the endpoint would never get another trial. Called with mu held.
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
