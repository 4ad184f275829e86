package service

// The guard against updates of a source that remove many members at once: it is more likely that a
// registry has lost its data than that so many endpoints ended together. With 10 members and the
// defaults (MaxRemoval 50 %, Hold 1 m):
//
//	update names          missing  new  what becomes of the missing
//	5                     5        0    removed: 50 % is not more than 50
//	4                     6        0    held
//	none                  10       0    held
//	4 of them, 6 others   6        6    removed: a full replacement
//	4, then 7 of the 10   6, 3     0    held; then 3 named again, the 3 missing (30 %) removed
//
// A held member is probed every second. The first probe that fails removes it; after Hold it is
// removed anyway.

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/event"
)

// A Guard says which updates of a source are held. An update that leaves out more than MaxRemoval
// percent of the members, or all of them, is held: those it leaves out stay in use for Hold, unless
//
//   - it names at least as many new endpoints: that is a full replacement;
//   - their latest probe failed, or the next one does: that confirms the removal, of this
//     one member, at once. Held members are probed every second, by a plain connection if
//     the service has no check, and serve only while that passes: the address may belong to
//     another program by now;
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
	// heldEvery is the longest interval of the probes of held members, and heldTimeout bounds
	// such a probe where there is no check.
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

// holds reports whether an update is held: missing of the members are not named by it, and it names
// added endpoints that are not members yet. Members that are out, or that an operator has drained
// or ejected, do not count.
func (g Guard) holds(missing, members, added int) bool {
	switch {
	case g.MaxRemoval < 0, missing == 0, added >= missing:
		return false
	case missing == members:
		return true
	}
	return missing*100 > g.MaxRemoval*members
}

// removeOrHold removes the members that the source does not name any more, or holds them: those it
// returns. Members that are away are not in use, so they are neither held nor counted. Called with
// both locks.
func (s *Service) removeOrHold(missing []*Member, u *update) (held []*Member) {
	notOut := func(list []*Member) (n int) {
		for _, m := range list {
			if !m.away() {
				n++
			}
		}
		return n
	}
	hold := u.guarded && s.conf.set.Guard.holds(notOut(missing), notOut(s.members), u.serving)
	fresh := 0
	for _, m := range missing {
		if !hold || m.away() || m.machine.Failing() {
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
		s.heard.Held++
		s.publish(event.RemovalHeld{Endpoints: fresh, Members: len(s.members), For: s.conf.set.Guard.Hold})
	}
	return held
}

// unhold ends the hold of a member that the source names again, and reports whether it was held.
// Called with mu held.
func (s *Service) unhold(m *Member) (was bool) {
	if m.heldUntil == 0 {
		return false
	}
	m.heldUntil = 0
	m.nudge() // without a check its prober must end
	return true
}

// confirm removes a held member whose probe has failed with err. Called with mu held; without work
// it may not change members, so the keeper does that (prune).
func (s *Service) confirm(m *Member, now time.Duration, err error) {
	s.remove(m, now)
	m.confirmed = true
	s.todo.stray, s.todo.urgent = true, true
	s.publish(event.RemovalConfirmed{Endpoint: m.endpoint.ID(), Err: err})
	s.wake.Set()
}

// release removes the members whose hold is over at the instant now. Called with both locks.
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

// releaseAll ends all holds now: the guard was switched off. Called with both locks.
func (s *Service) releaseAll(now time.Duration) {
	for _, m := range s.members {
		m.heldUntil = min(m.heldUntil, now)
	}
	s.release(now)
	s.prune()
}

// prune takes members that were removed without an update, by confirm or release, out of
// Service.members. Called with both locks.
func (s *Service) prune() {
	if !s.todo.stray {
		return
	}
	s.todo.stray, s.todo.shaped, s.todo.dirty = false, true, true
	s.members = slices.DeleteFunc(slices.Clone(s.members), func(m *Member) bool {
		return m.machine.State() >= health.Draining
	})
}
