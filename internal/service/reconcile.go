package service

// Comparing a new set with the members, by identity (scheme, address, instance). With members A,
// B and C and the set A (another weight), C (out), D:
//
//	A   keep     has the new weight; health, latency and connections stay
//	B   missing  removed: drains; or held, if the Guard finds that too many are missing
//	C   setOut   stays a member, gets no new requests
//	D   join     a new state machine: probing with a check, else healthy; a prober
//
// An endpoint that is named again while it drains is kept as well: resume continues with the
// state it had, unless it was unwatched for longer than an interval of its check. When nothing
// is in flight at a draining endpoint, and a second has passed, reap frees it.

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/internal/record"
)

// drainAtLeast is how long a removed endpoint is kept although nothing is in flight: an exchange
// may have picked it from an older view and not begun its attempt yet.
const drainAtLeast = time.Second

// reconcile compares the set that was named last with the members, and does nothing if that was
// done already. A build must follow. Called with work held.
func (s *Service) reconcile(now time.Duration) {
	s.mu.Lock()
	specs, unread, guarded, attach := s.named.specs, s.named.unread, s.named.guarded, s.conf.set.Attach
	s.named.specs, s.named.unread = nil, false
	s.prune()
	s.mu.Unlock()
	if !unread {
		return
	}
	u := s.read(specs, attach)
	u.guarded, u.now = guarded, now

	s.mu.Lock()
	defer s.mu.Unlock()
	if u.first = s.tally.awaiting < 0; u.first {
		s.tally.awaiting = 0
	}
	s.admitAll(&u)
	var missing []*Member
	for _, m := range s.members {
		if u.next[m.endpoint.ID()] == nil {
			missing = append(missing, m)
		}
	}
	held := s.removeOrHold(missing, &u)
	removed := idsOf(missing, held)
	s.members = append(u.members, held...)
	slices.SortFunc(s.members, byID)
	s.weigh(s.members)
	if u.first || len(u.added)+len(removed) > 0 {
		s.todo.shaped, s.todo.dirty = true, true
		s.publish(event.SetChanged{Added: u.added, Removed: removed, Members: len(s.members), First: u.first})
	}
	if u.out+u.in > 0 {
		s.publish(event.OutChanged{Out: u.out, Back: u.in, Members: len(s.members)})
	}
}

// idsOf returns the IDs of list without those of stay, a part of list in the same order.
func idsOf(list, stay []*Member) (ids []endpoint.ID) {
	for _, m := range list {
		if len(stay) > 0 && stay[0] == m {
			stay = stay[1:]
			continue
		}
		ids = append(ids, m.endpoint.ID())
	}
	return ids
}

// An update is a set that is being compared with the members.
type update struct {
	next    map[endpoint.ID]*Member
	members []*Member       // those of next, in the order of the set
	specs   []endpoint.Spec // what the set says of members, by index
	first   bool            // it is the first set
	guarded bool
	now     time.Duration

	added   []endpoint.ID // members that it names and the last set did not
	out, in int           // how many members it declares out, and not out any more
	serving int           // added ones that are not out, and those of in: they may replace others
}

// read finds the members that a set names and makes those that are new. It calls attach, which is
// another package's code, so mu is not held. Called with work held.
func (s *Service) read(specs []endpoint.Spec, attach func(*endpoint.Endpoint) any) update {
	u := update{next: make(map[endpoint.ID]*Member, len(specs))}
	for _, spec := range specs {
		if u.next[spec.ID] != nil {
			continue
		}
		m := s.byID[spec.ID]
		if m == nil {
			m = newMember(spec, attach)
		}
		u.next[spec.ID] = m
		u.members, u.specs = append(u.members, m), append(u.specs, spec)
	}
	return u
}

