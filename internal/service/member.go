package service

import (
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/internal/record"
)

// A Member is what a service keeps about one of its endpoints.
type Member struct {
	// Attached is what Settings.Attach returned; it never changes.
	Attached any
	// Cells count the attempts; they never change, and an endpoint that comes back within
	// a few minutes has the ones it had: see formerCells.
	Cells *record.Cells[record.EndpointCell]

	endpoint *endpoint.Endpoint
	// mode mirrors the machine for Pick and Settle, which take no lock.
	mode atomic.Int32

	// resortAt is when it may be tried next as a last resort, and aheadAt when instead of an
	// endpoint that is kept, while it is ejected; 0: at any time. See resort.go.
	resortAt, aheadAt atomic.Int64

	slowSince atomic.Int64 // when the window of its slow start began

	// The rest is guarded by the service's mu.
	machine   health.Machine
	before    health.Machine // when it was removed, should the source take that back
	removedAt time.Duration
	checkGen  uint64        // the check that machine knows
	counted   bool          // among tally.healthy
	sound     bool          // among tally.sound
	first     bool          // among tally.awaiting
	covering  bool          // removed, but in use until its replacement has a verdict
	confirmed bool          // removed, and a probe failed: it must not be used
	out       bool          // the source says that it takes no new requests
	outAt     time.Duration // since when
	probing   bool          // its prober runs, or is about to
	busyAt    time.Duration // when its trials, if any, were last seen in flight
	signal    engine.Signal // wakes the prober; nil before there was one

	heldUntil  time.Duration // end of the hold of its removal; 0: its removal is not held
	quietUntil time.Duration // until then it is damped; 0: it is not

	slowUntil time.Duration // end of that window; 0: it is not in one

	lastProbe uint8 // the latest verdict: probeNone, probePassed or probeFailed

	prober   engine.Join // the keeper's own
	schedule schedule    // the prober's own

	window health.Window // no lock; apart from mode, which is read as often as this is written
}

// Modes, in an order that lets the hot path compare.
const (
	modeLeaving    int32 = iota // out, draining or gone: never picked, outcomes mean nothing
	modeShut                    // probing: never picked, outcomes mean nothing
	modeProbed                  // ejected by probes: picked in panic mode, a success changes nothing
	modeConvicted               // ejected by probes, and attempts fail too
	modeProbedDeaf              // ejected by probes, and no connection comes about
	modeOpen                    // ejected by the breaker
	modeOpenDeaf                // ejected by the breaker, and no connection comes about
	modeCalm                    // healthy, and a success changes nothing
	modeTally                   // healthy, and a success changes something: attempts have failed
	modeKept                    // healthy, for want of another one
	modeTrial                   // half-open, without a free trial; +n: with n of them
)

// byID orders members as policies want them.
func byID(a, b *Member) int { return a.endpoint.ID().Compare(b.endpoint.ID()) }

// Of is what the service that holds e keeps about it. It costs no lock.
func Of(e *endpoint.Endpoint) *Member { return e.Local.(*Member) }

// modeOf is the mirror of a machine.
func modeOf(m *health.Machine, c *health.Config) int32 {
	switch m.State() {
	case health.Healthy:
		switch {
		case m.Kept():
			return modeKept
		case m.Calm():
			return modeCalm
		}
		return modeTally
	case health.Ejected:
		switch {
		case m.Cause() == health.Attempts && m.Unreached():
			return modeOpenDeaf
		case m.Cause() == health.Attempts:
			return modeOpen
		case m.Unreached():
			return modeProbedDeaf
		case m.Convicted():
			return modeConvicted
		}
		return modeProbed
	case health.HalfOpen:
		return modeTrial + int32(m.Free(c))
	case health.Draining, health.Gone:
		return modeLeaving
	default:
		return modeShut
	}
}

// nudge makes the prober look at its orders. Called with mu held.
func (m *Member) nudge() {
	if m.signal != nil {
		m.signal.Set()
	}
}

