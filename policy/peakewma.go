package policy

import (
	"math"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// PeakEWMA picks, of two distinct endpoints drawn by weight, the one that promises the
// earlier answer: its latency (a moving average that jumps to peaks) times the attempts it
// would have in flight. In-flight counts are taken relative to the weight, so that a heavy
// endpoint may hold more of them. An endpoint that was never measured gets one attempt at
// a time until it has answered.
//
// An endpoint that loses because its answers were slow once, perhaps while it was cold, would
// never show that it is fast by now. So one comparison in sixteen is won by the one that
// loses, if nothing is in flight there and its latest answer is more than a second old.
func PeakEWMA() Policy { return peakEWMA{} }

type peakEWMA struct{}

type peakPicker struct {
	wheel
	mean float32 // weight
}

func (peakEWMA) Build(_, usable []*endpoint.Endpoint, prev Picker) Picker {
	if p, ok := prev.(*peakPicker); ok && p.same(usable) {
		return p
	}
	p := &peakPicker{wheel: newWheel(usable)}
	if len(usable) > 0 {
		p.mean = float32(p.total) / float32(len(usable))
	}
	return p
}

func (p *peakPicker) Pick(a *Attempt) *endpoint.Endpoint {
	first, second, coin := p.pair(a)
	if second == nil {
		return first
	}
	c1, w1 := p.cost(first, a.Now)
	c2, w2 := p.cost(second, a.Now)
	winner := first
	// Costs per weight, without a division. They are never negative, and then their bits
	// compare as they do: a conditional move again, as in lighter.
	if math.Float32bits(c2*w1) < math.Float32bits(c1*w2) {
		winner = second
	}
	if first.Faultless() && second.Faultless() {
		if coin>>60 != 0 {
			return winner
		}
		return p.retry(winner, first, second, a.Now)
	}
	return sounder(winner, first, second, a.Now, coin)
}

// retry is the endpoint of the two that is not winner, if its latency is to be measured anew.
func (p *peakPicker) retry(winner, first, second *endpoint.Endpoint, now time.Duration) *endpoint.Endpoint {
	loser := second
	if winner == second {
		loser = first
	}
	if loser.Resting(now) {
		return loser
	}
	return winner
}

// unknownCost stands for the latency, in nanoseconds, of an endpoint that is busy or
// failing and never answered: more than any real one (a day).
const unknownCost = float32(24 * time.Hour)

// cost is what an attempt would have to expect, latency × (1 + in flight × mean weight /
// weight), times the weight; and the weight. Bounds keep both products within a float32.
func (p *peakPicker) cost(e *endpoint.Endpoint, now time.Duration) (cost, weight float32) {
	busy := float32(e.InFlight())
	ns, failing := e.Estimate(now)
	if ns == 0 && busy+failing > 0 {
		ns = unknownCost
	}
	weight = float32(e.Weight())
	return ns * (weight + busy*p.mean), weight
}
