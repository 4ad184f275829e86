package poise

import (
	"time"

	"github.com/poise-lb/poise/internal/service"
)

// A StateChange is one change of an endpoint's state.
type StateChange struct {
	At    time.Time `json:"at"`
	State string    `json:"state"`           // from then on
	Cause string    `json:"cause,omitempty"` // what ejected it: probes, breaker, operator or outlier
}

// History lists the latest changes of an endpoint's state, at most 64, the oldest first. They belong
// to its identity, so those before it left and came back are among them. The endpoint is found as
// that of an OverrideRequest.
func (p *Proxy) History(service, endpoint string) ([]StateChange, error) {
	svc, id, err := p.find(service, endpoint)
	if err != nil {
		return nil, err
	}
	for _, e := range svc.Snapshot() {
		if e.Spec.ID == id {
			return p.changes(&e.History), nil
		}
	}
	return nil, nil
}

func (p *Proxy) changes(h *service.History) []StateChange {
	all := make([]StateChange, 0, len(h.Changes))
	for _, c := range h.Changes {
		all = append(all, StateChange{p.server.Time(c.At), c.To.String(), c.Cause.String()})
	}
	return all
}
