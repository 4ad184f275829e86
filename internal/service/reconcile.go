package service

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
)

// drainAtLeast is how long a removed endpoint is kept although nothing is in flight: an
// exchange may have picked it from the last view and not begun its attempt yet.
const drainAtLeast = time.Second

// reconcile compares the set the source named last with the endpoints that are known.
// Called with work held, which makes it the only writer of byID and members.
func (s *Service) reconcile(now time.Duration) {
	s.mu.Lock()
	specs, unread, attach := s.pending, s.unread, s.set.Attach
	s.pending, s.unread = nil, false
	s.mu.Unlock()
	if !unread {
		return
	}
	// Making endpoints is slow and another package's code, so it is done before mu is held.
	next := make(map[endpoint.ID]*Member, len(specs))
	members := make([]*Member, 0, len(specs))
	fresh := make([]endpoint.Spec, 0, len(specs)) // of members, by index
	for _, spec := range specs {
		if next[spec.ID] != nil {
			continue
		}
		m := s.byID[spec.ID]
		if m == nil {
			m = newMember(spec, attach)
		}
		next[spec.ID] = m
		members, fresh = append(members, m), append(fresh, spec)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.awaiting < 0
	if first {
		s.awaiting = 0
	}
	added, removed := 0, 0
	for i, m := range members {
		if s.byID[m.endpoint.ID()] == nil {
			s.join(m, first)
			added++
		} else if s.keep(m, fresh[i], now) {
			added++
		}
	}
	for _, m := range s.members {
		if next[m.endpoint.ID()] == nil {
			s.remove(m, now)
			removed++
		}
	}
	slices.SortFunc(members, byID)
	s.members = members
	if first || added+removed > 0 {
		s.shaped, s.dirty = true, true
		s.report(news{added: added, removed: removed, members: len(members)})
	}
}

// newMember makes an endpoint that nobody else knows yet.
func newMember(spec endpoint.Spec, attach func(*endpoint.Endpoint) any) *Member {
	m := &Member{endpoint: endpoint.New(spec)}
	m.endpoint.Local = m
	if attach != nil {
		m.Attached = attach(m.endpoint)
	}
	return m
}

// join takes a new endpoint in. Called with mu held.
func (s *Service) join(m *Member, first bool) {
	s.byID[m.endpoint.ID()] = m
	m.machine, m.checkGen = health.New(&s.health), s.checkGen
	if first {
		m.first = true
		s.awaiting++
	}
	s.mirror(m)
	s.wantProber(m)
}

// keep tells a known endpoint what the source says now, and takes it back if it was
// draining, which it reports. Called with mu held.
func (s *Service) keep(m *Member, spec endpoint.Spec, now time.Duration) (back bool) {
	if !spec.Equal(*m.endpoint.Spec()) {
		m.endpoint.Update(spec)
		s.shaped, s.dirty = true, true
	}
	if m.machine.State() != health.Draining {
		return false
	}
	// Nobody looked at it meanwhile. What was known is as fresh as any other verdict if it
	// was gone for no longer than lies between two probes.
	m.machine = m.before.Resumed()
	if s.health.Probed && now-m.removedAt > s.check.Interval || m.checkGen != s.checkGen {
		m.machine, m.checkGen = health.New(&s.health), s.checkGen
	}
	m.window.Reset()
	m.covering = false
	s.expect(m)
	s.draining = slices.DeleteFunc(s.draining, func(d *Member) bool { return d == m })
	s.mirror(m)
	s.wantProber(m)
	return true
}

// remove lets an endpoint drain that the source names no more. Called with mu held.
func (s *Service) remove(m *Member, now time.Duration) {
	m.before, m.removedAt = m.machine, now
	s.apply(m, health.Input{Event: health.Removed, Now: now}, nil)
	s.draining = append(s.draining, m)
	m.nudge()
}

// reap takes leave of the draining endpoints that have nothing in flight any more and
// returns them. Called with work held.
func (s *Service) reap(now time.Duration) (gone []*endpoint.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = slices.DeleteFunc(s.draining, func(m *Member) bool {
		if now-m.removedAt < drainAtLeast || m.endpoint.InFlight() > 0 || m.probing || m.covering {
			return false
		}
		s.apply(m, health.Input{Event: health.Emptied, Now: now}, nil)
		delete(s.byID, m.endpoint.ID())
		gone = append(gone, m.endpoint)
		return true
	})
	return gone
}