// admitAll joins or keeps every member of a set, and counts the changes in u. Called with both
// locks.
func (s *Service) admitAll(u *update) {
	back := 0
	for i, m := range u.members {
		spec := u.specs[i]
		isNew := s.byID[m.endpoint.ID()] == nil
		if isNew {
			m.out, m.outAt = spec.Out, u.now
			s.join(m, u.first, u.now)
		}
		switch came := isNew || s.keep(m, spec, u.now); {
		case came:
			u.added = append(u.added, m.endpoint.ID())
			if !spec.Out {
				u.serving++
			}
			if u.guarded && !spec.Out {
				s.damp(m, u.now)
			}
		case spec.Out && !m.out:
			u.out++
		case m.out && !spec.Out:
			u.in++
			u.serving++
		}
		s.setOut(m, spec.Out, u.now)
		if s.unhold(m) {
			back++
		}
	}
	if len(u.members) > 0 {
		s.known.Store(true)
	}
	if back > 0 {
		s.publish(event.RemovalTakenBack{Endpoints: back})
	}
}

// newMember makes an endpoint and its Member, which no other task knows yet. attach may be nil.
func newMember(spec endpoint.Spec, attach func(*endpoint.Endpoint) any) *Member {
	m := &Member{endpoint: endpoint.New(spec)}
	m.endpoint.Local = m
	if attach != nil {
		m.Attached = attach(m.endpoint)
	}
	return m
}

// join adds a new endpoint. first: it is one of the first set, for whose verdicts AwaitReady waits.
// Called with both locks.
func (s *Service) join(m *Member, first bool, now time.Duration) {
	id := m.endpoint.ID()
	s.byID[id] = m
	s.setChanged()
	if m.Cells, m.history = s.former.take(id, now); m.Cells == nil {
		m.Cells, m.history = record.NewCells[record.EndpointCell](s.conf.set.Workers), newHistory(now)
	}
	m.machine, m.checkGen = health.New(&s.conf.health), s.conf.checkGen
	known := s.inherit(m, now)
	s.recall(m, now)
	if known { // recall makes no event, and yet it counts
		m.history.Changes[0].To, m.history.Changes[0].Cause = m.machine.State(), m.machine.Cause()
	}
	if first {
		m.first = true
		s.tally.awaiting++
	}
	s.bound(m)
	s.mirror(m)
	if len(m.history.Changes) > 0 && !known {
		m.history.resume(&m.machine, now)
	}
	if !first && !known {
		s.slow(m, now)
	}
	s.wantProber(m)
}

// keep updates a known endpoint with what the source says now. It reports whether the endpoint was
// draining and is a member again. Called with both locks.
func (s *Service) keep(m *Member, spec endpoint.Spec, now time.Duration) (back bool) {
	if !spec.Equal(*m.endpoint.Spec()) {
		m.endpoint.Update(spec)
		s.todo.shaped, s.todo.dirty = true, true
	}
	if m.machine.State() != health.Draining {
		return false
	}
	m.covering = false
	s.resume(m, m.before, now-m.removedAt)
	if m.confirmed {
		m.confirmed = false
		m.machine, m.checkGen = health.New(&s.conf.health), s.conf.checkGen
	}
	s.draining = slices.DeleteFunc(s.draining, func(d *Member) bool { return d == m })
	s.recall(m, now)
	s.mirror(m)
	m.history.resume(&m.machine, now)
	s.wantProber(m)
	return true
}

// remove begins to drain an endpoint. It does not change Service.members. Called with mu held.
func (s *Service) remove(m *Member, now time.Duration) {
	m.before, m.removedAt = m.machine, now
	m.heldUntil, m.quietUntil = 0, 0
	s.flaps.left(m.endpoint.ID(), now)
	s.apply(m, health.Input{Event: health.Removed, Now: now}, nil)
	s.draining = append(s.draining, m)
	m.nudge()
}

// reap removes the draining endpoints that are finished and returns them, so that the caller
// discards them without a lock. Called with work held.
func (s *Service) reap(now time.Duration) (gone []*endpoint.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = slices.DeleteFunc(s.draining, func(m *Member) bool {
		if now-m.removedAt < drainAtLeast || m.endpoint.InFlight() > 0 || m.probing || m.covering {
			return false
		}
		s.apply(m, health.Input{Event: health.Emptied, Now: now}, nil)
		delete(s.byID, m.endpoint.ID())
		s.setChanged()
		s.former.keep(m, now)
		gone = append(gone, m.endpoint)
		return true
	})
	return gone
}
