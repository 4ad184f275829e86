package service

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/event"
)

// A Guard holds back updates of a source that would remove many members at once: it is
// likelier that a registry lost its data than that so many endpoints went away together.
//
// An update that leaves out more than MaxRemoval percent of the members, or all of them,
// is held: those it leaves out stay in use for Hold, unless
//
//   - it names at least as many new endpoints: that is a full replacement;
//   - their latest probe failed, or the next one does: that confirms the removal, of this
//     one member, at once. Held members are probed every second, by a plain connection if
//     the service has no check, and serve only while that passes: an address may already
//     belong to another program;
//   - an update names them again.
//
// Every update is judged by itself, against all members, held ones included. So while a
// removal is held a smaller set is held too, and one that is large enough again lets
// through what it still leaves out. The first set is never held, nor is what Update says.
type Guard struct {
	MaxRemoval int           // percent of the members; 0 means 50, negative: nothing is held
	Hold       time.Duration // 0 means a minute
}

const (
	guardRemoval = 50
	guardHold    = time.Minute
	// heldEvery is how often held members are probed at least, and heldTimeout how long
	// such a probe may take where there is no check.
	heldEvery   = time.Second
	heldTimeout = time.Second
)

// withDefaults replaces every zero by what it means.
func (g Guard) withDefaults() Guard {
	if g.MaxRemoval == 0 {
		g.MaxRemoval = guardRemoval
	}
	if g.Hold <= 0 {
		g.Hold = guardHold
	}
	return g
}

// holds reports whether an update is held that leaves out so many of the members.
func (g Guard) holds(missing, members, added int) bool {
	switch {
	case g.MaxRemoval < 0, missing == 0, added >= missing:
		return false
	case missing == members:
		return true
	}
	return missing*100 > g.MaxRemoval*members
}

// part takes leave of the members that the source does not name any more, and returns
// those that are held instead. Those that are or were out are not in use: they are neither
// held nor counted. Called with both locks.
func (s *Service) part(missing []*Member, u *update) (held []*Member) {
	notOut := func(list []*Member) (n int) {
		for _, m := range list {
			if !m.out {
				n++
			}
		}
		return n
	}
	hold := u.guarded && s.conf.set.Guard.holds(notOut(missing), notOut(s.members), u.serving)
	fresh := 0
	for _, m := range missing {
		if !hold || m.out || m.machine.Failing() {
			s.remove(m, u.now)
			continue
		}
		if held = append(held, m); m.heldUntil == 0 {
			m.heldUntil = u.now + s.conf.set.Guard.Hold
			s.alarm(m, 0)
			s.wantProber(m)
			m.nudge()
			fresh++
		}
	}
	if fresh > 0 {
		s.publish(event.RemovalHeld{Endpoints: fresh, Members: len(s.members), For: s.conf.set.Guard.Hold})
	}
	return held
}

// unhold keeps a held member that the source names again. Called with mu held.
func (s *Service) unhold(m *Member) (was bool) {
	if m.heldUntil == 0 {
		return false
	}
	m.heldUntil = 0
	m.nudge() // its prober may be without orders now
	return true
}

// confirm lets a held member go whose probe failed. Called with mu held; the keeper takes
// it out of members, which is not ours to write.
func (s *Service) confirm(m *Member, now time.Duration, err error) {
	s.remove(m, now)
	m.confirmed = true
	s.todo.stray, s.todo.urgent = true, true
	s.publish(event.RemovalConfirmed{Endpoint: m.endpoint.ID(), Err: err})
	s.wake.Set()
}

// release lets those go that were held long enough. Called with both locks.
func (s *Service) release(now time.Duration) {
	gone := 0
	for _, m := range s.members {
		if m.heldUntil > 0 && m.heldUntil <= now {
			s.remove(m, now)
			gone++
		}
	}
	if gone > 0 {
		s.todo.stray = true
		s.publish(event.RemovalExpired{Removed: gone, Members: len(s.members) - gone})
	}
}

// letGo ends all holds now: removals are not guarded any more. Called with both locks.
func (s *Service) letGo(now time.Duration) {
	for _, m := range s.members {
		m.heldUntil = min(m.heldUntil, now)
	}
	s.release(now)
	s.prune()
}

// prune takes those out of members that were removed without an update. Called with both
// locks.
func (s *Service) prune() {
	if !s.todo.stray {
		return
	}
	s.todo.stray, s.todo.shaped, s.todo.dirty = false, true, true
	s.members = slices.DeleteFunc(slices.Clone(s.members), func(m *Member) bool {
		return m.machine.State() >= health.Draining
	})
}
