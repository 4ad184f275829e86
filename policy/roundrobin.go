package policy

import "github.com/poise-lb/poise/endpoint"

// RoundRobin picks one endpoint after the other, in the order of their IDs, whatever
// their weights. Attempt.Seq says whose turn it is.
func RoundRobin() Policy { return roundRobin{} }

type roundRobin struct{}

type roundRobinPicker struct{ eps []*endpoint.Endpoint }

func (roundRobin) Build(_, usable []*endpoint.Endpoint, _ Picker) Picker {
	return &roundRobinPicker{usable}
}

func (p *roundRobinPicker) Pick(a *Attempt) *endpoint.Endpoint {
	if len(p.eps) == 0 {
		return nil
	}
	return turn(p.eps, int(a.Seq%uint64(len(p.eps))), &a.Tried, nil)
}
