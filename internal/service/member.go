package service

// What a service keeps about one endpoint: its state machine and what follows from it. The
// machine is guarded by mu; Pick and Settle take no lock and read mode instead, its mirror:
//
//	machine               mode             may be picked           a success must be reported
//	healthy               modeCalm         yes                     no: it changes nothing
//	healthy, had faults   modeTally        yes                     yes: it ends a series
//	healthy, the last     modeKept         yes, see ahead          yes
//	half-open             modeTrial+n      if n > 0, under mu      yes
//	ejected               modeProbed ...   in panic mode or as a   yes, but of modeProbed no
//	                      modeApart        last resort
//	probing, draining,    modeShut,        no                      no
//	or away (override.go) modeLeaving,
//	                      modeBarred
//
// apply puts an input to a machine and brings mirror, counts, events and the next build along. Only
// trial, join, keep and resume change a machine in another way; each of them calls mirror or is
// followed by it.

import (
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/concurrency"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/internal/record"
)

// A Member is what a service keeps about one of its endpoints.
type Member struct {
	// Attached is what Settings.Attach returned; it never changes.
	Attached any
	// Cells count the attempts. The pointer never changes. An endpoint that comes back within
	// cellsKept has the same ones again: see formerCells.
	Cells *record.Cells[record.EndpointCell]

	endpoint *endpoint.Endpoint
	// mode mirrors the machine: see above. It is written with mu held.
	mode atomic.Int32
	// limiter finds the limit of the endpoint; nil: it is not to be found.
	limiter atomic.Pointer[concurrency.Limiter]

	// resortAt is the instant from which it may be tried as a last resort while it is ejected,
	// and aheadAt that from which it may be tried instead of an endpoint that is kept; 0: at any
	// time. See resort.go.
	resortAt, aheadAt atomic.Int64

	slowSince atomic.Int64 // instant at which the window of its slow start began

	// servedAt is when the latest attempt began that succeeded while it was ejected: see stale.
	servedAt  atomic.Int64
	nextProbe atomic.Int64 // instant at which its prober probes it next; 0: it has none

	// The rest is guarded by the service's mu.
	machine   health.Machine
	before    health.Machine // state at its removal, for resume
	removedAt time.Duration  // instant
	checkGen  uint64         // conf.checkGen of the verdicts in machine
	counted   bool           // it is in tally.healthy
	sound     bool           // it is in tally.sound
	first     bool           // it is in tally.awaiting
	covering  bool           // removed, but in use until a new endpoint has a verdict
	confirmed bool           // removed, and a probe has failed: it must not be used
	out       bool           // the source says that it takes no new requests
	drained   bool           // an operator says so: see override.go
	outAt     time.Duration  // instant at which out was set
	probing   bool           // its prober runs, or was asked for
	busyAt    time.Duration  // instant at which its trials were last seen in flight
	signal    engine.Signal  // wakes the prober; nil before the first one has begun

	heldUntil  time.Duration // instant at which the hold ends; 0: its removal is not held
	quietUntil time.Duration // instant at which its damping ends; 0: it is not damped

	slowUntil time.Duration // instant at which its slow start ends; 0: it is in none

	track   *track         // what it is compared by; nil: outliers are not looked for, or it is not healthy
	finding health.Finding // of its latest ejection as an outlier

	lastProbe uint8 // the latest verdict: probeNone, probePassed or probeFailed
	history   *History

	prober   engine.Join // used by the keeper only; nil: no prober
	schedule schedule    // used by the prober; see there

	window health.Window // needs no lock; written often, so not next to mode, which is read often
}

// Modes, in an order that lets Pick and Settle compare: what is below modeCalm is not in rotation.
const (
	modeLeaving         int32 = iota // out, draining or gone: never picked, outcomes mean nothing
	modeShut                         // probing, or drained by an operator: never picked, outcomes mean nothing
	modeBarred                       // ejected by an operator: never picked, outcomes mean nothing
	modeProbed                       // ejected by probes: picked in panic mode, a success changes nothing
	modeConvicted                    // ejected by probes, and attempts fail too
	modeProbedUnreached              // ejected by probes, and the latest try got no connection
	modeOpen                         // ejected by the breaker
	modeOpenUnreached                // ejected by the breaker, and the latest try got no connection
	modeApart                        // ejected as an outlier, which works, but worse than the others
	modeCalm                         // healthy, and a success changes nothing
	modeTally                        // healthy, and a success changes something: attempts have failed
	modeKept                         // healthy only because the service has no other
	modeTrial                        // half-open, without a free trial; +n: with n of them
)

