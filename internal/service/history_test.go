package service

import (
	"fmt"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
)

// An endpoint that leaves and comes back has one history: it says since when the endpoint is
// where it is, and its return is no ejection.
func TestTheHistoryGoesOnWhenAnEndpointComesBack(t *testing.T) {
	onGuardedStage(t, Settings{Guard: Guard{MaxRemoval: -1}}, func(st *stage) {
		st.take(a, b)
		of := func(address string) (h History) {
			for _, s := range st.Snapshot() {
				if s.Spec.Address == address {
					h = s.History
				}
			}
			return h
		}
		named := of(a).Since
		st.operate(endpoint.Eject, a, 0)
		time.Sleep(10 * time.Second)
		st.take(b)
		time.Sleep(10 * time.Second) // gone
		st.take(a, b)
		back := st.rt.Now()
		h := of(a)
		var states []string
		for _, c := range h.Changes {
			states = append(states, fmt.Sprint(c.To, " ", c.Cause))
		}
		if got := fmt.Sprint(states); got != "[ejected operator draining  gone  ejected operator]" {
			t.Errorf("changes: %s", got)
		}
		if h.Since != named || h.Changed() != back || h.Ejections[health.Operator] != 1 {
			t.Errorf("since %v, changed %v, %d ejections; named at %v, back at %v", h.Since, h.Changed(), h.Ejections[health.Operator], named, back)
		}
		st.take(b)
		st.take(a, b) // while it drains
		if h := of(a); h.Changed() != st.rt.Now() || h.Ejections[health.Operator] != 1 {
			t.Errorf("changed %v, %d ejections", h.Changed(), h.Ejections[health.Operator])
		}
	})
}
