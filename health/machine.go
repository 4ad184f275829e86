package health

// A Machine is the state of one endpoint. It is a value without a clock, a lock or a
// goroutine: the caller hands it events with their time, and acts on the Change it returns.

import "time"

// An Event is what can happen to an endpoint.
type Event uint8

const (
	ProbePassed      Event = iota
	ProbeFailed            // for whatever reason but the next
	ProbeRefused           // nothing listens there: a failed probe that leaves no doubt
	AttemptSucceeded       // the endpoint did its part; Began counts while it is ejected
	AttemptFailed          // the endpoint was at fault
	AttemptAbandoned       // neither: the client went away, or the proxy stopped
	TimePassed             // the clock went on; at Deadline or any time later
	CheckChanged           // another check from now on, or the first one: verdicts start anew
	CheckGone              // no check any more
	Removed                // the source does not name the endpoint any more
	Emptied                // nothing is in flight
	OperatorEjected        // an operator takes the endpoint out of rotation
	OperatorReleased       // that is over: the state below it is in force again
	OperatorAdmitted       // an operator says that the endpoint works
	AskedToRest            // the endpoint has asked for a pause of Rest (Retry-After)
	ComparedWorse          // the endpoint is an outlier among its peers
	ComparedAlike          // over a whole Span it was like its peers

	events = iota
)

// An Input is an event with what the machine cannot know by itself.
type Input struct {
	Event Event
	Now   time.Duration // the present instant

	// Began, for AttemptSucceeded: when the attempt began; zero: at an unknown time, long ago.
	Began time.Duration
	// Unreached, for AttemptFailed: no connection came about. ProbeRefused says so by itself.
	Unreached bool
	// Silent, for ProbeFailed: nothing came in time, so that it is not known whether a
	// connection came about. What was known of that stays.
	Silent bool

	// Rest, for AskedToRest, is above zero.
	Rest time.Duration

	// For AttemptFailed, and Spare for AskedToRest and ComparedWorse.
	Spare    bool  // another endpoint of the service is healthy: this one may be ejected
	Requests int64 // attempts in the Window, this one included; looked at if Breaker.FailureRate is
	Failures int64 // failed ones among them

	// Stranger, for AttemptFailed and AttemptAbandoned while half-open: attempts that are
	// no trials are in flight too (they began before the ejection), so this end is taken
	// for one of theirs. It costs a late verdict at most, where the opposite would eject an
	// endpoint that recovered by what it did while it failed.
	Stranger bool
}

// A Change is what an input did.
type Change struct {
	From, To State
	Cause    Cause // what ejected it, if that is new
	// Forget asks the owner to clear the Window: the failures in it are dealt with.
	Forget bool
}

// Moved reports whether the state or the cause of an ejection is another one now.
func (c Change) Moved() bool { return c.From != c.To || c.Cause != None }

// A Machine is the state of one endpoint. It is a small value: comparable, free to copy;
// the zero value is an endpoint without a verdict. One goroutine at a time may use it.
type Machine struct {
	state  State
	cause  Cause
	unsure bool // the next verdict decides at once: the check is another one
	// unreached: the latest probe or attempt got no connection.
	unreached bool
	barred    bool          // ejected by an operator: state and cause are what lies below that
	kept      bool          // healthy only because there is no other: it would have been ejected
	convicted bool          // ejected by probes, and the latest attempt failed too
	passes    int32         // passed probes in a row, since the last failed attempt; at most HealthyAfter
	fails     int32         // failed probes in a row; at most UnhealthyAfter
	faults    int32         // failed attempts in a row; at most ConsecutiveFailures
	trials    int32         // trials under way
	won       int32         // trials that succeeded since it is half-open, or ejected by the breaker
	row       int32         // ejections by the breaker in a row; at most doublingsMax
	outlier   bool          // ejected as an outlier, or half-open after that
	strikes   int32         // ejections as an outlier, less what was forgotten; at most doublingsMax
	until     time.Duration // end of an ejection by the breaker, or as an outlier
	proof     time.Duration // attempts that begin from then on may end such an ejection
}

// New is the machine of an endpoint that was just named by its source.
func New(c *Config) Machine {
	if c.Probed {
		return Machine{}
	}
	return Machine{state: Healthy}
}

// State is where the endpoint stands.
func (m *Machine) State() State {
	if m.barred {
		return Ejected
	}
	return m.state
}