// apply puts an input to m's machine and everything that follows from it: the mirror, the
// counts, the event, a build. Called with mu held; err is a failed probe's.
func (s *Service) apply(m *Member, in health.Input, err error) {
	doubtful, convicted := m.machine.Doubtful(), m.machine.Convicted()
	change := m.machine.Apply(&s.conf.health, in)
	if change.Forget {
		m.window.Reset()
	}
	if change.From != health.Healthy && change.To == health.Healthy && !m.first {
		s.slow(m, in.Now)
	}
	healthy, sound, was := s.tally.healthy, s.tally.sound, m.sound
	s.mirror(m)
	if !change.Moved() && doubtful == m.machine.Doubtful() && convicted == m.machine.Convicted() && was == m.sound {
		return
	}
	s.todo.dirty = true
	mayHelp := m.counted || m.machine.State() == health.HalfOpen || m.machine.Doubtful() && s.conf.set.PanicThreshold > 0
	if mayHelp && len(s.view.Load().usable) == 0 || healthy > 0 && s.tally.healthy == 0 || sound > 0 && s.tally.sound == 0 {
		s.todo.urgent = true // requests are refused for want of it, or of panic mode
	}
	s.wake.Set()
	if change.Moved() {
		m.busyAt = in.Now
		s.expect(m)
		s.publish(event.EndpointChanged{
			Endpoint: m.endpoint.ID(), From: change.From, To: change.To,
			Cause: change.Cause, Trigger: in.Event, Err: err,
		})
	}
}

// mirror brings what others read up to date with m's machine. Called with mu held.
func (s *Service) mirror(m *Member) {
	mode := modeOf(&m.machine, &s.conf.health)
	if m.out {
		mode = modeLeaving
	} else if m.slowUntil > 0 && m.machine.State() == health.Healthy {
		mode |= modeSlow
	}
	m.mode.Store(mode)
	if usable := m.machine.Usable(&s.conf.health) && !m.out; usable != m.endpoint.Usable() {
		m.endpoint.SetUsable(usable)
	}
	state := m.machine.State()
	if healthy := state == health.Healthy && !m.out; healthy != m.counted {
		m.counted = healthy
		if healthy {
			s.tally.healthy++
		} else {
			s.tally.healthy--
		}
	}
	if sound := m.counted && !m.machine.Kept(); sound != m.sound {
		m.sound = sound
		s.countSound(sound)
	}
	if m.first && (state != health.Probing || m.out) {
		m.first = false
		if s.tally.awaiting--; s.tally.awaiting == 0 {
			s.todo.urgent = true // ready as soon as a view says so
		}
	}
}

// countSound counts one sound member more or less. Whether there is one decides how often probes
// are due. Called with mu held.
func (s *Service) countSound(more bool) {
	before := s.tally.sound
	if more {
		s.tally.sound++
	} else {
		s.tally.sound--
	}
	if before > 0 && s.tally.sound > 0 || !s.conf.health.Probed {
		return
	}
	for _, m := range s.byID {
		m.nudge()
	}
}

// spare reports whether a healthy endpoint is left without m. Called with mu held.
func (s *Service) spare(m *Member) bool {
	if m.counted {
		return s.tally.healthy > 1
	}
	return s.tally.healthy > 0
}

// alarm makes the keeper come back at the instants after now that m waits for. Called with
// mu held.
func (s *Service) alarm(m *Member, now time.Duration) {
	for _, at := range [...]time.Duration{m.machine.Deadline(), m.heldUntil, m.quietUntil, m.slowUntil} {
		if at > now && (s.todo.due == 0 || at < s.todo.due) {
			s.todo.due = at
		}
	}
}

// expect makes the keeper come back for what m's state needs. Called with mu held.
func (s *Service) expect(m *Member) {
	s.alarm(m, 0)
	if m.machine.State() == health.HalfOpen {
		s.todo.trying = append(s.todo.trying, m)
	}
}
