package health

// The state machine as a table: a rule for each event in each state. To know what happens in
// a case, look up its cell; explore_test.go tries all of them in every order.

import "time"

// A rule changes a machine in one state by one event and reports whether the Window is to
// be cleared.
type rule func(m *Machine, c *Config, in Input) (forget bool)

// table has a rule for every event in every state; it is never written. stay: the event
// means nothing there.
var table = [states][events]rule{
	Probing: {
		ProbePassed: pass, ProbeFailed: fail, ProbeRefused: fail,
		AttemptSucceeded: stay, AttemptFailed: stay, AttemptAbandoned: stay, TimePassed: stay,
		CheckChanged: recheck, CheckGone: uncheck, Removed: drain, Emptied: stay,
		OperatorEjected: bar, OperatorReleased: unbar, OperatorAdmitted: pardon, AskedToRest: stay,
		ComparedWorse: stay, ComparedAlike: stay,
	},
	Healthy: {
		ProbePassed: pass, ProbeFailed: fail, ProbeRefused: fail,
		AttemptSucceeded: absolve, AttemptFailed: count, AttemptAbandoned: stay, TimePassed: stay,
		CheckChanged: recheck, CheckGone: uncheck, Removed: drain, Emptied: stay,
		OperatorEjected: bar, OperatorReleased: unbar, OperatorAdmitted: pardon, AskedToRest: pause,
		ComparedWorse: setApart, ComparedAlike: forgive,
	},
	Ejected: {
		ProbePassed: pass, ProbeFailed: fail, ProbeRefused: fail,
		AttemptSucceeded: redeem, AttemptFailed: miss, AttemptAbandoned: stay, TimePassed: halfOpen,
		CheckChanged: recheck, CheckGone: uncheck, Removed: drain, Emptied: stay,
		OperatorEjected: bar, OperatorReleased: unbar, OperatorAdmitted: pardon, AskedToRest: stay,
		ComparedWorse: stay, ComparedAlike: stay,
	},
	HalfOpen: {
		ProbePassed: pass, ProbeFailed: fail, ProbeRefused: fail,
		AttemptSucceeded: win, AttemptFailed: lose, AttemptAbandoned: giveBack, TimePassed: halfOpen,
		CheckChanged: recheck, CheckGone: uncheck, Removed: drain, Emptied: stay,
		OperatorEjected: bar, OperatorReleased: unbar, OperatorAdmitted: pardon, AskedToRest: stay,
		ComparedWorse: stay, ComparedAlike: stay,
	},
	Draining: {
		stay, stay, stay, stay, stay, stay, stay, stay, stay,
		Removed: stay, Emptied: leave, OperatorEjected: stay, OperatorReleased: stay, OperatorAdmitted: stay, AskedToRest: stay,
		ComparedWorse: stay, ComparedAlike: stay,
	},
	Gone: {
		stay, stay, stay, stay, stay, stay, stay, stay, stay,
		Removed: stay, Emptied: stay, OperatorEjected: stay, OperatorReleased: stay, OperatorAdmitted: stay, AskedToRest: stay,
		ComparedWorse: stay, ComparedAlike: stay,
	},
}

func stay(*Machine, *Config, Input) bool { return false }

// pass counts a passed probe. A series clears the breaker wherever the endpoint stands, but does not
// end the ejection of an outlier, which may pass all its probes.
func pass(m *Machine, c *Config, _ Input) bool {
	decides := m.state == Probing || m.unsure && m.cause == Probes
	m.unsure, m.unreached, m.fails = false, false, 0
	m.passes = min(m.passes+1, int32(c.HealthyAfter))
	series := m.passes >= int32(c.HealthyAfter)
	switch {
	case m.state == Healthy && series:
		m.faults, m.row, m.kept = 0, 0, false
		return true
	case m.state != Healthy && (series || decides) && !m.outlier:
		return heal(m)
	}
	return false
}

