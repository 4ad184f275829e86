package service

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
)

// A source may say of an endpoint that it is out: the instance itself, or an operator, has
// said that it takes no new requests. That is known, not concluded, so it counts at once: the
// guard does not hold it, probes do not confirm it, and panic mode does not doubt it. If all
// endpoints of a service are out, the service has none.
//
// A member that is out stays a member, so that the keys of a hashing policy come home to it,
// and attempts under way end as they would have. It is not probed: what runs there may be
// shutting down, and a failed probe would say nothing new.

// setOut takes over whether the source says that m is out. Called with mu held.
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
		s.slow(m, now)
	}
	s.mirror(m)
	s.wantProber(m)
	m.nudge() // its prober may be without orders now
}

// resume has m go on where its machine stood before it was out or removed, for so long. What was
// known then is as fresh as any other verdict if that is no longer than lies between two
// probes. Called with mu held.
func (s *Service) resume(m *Member, before health.Machine, unwatched time.Duration) {
	m.machine = before.Resumed()
	if s.conf.health.Probed && unwatched > s.conf.check.Interval || m.checkGen != s.conf.checkGen {
		m.machine, m.checkGen = health.New(&s.conf.health), s.conf.checkGen
	}
	m.window.Reset()
	s.expect(m)
}

// weigh gives every member its weight among the others: in whole numbers, in the proportions
// that the source gave. Called with both locks.
func (s *Service) weigh(members []*Member) {
	set := make([]endpoint.Spec, len(members))
	for i, m := range members {
		set[i] = *m.endpoint.Spec()
	}
	for i, w := range endpoint.Weights(set) {
		if e := members[i].endpoint; e.Weight() != w {
			e.SetWeight(w)
			s.todo.shaped, s.todo.dirty = true, true
		}
	}
}
