package policy

// Consistent hashing: a key stays with its endpoint while endpoints come and go. The members
// of the set are laid out as a table (ring, maglev or rendezvous) over all endpoints, usable or
// not, so that an ejection moves only the keys of the ejected one; a bounded load moves a key on
// when its endpoint has more than its share in flight.

import (
	"fmt"
	"math"

	"github.com/poise-lb/poise/endpoint"
)

// Algorithms of HashConfig.
const (
	Ring       = "ring"
	Maglev     = "maglev"
	Rendezvous = "rendezvous"
)

// HashConfig says how ConsistentHash finds the endpoint of a key.
type HashConfig struct {
	// Algorithm is Ring, Maglev or Rendezvous; "" is Ring.
	//
	// Ring moves the fewest keys when members come and go, shares are uneven by 10 to
	// 20 %. Maglev is the fastest and the most even, moves a few per cent more keys, and
	// all of them when the members grow past 1,024, where the table changes its size.
	// Rendezvous is even and moves the fewest keys, but all of them past 128 members,
	// where it begins to ask groups first, and a pick takes some hundred nanoseconds.
	Algorithm string
	// BoundedLoad keeps every endpoint's attempts in flight at or below this multiple of
	// its share of all in flight (Attempt.Load), rounded up: keys whose home is full go on
	// to their next endpoint. 1.25 is a good value. 0 means unbounded; otherwise what is
	// below 1 counts as 1. Up to 4 attempts in flight are never too many: among idle
	// endpoints the second request of a user would have to leave his home otherwise.
	BoundedLoad float64
}

// ConsistentHash picks by Attempt.Key, so that a key stays at its endpoint. Where keys
// live depends on the members and their weights alone: an endpoint that is unusable for a
// while moves only its own keys, evenly to all the others, and they return to it. Attempts
// without a key are spread by weight, by Attempt.Rand.
//
// It panics if the algorithm is unknown.
func ConsistentHash(c HashConfig) Policy {
	h := consistentHash{algorithm: c.Algorithm}
	if c.BoundedLoad > 0 {
		h.bound = max(c.BoundedLoad, 1)
	}
	switch c.Algorithm {
	case Ring, Maglev, Rendezvous:
	case "":
		h.algorithm = Ring
	default:
		panic(fmt.Sprintf("policy: unknown hash algorithm %q", c.Algorithm))
	}
	return h
}

// boundFloor is how many attempts in flight a key's home may hold whatever the bound says.
const boundFloor = 4

// A homes table knows the endpoints of every key, best first. It is immutable and stands
// on the members alone; endpoints are indexes into them.
type homes interface {
	// find returns the first endpoint on the key's way that p admits under limit, or -1
	// if none of the first few is.
	find(p *hashPicker, a *Attempt, key uint64, limit float64) int
}

// probesMax is how far a table follows a key's way. While half of the members may be
// picked, one key in 10^14 goes further.
const probesMax = 48

type consistentHash struct {
	algorithm string
	bound     float64 // 0: none
}

// A hashPicker is a table of homes, which all pickers of the same members share, and the
// set of endpoints that may be picked now.
type hashPicker struct {
	consistentHash
	*members
	homes    homes
	pickable []bool   // by index of the member; nil: all
	usable   []uint32 // indexes of those that may be picked; nil: all
	weight   float64  // of those together
}

// members are what tables are built from.
type members struct {
	wheel
	rivals []rival // by index
}

func newMembers(all []*endpoint.Endpoint) *members {
	m := &members{wheel: newWheel(all), rivals: make([]rival, len(all))}
	for i, e := range all {
		m.rivals[i] = rival{hash: e.Hash(), share: 1 / float64(m.weights[i]), index: uint32(i)}
	}
	return m
}

func (h consistentHash) table(m *members) homes {
	switch h.algorithm {
	case Maglev:
		return newMaglev(m)
	case Rendezvous:
		return newRendezvous(m)
	}
	return newRing(m)
}

func (h consistentHash) Build(all, usable []*endpoint.Endpoint, prev Picker) Picker {
	p := &hashPicker{consistentHash: h}
	if old, ok := prev.(*hashPicker); ok && old.algorithm == h.algorithm && old.same(all) {
		p.members, p.homes = old.members, old.homes
	} else {
		p.members = newMembers(all)
		p.homes = h.table(p.members)
	}
	p.weight = float64(p.total)
	if len(usable) < len(all) {
		p.admitOnly(usable)
	}
	return p
}

// admitOnly notes which members may be picked: a subset of the members in the same order.
func (p *hashPicker) admitOnly(usable []*endpoint.Endpoint) {
	p.pickable = make([]bool, len(p.eps))
	p.usable = make([]uint32, 0, len(usable))
	p.weight = 0
	for i, e := range p.eps {
		if k := len(p.usable); k < len(usable) && usable[k] == e {
			p.pickable[i] = true
			p.usable = append(p.usable, uint32(i))
			p.weight += float64(p.weights[i])
		}
	}
}

func (p *hashPicker) Pick(a *Attempt) *endpoint.Endpoint {
	if p.weight == 0 {
		return nil
	}
	key := a.Key
	if key == 0 {
		key = a.Rand
	}
	i := p.lookUp(a, key, 0)
	if i < 0 {
		return nil
	}
	if p.bound > 0 {
		// One attempt more, shared out by weight, times the bound.
		limit := p.bound * float64(max(a.Load, 0)+1) / p.weight
		if p.eps[i].InFlight() >= boundFloor && p.full(i, limit) {
			// No member is free if the load was counted while it changed, or those that are
			// free fail: then the key stays at home.
			if j := p.lookUp(a, key, limit); j >= 0 {
				i = j
			}
		}
	}
	return p.eps[i]
}

// lookUp is the first member on the key's way that may take the attempt, or -1. With a
// limit other than 0, that is overflow: the key's home is full.
func (p *hashPicker) lookUp(a *Attempt, key uint64, limit float64) int {
	if i := p.homes.find(p, a, key, limit); i >= 0 {
		return i
	}
	return p.search(a, key, limit)
}

// full reports whether the member would, with one attempt more, hold more than limit per
// weight, rounded up.
func (p *hashPicker) full(i int, limit float64) bool {
	return float64(p.eps[i].InFlight()) >= limit*float64(p.weights[i])
}

// admits reports whether the member may take the attempt: it may be picked and was not
// tried. Overflow goes to members that are not full, and to those that fail, idle as they
// are for it, with the probability that they do not.
func (p *hashPicker) admits(i int, a *Attempt, limit float64) bool {
	if p.pickable != nil && !p.pickable[i] {
		return false
	}
	if limit > 0 {
		e := p.eps[i]
		if p.full(i, limit) || !e.Faultless() && float32(uint32(a.Rand)) < e.Failing(a.Now)*(1<<32) {
			return false
		}
	}
	return a.Tried.Len() == 0 || !a.Tried.Has(p.eps[i])
}

// search compares all members that may be picked. It is used when the table ends too
// soon, because few may be picked. A member that wins among them wins until it goes itself, so that
// here, too, an endpoint moves only its own keys.
func (p *hashPicker) search(a *Attempt, key uint64, limit float64) int {
	if p.usable == nil {
		return contest(p, a, p.rivals, key, limit)
	}
	best, bestScore := -1, math.Inf(1)
	for _, i := range p.usable {
		v := &p.rivals[i]
		h := mix(key ^ v.hash)
		if beaten(h, v.share, bestScore) {
			continue
		}
		if s := score(h, v.share); s < bestScore && p.admits(int(i), a, limit) {
			best, bestScore = int(i), s
		}
	}
	return best
}