// fail counts a failed probe. It may turn an ejection by the breaker into one by probes,
// so that the breaker's clock does not bring back what its probes found to fail.
func fail(m *Machine, c *Config, in Input) bool {
	decides := m.state == Probing || m.unsure
	m.unsure, m.passes = false, 0
	if !in.Silent {
		m.unreached = in.Event == ProbeRefused
	}
	m.fails = min(m.fails+1, int32(c.UnhealthyAfter))
	if decides || m.fails >= int32(c.UnhealthyAfter) {
		m.convicted = m.convicted || m.faults > 0 || m.cause == Attempts
		m.state, m.cause, m.kept, m.outlier = Ejected, Probes, false, false
		m.faults, m.trials, m.won, m.until, m.proof = 0, 0, 0, 0, 0
	}
	return false
}

// absolve ends a series of failed attempts.
func absolve(m *Machine, _ *Config, _ Input) bool {
	m.faults, m.kept, m.unreached = 0, false, false
	return false
}

// count adds a failed attempt of a healthy endpoint and ejects it if that is enough and
// another endpoint is there to do the work.
func count(m *Machine, c *Config, in Input) bool {
	b := &c.Breaker
	m.unreached = in.Unreached
	if b.Off {
		return false
	}
	m.passes = 0
	consecutive := false
	if b.ConsecutiveFailures > 0 {
		m.faults = min(m.faults+1, int32(b.ConsecutiveFailures))
		consecutive = m.faults >= int32(b.ConsecutiveFailures)
	}
	rate := b.FailureRate > 0 && in.Requests >= int64(b.MinRequests) &&
		in.Failures*100 >= in.Requests*int64(b.FailureRate)
	if !consecutive && !rate {
		return false
	}
	if !in.Spare {
		m.kept = true
		return false
	}
	return eject(m, b, in.Now)
}

// eject is the breaker's ejection, longer with each one in a row.
func eject(m *Machine, b *Breaker, now time.Duration) bool {
	m.state, m.cause = Ejected, Attempts
	m.until, m.proof = now+b.OpenFor<<m.row, now+ProofAfter
	m.row = min(m.row+1, doublingsMax)
	m.passes, m.faults, m.trials, m.won, m.kept = 0, 0, 0, 0, false
	return true
}

// pause takes a healthy endpoint out for as long as it has asked, if others are left to do the
// work. It has said so itself, so that is no ejection more in a row.
func pause(m *Machine, c *Config, in Input) bool {
	if c.Breaker.Off || !in.Spare {
		return false
	}
	m.state, m.cause = Ejected, Attempts
	m.until, m.proof = in.Now+in.Rest, in.Now+ProofAfter
	m.passes, m.faults, m.trials, m.won, m.kept = 0, 0, 0, 0, false
	return true
}

// setApart ejects a healthy endpoint that is an outlier among its peers, if enough others are left.
func setApart(m *Machine, c *Config, in Input) bool {
	if c.Breaker.Off || !c.Breaker.Outliers || !in.Spare {
		return false
	}
	return m.setAside(&c.Breaker, in.Now)
}

// setAside is the ejection of an outlier, longer with each one that is not forgotten.
func (m *Machine) setAside(b *Breaker, now time.Duration) bool {
	m.state, m.cause, m.outlier = Ejected, Outlier, true
	m.until, m.proof = now+b.OpenFor<<m.strikes, now+ProofAfter
	m.strikes = min(m.strikes+1, doublingsMax)
	m.passes, m.faults, m.trials, m.won, m.kept = 0, 0, 0, 0, false
	return true
}

// forgive forgets one ejection of a healthy endpoint that is like its peers now.
func forgive(m *Machine, _ *Config, _ Input) bool {
	m.strikes = max(0, m.strikes-1)
	return false
}

// ProofAfter is how long after its ejection an attempt must begin to speak for an endpoint: what
// began before says how it was, and one that fails now and then must not go in and out with
// every request.
const ProofAfter = time.Second

// redeem counts a success of an endpoint that is ejected: it was tried as a last resort, or
// in panic mode.
func redeem(m *Machine, c *Config, in Input) bool {
	if in.Began < m.proof {
		return false
	}
	m.unreached, m.convicted = false, false
	if !m.cause.Passive() {
		return false
	}
	if m.won++; m.won >= m.needed(c) {
		return heal(m)
	}
	return false
}

