package health

// A machine for another process: when a proxy hands over to its successor, an ejected endpoint
// stays ejected, for the same cause and until the same moment. Clocks of two processes differ,
// so instants become distances from now, and trials under way stay behind.

import (
	"slices"
	"time"
)

// Saved is what a Machine knows, in a form for JSON. The zero value is an endpoint without a
// verdict. Fields may be added; the meaning of one never changes.
type Saved struct {
	State     string        `json:"state"`
	Cause     string        `json:"cause,omitempty"`
	Unsure    bool          `json:"unsure,omitempty"`
	Unreached bool          `json:"unreached,omitempty"`
	Kept      bool          `json:"kept,omitempty"`
	Convicted bool          `json:"convicted,omitempty"`
	Passes    int32         `json:"passes,omitempty"`
	Fails     int32         `json:"fails,omitempty"`
	Faults    int32         `json:"faults,omitempty"`
	Won       int32         `json:"won,omitempty"`
	Row       int32         `json:"row,omitempty"`
	Outlier   bool          `json:"outlier,omitempty"`
	Strikes   int32         `json:"strikes,omitempty"`
	Until     time.Duration `json:"until,omitempty"` // ns from now to the end of the ejection; may be negative
	Proof     time.Duration `json:"proof,omitempty"` // ns from now; may be negative
}

// Save returns what m knows at the instant now.
func (m *Machine) Save(now time.Duration) Saved {
	s := Saved{
		State: m.state.String(), Cause: m.cause.String(),
		Unsure: m.unsure, Unreached: m.unreached, Kept: m.kept, Convicted: m.convicted,
		Passes: m.passes, Fails: m.fails, Faults: m.faults, Won: m.won, Row: m.row,
		Outlier: m.outlier, Strikes: m.strikes,
	}
	if m.Deadline() > 0 {
		s.Until, s.Proof = m.until-now, m.proof-now
	}
	return s
}

// Machine returns a machine that knows what s does at the instant now. ok is false if s makes no
// sense, or is of an endpoint that drains: then the endpoint begins anew.
func (s Saved) Machine(now time.Duration) (m Machine, ok bool) {
	state, known := find(s.State, Probing, Healthy, Ejected, HalfOpen)
	cause, sane := find(s.Cause, None, Probes, Attempts, Outlier)
	ejected := state == Ejected
	outlier := cause == Outlier || s.Outlier && state == HalfOpen
	if !known || !sane || ejected != (cause != None) || s.Outlier != outlier {
		return Machine{}, false
	}
	for _, n := range []int32{s.Passes, s.Fails, s.Faults, s.Won, s.Row, s.Strikes} {
		if n < 0 {
			return Machine{}, false
		}
	}
	m = Machine{
		state: state, cause: cause,
		unsure: s.Unsure, unreached: s.Unreached, kept: s.Kept, convicted: s.Convicted,
		passes: s.Passes, fails: s.Fails, faults: s.Faults, won: s.Won, row: min(s.Row, doublingsMax),
		outlier: outlier, strikes: min(s.Strikes, doublingsMax),
	}
	if cause.Passive() { // an end that is past is as good as one that is just due
		m.until, m.proof = max(now+s.Until, 1), max(now+s.Proof, 1)
	}
	return m, true
}

// find returns the one of all whose word it is.
func find[T interface {
	comparable
	String() string
}](word string, all ...T) (one T, ok bool) {
	i := slices.IndexFunc(all, func(x T) bool { return x.String() == word })
	if i < 0 {
		return one, false
	}
	return all[i], true
}
