package policy

import (
	"math/bits"

	"github.com/poise-lb/poise/endpoint"
)

const (
	// scanMax is the number of endpoints up to which least connections looks at all.
	scanMax = 32
	// sampleSize is how many it looks at when there are more.
	sampleSize = 16
)

// LeastConnections picks the endpoint with the fewest attempts in flight per weight: of
// all, up to 32 endpoints; beyond that, of sixteen drawn by weight. Ties go by weight. Why
// there is no index: docs/decisions/0002-least-connections-and-rendezvous.md.
func LeastConnections() Policy { return leastConnections{} }

type leastConnections struct{}

type leastPicker struct{ wheel }

func (leastConnections) Build(_, usable []*endpoint.Endpoint, prev Picker) Picker {
	if p, ok := prev.(*leastPicker); ok && p.same(usable) {
		return p
	}
	return &leastPicker{newWheel(usable)}
}

func (p *leastPicker) Pick(a *Attempt) *endpoint.Endpoint {
	best := p.draw(a.Rand, &a.Tried, nil)
	if best == nil {
		return nil
	}
	r := next(a.Rand)
	if n := len(p.eps); n <= scanMax {
		// From a random start, so that equally idle ones get the same.
		i, _ := bits.Mul64(r, uint64(n))
		for range n {
			if e := p.eps[i]; e != best && !a.Tried.Has(e) {
				r += golden
				best = lighter(best, e, a.Now, r)
			}
			if i++; i == uint64(n) {
				i = 0
			}
		}
		return best
	}
	for range sampleSize - 1 {
		r = next(r)
		if e := p.eps[p.index(r)]; e != best && !a.Tried.Has(e) {
			best = lighter(best, e, a.Now, r*golden)
		}
	}
	return best
}
