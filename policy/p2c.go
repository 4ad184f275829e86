package policy

import (
	"math/bits"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// P2C is the power of two choices: of two distinct endpoints, drawn by weight, the one
// with fewer attempts in flight per weight. It keeps the longest queue nearly as short as
// looking at every endpoint would, and many proxies that use it do not all run to the
// same idle endpoint. It is the default.
func P2C() Policy { return p2c{} }

type p2c struct{}

type p2cPicker struct{ wheel }

func (p2c) Build(_, usable []*endpoint.Endpoint, prev Picker) Picker {
	if p, ok := prev.(*p2cPicker); ok && p.same(usable) {
		return p
	}
	return &p2cPicker{newWheel(usable)}
}

func (p *p2cPicker) Pick(a *Attempt) *endpoint.Endpoint {
	first, second, coin := p.pair(a)
	if second == nil {
		return first
	}
	return lighter(first, second, a.Now, coin)
}

// pair draws two distinct endpoints that were not tried, the first strictly by weight, the
// second by weight as far as few draws go. It returns one or none if there are no more.
func (w *wheel) pair(a *Attempt) (first, second *endpoint.Endpoint, coin uint64) {
	r := next(a.Rand)
	coin = r * golden
	if n := len(w.eps); w.slots == nil && n > 1 && a.Tried.Len() == 0 {
		i, _ := bits.Mul64(a.Rand, uint64(n))
		j, _ := bits.Mul64(r, uint64(n-1))
		if j >= i { // i is out, the rest move up
			j++
		}
		return w.eps[i], w.eps[j], coin
	}
	first = w.draw(a.Rand, &a.Tried, nil)
	if first == nil {
		return nil, nil, coin
	}
	return first, w.draw(r, &a.Tried, first), coin
}

// PeakEWMA picks, of two distinct endpoints drawn by weight, the one that promises the
// earlier answer: its latency (a moving average that jumps to peaks) times the attempts it
// would have in flight. In-flight counts are taken relative to the weight, so that a heavy
// endpoint may hold more of them. An endpoint that was never measured gets one attempt at
// a time until it has answered.
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
	if p.cost(second, a.Now) < p.cost(first, a.Now) {
		return sounder(second, first, a.Now, coin)
	}
	return sounder(first, second, a.Now, coin)
}

// unknownCost stands for the latency, in nanoseconds, of an endpoint that is busy or
// failing and never answered: more than any real one (a day).
const unknownCost = float32(24 * time.Hour)

// cost is what an attempt would have to expect.
func (p *peakPicker) cost(e *endpoint.Endpoint, now time.Duration) float32 {
	busy := float32(e.InFlight())
	ns, failing := e.Estimate(now)
	if ns == 0 && (busy > 0 || failing > 0) {
		ns = unknownCost
	}
	return ns * (1 + busy*p.mean/float32(e.Weight()))
}