// miss notes a failure of an endpoint that is ejected.
func miss(m *Machine, _ *Config, in Input) bool {
	m.unreached, m.won = in.Unreached, 0
	m.convicted = m.cause == Probes
	return false
}

// halfOpen ends an ejection by the breaker, or of an outlier, when its time is over. While the latest probe
// failed the endpoint stays out: another failed one may be about to eject it for good.
func halfOpen(m *Machine, c *Config, in Input) bool {
	switch {
	case m.state == Ejected && !m.cause.Passive():
	case c.Breaker.Off, m.outlier && !c.Breaker.Outliers: // since the last input
		return heal(m)
	case m.state == Ejected && in.Now >= m.until && m.fails == 0:
		m.state, m.cause, m.until, m.proof = HalfOpen, None, 0, 0
		m.trials, m.won = 0, 0
	}
	return false
}

// win counts a trial that succeeded. Without a trial under way, the attempt is from before the ejection.
func win(m *Machine, c *Config, _ Input) bool {
	if m.trials == 0 {
		return false
	}
	m.trials--
	m.won++
	m.unreached = false
	if m.won >= m.needed(c) {
		return heal(m)
	}
	return false
}

// lose ejects again after a trial that failed. The last endpoint is let go instead, one
// failure short of the next ejection.
func lose(m *Machine, c *Config, in Input) bool {
	if in.Stranger || m.trials == 0 {
		return false
	}
	m.unreached = in.Unreached
	switch {
	case in.Spare && m.outlier:
		return m.setAside(&c.Breaker, in.Now)
	case in.Spare:
		return eject(m, &c.Breaker, in.Now)
	}
	row := m.row
	heal(m)
	m.row, m.passes, m.kept = row, 0, true
	m.unreached = in.Unreached
	m.faults = max(0, int32(c.Breaker.ConsecutiveFailures)-1)
	return true
}

// giveBack ends a trial that proved nothing.
func giveBack(m *Machine, _ *Config, in Input) bool {
	if !in.Stranger && m.trials > 0 {
		m.trials--
	}
	return false
}

// heal makes the endpoint healthy and forgets what the breaker held against it.
func heal(m *Machine) bool {
	m.state, m.cause, m.until, m.proof = Healthy, None, 0, 0
	m.faults, m.row, m.trials, m.won = 0, 0, 0, 0
	m.kept, m.unreached, m.convicted, m.outlier = false, false, false, false
	return true
}

// recheck starts verdicts anew. An endpoint in rotation stays there, and one that is out
// stays out, until the new check has spoken once.
func recheck(m *Machine, _ *Config, _ Input) bool {
	m.unsure, m.unreached, m.passes, m.fails = true, false, 0, 0
	return false
}

// uncheck forgets the probes: without them nothing could bring back what they ejected.
func uncheck(m *Machine, _ *Config, _ Input) bool {
	m.unsure, m.unreached, m.passes, m.fails = false, false, 0, 0
	if m.state == Probing || m.cause == Probes {
		return heal(m)
	}
	return false
}

// bar puts the operator's ejection over the state. The ends of trials under way do not
// count any more, so they are forgotten.
func bar(m *Machine, _ *Config, _ Input) bool {
	m.barred, m.trials = true, 0
	return false
}

// unbar ends the operator's ejection: what lies below it is in force again.
func unbar(m *Machine, _ *Config, _ Input) bool {
	m.barred = false
	return false
}

// pardon makes the endpoint healthy because an operator says so. A probe that failed before
// does not count towards the next ejection.
func pardon(m *Machine, _ *Config, _ Input) bool {
	m.barred, m.unsure, m.passes, m.fails, m.strikes = false, false, 0, 0, 0
	return heal(m)
}

func drain(m *Machine, _ *Config, _ Input) bool {
	*m = Machine{state: Draining}
	return false
}

func leave(m *Machine, _ *Config, _ Input) bool {
	*m = Machine{state: Gone}
	return false
}