// byID orders members as policies want them.
func byID(a, b *Member) int { return a.endpoint.ID().Compare(b.endpoint.ID()) }

// Of is the Member of an endpoint of a service. It takes no lock; any goroutine may call it. It
// panics for an endpoint that no service has made.
func Of(e *endpoint.Endpoint) *Member { return e.Local.(*Member) }

// modeOf is the mode of a machine, without flags.
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
		case m.Barred():
			return modeBarred
		case m.Cause().Passive() && m.Unreached():
			return modeOpenUnreached
		case m.Cause() == health.Attempts:
			return modeOpen
		case m.Cause() == health.Outlier:
			return modeApart
		case m.Unreached():
			return modeProbedUnreached
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

// kind is the mode without its flags.
func (m *Member) kind() int32 { return m.mode.Load() &^ (modeSlow | modeBounded) }

// full reports whether as many attempts are in flight at the endpoint as there may be.
func (m *Member) full() bool { return m.mode.Load()&modeBounded != 0 && m.endpoint.Full() }

// nudge makes the prober, if there is one, read its orders again. Called with mu held.
func (m *Member) nudge() {
	if m.signal != nil {
		m.signal.Set()
	}
}

// apply puts an input to m's machine and does what follows: mirror, counts, the event, a request
// for a build. err is that of a failed probe, else nil. Called with mu held.
func (s *Service) apply(m *Member, in health.Input, err error) {
	doubtful, convicted := m.machine.Doubtful(), m.machine.Convicted()
	change := m.machine.Apply(&s.conf.health, in)
	if change.Forget {
		m.window.Reset()
	}
	if change.From != health.Healthy && change.To == health.Healthy && !m.first {
		if !m.machine.Kept() {
			m.endpoint.Forgive() // else a policy that looks at failures would leave it out for seconds more
		}
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
		s.todo.urgent = true // until the next view requests are refused
	}
	s.wake.Set()
	if change.Moved() {
		m.busyAt = in.Now
		m.history.note(change.To, change.Cause, in.Now)
		s.expect(m)
		e := event.EndpointChanged{
			Endpoint: m.endpoint.ID(), From: change.From, To: change.To,
			Cause: change.Cause, Trigger: in.Event, Err: err,
		}
		if in.Event == health.ComparedWorse {
			e.Finding = m.finding
		}
		s.publish(e)
	}
}

// mirror brings mode, the endpoint's Usable and the tally up to date with m's machine. Called with
// mu held, after every change of the machine, of out, drained or slowUntil.
func (s *Service) mirror(m *Member) {
	mode := modeOf(&m.machine, &s.conf.health)
	if m.drained {
		mode = modeShut
	} else if m.out {
		mode = modeLeaving
	} else if m.slowUntil > 0 && m.machine.State() == health.Healthy {
		mode |= modeSlow
	}
	if s.conf.set.Overload.boundsEndpoints() {
		mode |= modeBounded
	}
	m.mode.Store(mode)
	if usable := m.machine.Usable(&s.conf.health) && !m.away(); usable != m.endpoint.Usable() {
		m.endpoint.SetUsable(usable)
	}
	state := m.machine.State()
	if healthy := state == health.Healthy && !m.away(); healthy != m.counted {
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
	if m.first && (state != health.Probing || m.away()) {
		m.first = false
		if s.tally.awaiting--; s.tally.awaiting == 0 {
			s.todo.urgent = true // ready as soon as a view says so
		}
	}
}

// countSound counts one sound member more or less. When the first one comes or the last one goes it
// wakes all probers, whose interval depends on that. Called with mu held.
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

// spare reports whether there is a healthy endpoint other than m, so that the breaker may eject m.
// Called with mu held.
func (s *Service) spare(m *Member) bool {
	if m.counted {
		return s.tally.healthy > 1
	}
	return s.tally.healthy > 0
}

// alarm makes the keeper do a round at the earliest instant after now at which something of m ends:
// ejection, hold, quiet time, slow start. Called with mu held.
func (s *Service) alarm(m *Member, now time.Duration) {
	for _, at := range [...]time.Duration{m.machine.Deadline(), m.heldUntil, m.quietUntil, m.slowUntil} {
		if at > now && (s.todo.due == 0 || at < s.todo.due) {
			s.todo.due = at
		}
	}
}

// expect makes the keeper come back for the deadlines of m, and for its trials. Called with mu
// held.
func (s *Service) expect(m *Member) {
	s.alarm(m, 0)
	if m.machine.State() == health.HalfOpen {
		s.todo.trying = append(s.todo.trying, m)
	}
}
