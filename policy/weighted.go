package policy

import (
	"math/bits"
	"sort"

	"github.com/poise-lb/poise/endpoint"
)

// rotaMax bounds the length of a rota.
const rotaMax = 1 << 14

// WeightedRoundRobin picks in turn, each endpoint as often as its weight says, and spreads
// an endpoint's turns over the round instead of bunching them: weights 5, 1, 1 give
// a a b a c a a. Attempt.Seq says whose turn it is.
//
// Where one round (the sum of the weights over their greatest common divisor) has at most
// 16,384 turns, it is laid out in advance: at most 32 KiB. Beyond that the turn is computed
// from Seq, with 16 bytes per endpoint: steps of the golden ratio round a circle on which
// every endpoint holds an arc as long as its weight. Such steps fill a circle as evenly as
// steps of one length can: the turns of an endpoint come at no more than three different
// distances, and its share is out by no more than a few turns however long one counts.
func WeightedRoundRobin() Policy { return weightedRoundRobin{} }

type weightedRoundRobin struct{}

type weightedPicker struct {
	wheel
	rota []uint16 // indexes, one per turn; nil: the circle decides
	// The circle: ends[i] is where the arc of endpoint i ends (as a fraction of 2^64),
	// starts[b] the endpoint at the start of the b-th of n equal sectors.
	ends   []uint64
	starts []uint32
}

func (weightedRoundRobin) Build(_, usable []*endpoint.Endpoint, prev Picker) Picker {
	if p, ok := prev.(*weightedPicker); ok && p.same(usable) {
		return p
	}
	p := &weightedPicker{wheel: newWheel(usable)}
	if len(usable) == 0 {
		return p
	}
	unit := int64(0)
	for _, w := range p.weights {
		unit = gcd(w, unit)
	}
	if p.total/unit <= rotaMax {
		p.rota = newRota(p.weights, p.total/unit, unit)
	} else {
		p.layCircle()
	}
	return p
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// newRota lays out one round. The next turn is always that of the endpoint which is
// furthest behind its due (turns so far × weight − turns had × round), the first of them
// if several are: the order of smooth weighted round robin. Endpoints of the same weight
// fall behind alike and have their turns in order, so only the next one of each weight is
// compared: O(round × distinct weights).
func newRota(weights []int64, round, unit int64) []uint16 {
	type class struct {
		weight  int64
		indexes []uint16
		turns   int64 // had by the whole class
	}
	var classes []*class
	of := make(map[int64]*class)
	for i, w := range weights {
		c := of[w]
		if c == nil {
			c = &class{weight: w / unit}
			of[w] = c
			classes = append(classes, c)
		}
		c.indexes = append(c.indexes, uint16(i))
	}
	rota := make([]uint16, 0, round)
	for turn := int64(1); turn <= round; turn++ {
		var best *class
		var behind int64
		var index uint16
		for _, c := range classes {
			n := int64(len(c.indexes))
			b := turn*c.weight - c.turns/n*round
			i := c.indexes[c.turns%n]
			if best == nil || b > behind || b == behind && i < index {
				best, behind, index = c, b, i
			}
		}
		best.turns++
		rota = append(rota, index)
	}
	return rota
}

// layCircle gives every endpoint its arc.
func (p *weightedPicker) layCircle() {
	n := len(p.eps)
	p.ends = make([]uint64, n)
	p.starts = make([]uint32, n)
	var sum int64
	for i, w := range p.weights {
		sum += w
		if sum == p.total {
			p.ends[i] = ^uint64(0)
			break
		}
		p.ends[i], _ = bits.Div64(uint64(sum), 0, uint64(p.total))
	}
	i := 0
	for b := range p.starts {
		at, _ := bits.Div64(uint64(b), 0, uint64(n))
		for p.ends[i] <= at && i < n-1 {
			i++
		}
		p.starts[b] = uint32(i)
	}
}

// at is the index of the endpoint whose arc holds x.
func (p *weightedPicker) at(x uint64) int {
	sector, _ := bits.Mul64(x, uint64(len(p.starts)))
	i := int(p.starts[sector])
	for range 8 {
		if x < p.ends[i] || i == len(p.ends)-1 {
			return i
		}
		i++
	}
	// Many light endpoints crowd in this sector.
	rest := p.ends[i : len(p.ends)-1]
	return i + sort.Search(len(rest), func(k int) bool { return x < rest[k] })
}

func (p *weightedPicker) Pick(a *Attempt) *endpoint.Endpoint {
	if len(p.eps) == 0 {
		return nil
	}
	var i int
	if p.rota != nil {
		i = int(p.rota[a.Seq%uint64(len(p.rota))])
	} else {
		i = p.at(a.Seq * golden)
	}
	if e := p.eps[i]; !a.Tried.Has(e) {
		return e
	}
	// A second attempt is out of turn: the others get it by weight.
	return p.draw(a.Rand, &a.Tried, nil)
}
