package service

// Members that are out: the instance itself, or an operator, has said that it takes no new
// requests (disabled, OUT_OF_SERVICE, maintenance, weight 0). That is a fact rather than a
// conclusion, so it counts at once: the guard does not hold it, probes do not confirm it, panic
// mode does not doubt it. If all endpoints of a service are out, the service has none.
//
// A member that is out stays a member, so that a hashing policy gives it the same keys again
// when it is back, and attempts under way end as they would have. It is not probed: it may be
// shutting down, so a failed probe would mean nothing.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
)

// setOut sets whether m is out, as the source says at the instant now. Called with mu held.
func (s *Service) setOut(m *Member, out bool, now time.Duration) {
	if m.out == out {
		return
	}
	m.out = out
	s.todo.shaped, s.todo.dirty = true, true
	if out {
		m.outAt, m.quietUntil = now, 0
		s.todo.urgent = true
	} else {
		s.resume(m, m.machine, now-m.outAt)
		s.recall(m, now)
		s.slow(m, now)
	}
	s.mirror(m)
	s.wantProber(m)
	m.nudge() // one that is out is not probed
}

// resume continues m with the state before, which it had when it was declared out or removed.
// unwatched is how long that lasted. If it is longer than an interval of the check, or the check
// has changed, the state is not valid any more and m begins anew. Called with mu held.
func (s *Service) resume(m *Member, before health.Machine, unwatched time.Duration) {
	m.machine = before.Resumed()
	if s.conf.health.Probed && unwatched > s.conf.check.Interval || m.checkGen != s.conf.checkGen {
		m.machine, m.checkGen = health.New(&s.conf.health), s.conf.checkGen
	}
	m.window.Reset()
	s.expect(m)
}

// weigh sets the weights of all members: whole numbers from 1 to 65536 in the proportions of the
// source's weights, or of those that operators have given. Called with both locks.
func (s *Service) weigh(members []*Member) {
	set := make([]endpoint.Spec, len(members))
	for i, m := range members {
		set[i] = *m.endpoint.Spec()
		if o := s.overrides[m.endpoint.ID()].weight; o != nil {
			set[i].Weight = o.Weight
		}
	}
	for i, w := range endpoint.Weights(set) {
		if e := members[i].endpoint; e.Weight() != w {
			e.SetWeight(w)
			s.todo.shaped, s.todo.dirty = true, true
		}
	}
}