// Cause says what ejected the endpoint; None if it is not ejected.
func (m *Machine) Cause() Cause {
	if m.barred {
		return Operator
	}
	return m.cause
}

// Deadline is the instant at which TimePassed has an effect: the end of an ejection by
// the breaker or as an outlier, also below an ejection by an operator. Zero if there is none.
func (m *Machine) Deadline() time.Duration {
	if m.state == Ejected && m.cause.Passive() {
		return m.until
	}
	return 0
}

// Usable reports whether the endpoint may be picked now.
func (m *Machine) Usable(c *Config) bool {
	return m.State() == Healthy || m.Free(c) > 0
}

// Free is how many more trials a half-open endpoint may get at this moment.
func (m *Machine) Free(c *Config) int {
	if m.State() != HalfOpen {
		return 0
	}
	return max(0, c.Breaker.Trials-int(m.trials))
}

// Trial takes one of the Free trials and reports whether there was one. Its end is
// reported by AttemptSucceeded, AttemptFailed or AttemptAbandoned.
func (m *Machine) Trial(c *Config) bool {
	if m.Free(c) == 0 {
		return false
	}
	m.trials++
	return true
}

// needed is how many trials have to succeed.
func (m *Machine) needed(c *Config) int32 {
	if m.outlier {
		return int32(max(c.Breaker.Trials, OutlierTrials))
	}
	return int32(c.Breaker.Trials)
}

// Trials is the number of trials under way.
func (m *Machine) Trials() int { return int(m.trials) }

// Calm reports whether a successful attempt would change nothing, so that the machine need
// not get it. It may be true of a healthy endpoint, and of one that its probes ejected, and
// is true of one that an operator ejected.
func (m *Machine) Calm() bool {
	if m.barred {
		return true
	}
	switch m.state {
	case Healthy:
		return m.faults == 0 && !m.kept && !m.unreached
	case Ejected:
		return m.cause == Probes && !m.unreached && !m.convicted
	}
	return false
}

// Kept reports whether the endpoint is healthy only because the service has no other: it
// fails often enough to be ejected.
func (m *Machine) Kept() bool { return m.kept && !m.barred }

// Unreached reports whether the latest probe or attempt got no connection.
func (m *Machine) Unreached() bool { return m.unreached }

// Convicted reports whether attempts at an endpoint that its probes ejected fail as well: it
// is not the check that is wrong.
func (m *Machine) Convicted() bool { return m.convicted }

// Doubtful reports whether the endpoint is ejected and yet could work: a failed probe may
// be the check's fault, and a failed attempt one of too much load. Where no connection comes
// about there is no doubt, and an operator's word is not doubted. Panic mode uses the doubtful.
func (m *Machine) Doubtful() bool { return m.state == Ejected && !m.unreached && !m.barred }

// Struck reports whether earlier ejections as an outlier are not forgotten yet: ComparedAlike has an
// effect.
func (m *Machine) Struck() bool { return m.strikes > 0 && m.state == Healthy }

// Outlying reports whether the endpoint is ejected as an outlier, or half-open after that; also below
// an ejection by an operator.
func (m *Machine) Outlying() bool { return m.outlier }

// Barred reports whether an operator has ejected the endpoint.
func (m *Machine) Barred() bool { return m.barred }

// Failing reports whether the latest probe failed; false if there was none.
func (m *Machine) Failing() bool { return m.fails > 0 }

// Lacking is how many more passed probes in a row an endpoint that its probes ejected
// needs to come back.
func (m *Machine) Lacking(c *Config) int {
	if m.unsure || m.state == Probing {
		return 1
	}
	return max(1, c.HealthyAfter-int(m.passes))
}

// Resumed is the machine of an endpoint whose source took its removal back, from the one
// it had before: the verdicts live on, trials under way are not known any more.
func (m Machine) Resumed() Machine {
	m.trials = 0
	return m
}

// Apply is the transition function: it changes m by what happened and says what changed.
func (m *Machine) Apply(c *Config, in Input) Change {
	from, cause := m.State(), m.Cause()
	forget := false
	if !m.barred || in.Event < AttemptSucceeded || in.Event > AttemptAbandoned {
		forget = table[m.state][in.Event](m, c, in)
	} // else the attempt began before an operator ejected the endpoint, and proves nothing
	change := Change{From: from, To: m.State(), Forget: forget}
	if now := m.Cause(); now != cause {
		change.Cause = now
	}
	return change
}
