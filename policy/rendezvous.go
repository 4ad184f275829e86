package policy

// Rendezvous hashing (Thaler and Ravishankar, 1996): for a key every member draws a score,
// and the highest wins. It needs no table and spreads by weight exactly; beyond 128 members they
// are asked in groups, so that a look-up does not grow with the set.

import (
	"math"
	"math/bits"
)

const (
	// contestMax is the number of members up to which every one is asked for every key.
	contestMax = 128
	// groupBits says in how many groups they are beyond: 64. Asking those and then a 64th
	// of the members is the least work when there are 4,096.
	groupBits = 6
)

// A rival takes part in contests for keys, in proportion to its weight.
type rival struct {
	hash  uint64
	share float64 // 1 / weight
	index uint32
}

// The score of a rival for a key is its arrival in a race in which the probability of
// coming first is in proportion to the weight: an exponential variate made of the hash of
// key and rival, over the weight. The lowest score wins, and no other rival matters to it.
func score(h uint64, share float64) float64 { return minusLog2(h) * share }

// beaten reports whether the score is best or more, as far as that shows without a
// logarithm: -log2(x) is at least 1.44 × (1-x). That settles it for all but a few.
func beaten(h uint64, share, best float64) bool {
	return float64(int64(^h>>11))*(1.44/(1<<53))*share >= best
}

// minusLog2 is -log2 of x/2^64, within 1e-5. It makes do with additions and
// multiplications, each rounded by itself, because every machine must get the same.
func minusLog2(x uint64) float64 {
	x |= 1
	zeros := bits.LeadingZeros64(x)
	f := float64(int64(x<<zeros<<1>>11)) / (1 << 53) // mantissa - 1
	// log2(1+f) = f + f(1-f)P(f)
	const c0, c1, c2, c3, c4 = 0.44265407, -0.27656950, 0.18410083, -0.09720183, 0.02569126
	p := float64(c4*f) + c3
	p = float64(p*f) + c2
	p = float64(p*f) + c1
	p = float64(p*f) + c0
	return float64(zeros+1) - f - float64(float64(f*(1-f))*p)
}

// contest is won by the first of rivals for the key among those that p admits; -1: none.
func contest(p *hashPicker, a *Attempt, rivals []rival, key uint64, limit float64) int {
	best, bestScore := -1, math.Inf(1)
	for i := range rivals {
		v := &rivals[i]
		h := mix(key ^ v.hash)
		if beaten(h, v.share, bestScore) {
			continue
		}
		if s := score(h, v.share); s < bestScore && p.admits(int(v.index), a, limit) {
			best, bestScore = int(v.index), s
		}
	}
	return best
}

// winner is the first of rivals for the key.
func winner(rivals []rival, key uint64) uint32 {
	best, bestScore := uint32(0), math.Inf(1)
	for i := range rivals {
		v := &rivals[i]
		h := mix(key ^ v.hash)
		if beaten(h, v.share, bestScore) {
			continue
		}
		if s := score(h, v.share); s < bestScore {
			best, bestScore = v.index, s
		}
	}
	return best
}

// A rendezvous table asks every member for every key (highest random weight), which moves
// the fewest keys possible and needs no table at all, but takes time in proportion to the
// members. From contestMax members on it asks groups of them first, whose weights are the
// sums of their members'. A member that comes or goes then moves the keys that it gains
// for its group and its share of those the group had: up to twice the fewest possible.
type rendezvous struct {
	groups  []rival   // index: of members; nil: no groups
	members [][]rival // by group; without groups there is one
}

func newRendezvous(m *members) homes {
	if len(m.rivals) <= contestMax {
		return &rendezvous{members: [][]rival{m.rivals}}
	}
	var members [1 << groupBits][]rival
	var weights [1 << groupBits]int64
	for i, v := range m.rivals {
		g := v.hash >> (64 - groupBits)
		members[g] = append(members[g], v)
		weights[g] += m.weights[i]
	}
	r := &rendezvous{}
	for g, w := range weights {
		if w > 0 {
			r.groups = append(r.groups, rival{hash: next(uint64(g)), share: 1 / float64(w), index: uint32(len(r.members))})
			r.members = append(r.members, members[g])
		}
	}
	return r
}

func (r *rendezvous) find(p *hashPicker, a *Attempt, key uint64, limit float64) int {
	if r.groups == nil {
		return contest(p, a, r.members[0], key, limit)
	}
	for range probesMax {
		k := mix(key) // where the keys of one endpoint go is spread over all groups
		if member := int(winner(r.members[winner(r.groups, k)], k)); p.admits(member, a, limit) {
			return member
		}
		key += golden
	}
	return -1
}
