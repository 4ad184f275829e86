package service

// What has happened to an endpoint: how its probes went, what ejected it and how often, and when
// its state changed. Like the counters of attempts (counts.go) it belongs to the identity, so
// that an endpoint that comes and goes has one history:
//
//	0 s     named        Since 0 s
//	60 s    two probes   Passed 12, Failed 2, the answer of the latest one
//	65 s    ejected      Ejections by probes 1, Changes: healthy at 0 s, ejected at 65 s
//
// An operator reads it to see since when something is wrong, and why.

import (
	"time"

	"github.com/poise-lb/poise/health"
)

// changesMax bounds the changes of state that are kept of one endpoint.
const changesMax = 64

// A Change is one change of an endpoint's state.
type Change struct {
	At    time.Duration // instant
	To    health.State
	Cause health.Cause // of an ejection
}

// A ProbeResult is how the latest probe of an endpoint went. The zero value: there was none.
type ProbeResult struct {
	At   time.Duration // instant at which it ended
	Took time.Duration
	Err  error // nil: it passed
}

// Tallies count what has happened to an endpoint since it was named first.
type Tallies struct {
	Since     time.Duration // instant at which it was named first
	Passed    uint64        // probes
	Failed    uint64        // probes
	Ejections [health.Causes]uint64
}

// History is what has happened to an endpoint. Instants are on the runtime's clock.
type History struct {
	Tallies
	Probe   ProbeResult
	Changes []Change // the latest, in the order of time; not to be modified
}

func newHistory(now time.Duration) *History { return &History{Tallies: Tallies{Since: now}} }

// Changed is the instant of the latest change of state.
func (h *History) Changed() time.Duration {
	if len(h.Changes) == 0 {
		return h.Since
	}
	return h.Changes[len(h.Changes)-1].At
}

// note records a change of state. Called with the service's mu held.
func (h *History) note(to health.State, cause health.Cause, now time.Duration) {
	if to == health.Ejected {
		h.Ejections[cause]++
	}
	if len(h.Changes) == changesMax {
		// A reader may hold the old slice, so it is not shifted in place.
		h.Changes = append(make([]Change, 0, changesMax), h.Changes[1:]...)
	}
	h.Changes = append(h.Changes, Change{now, to, cause})
}

// resume records the state of an endpoint that is a member again. Nothing has ejected it now, so
// that does not count. Called with the service's mu held.
func (h *History) resume(m *health.Machine, now time.Duration) {
	ejections := h.Ejections
	h.note(m.State(), m.Cause(), now)
	h.Ejections = ejections
}

// probed records the result of a probe. Called with the service's mu held.
func (h *History) probed(began, now time.Duration, err error) {
	h.Probe = ProbeResult{At: now, Took: now - began, Err: err}
	if err == nil {
		h.Passed++
	} else {
		h.Failed++
	}
}
