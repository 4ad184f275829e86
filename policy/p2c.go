package policy

import (
	"math/bits"

	"github.com/poise-lb/poise/endpoint"
)

// P2C is the power of two choices: of two distinct endpoints, drawn by weight, the one
// with fewer attempts in flight per weight. It keeps the longest queue nearly as short as
// looking at every endpoint would, and many proxies that use it do not all run to the
// same idle endpoint.
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
	if n := len(w.eps); n > 1 && a.Tried.Len() == 0 {
		if w.slots == nil {
			i, _ := bits.Mul64(a.Rand, uint64(n))
			j, _ := bits.Mul64(r, uint64(n-1))
			if j >= i { // i is out, the rest move up
				j++
			}
			return w.eps[i], w.eps[j], coin
		}
		if i, j := w.index(a.Rand), w.index(r); i != j {
			return w.eps[i], w.eps[j], coin
		}
	}
	first = w.draw(a.Rand, &a.Tried, nil)
	if first == nil {
		return nil, nil, coin
	}
	return first, w.draw(r, &a.Tried, first), coin
}
