package policy

// The ring (Karger et al., STOC 1997): members have points on a circle, in proportion to
// their weight, and a key belongs to the next point.

import "math/bits"

const (
	// pointsPerWeight is how many points of the ring stand for a weight of 1, where the
	// weights are small enough: shares are then uneven by about 8 %.
	pointsPerWeight = 160
	// pointsMax bounds the points of one ring, and so its memory to 8 MiB.
	pointsMax = 4096 * pointsPerWeight
)

// A ring has points at pseudo-random positions; a key belongs to the endpoint of the first
// point at or after its own position. An endpoint's points depend on itself only, so that
// members which come or go move no other keys than theirs, with one exception: whenever
// the sum of weights passes 4,096 times a power of two, every endpoint gets half the points.
//
// Sectors make the first point a matter of one look: the ring is cut in about as many
// equal ones as it has points.
type ring struct {
	points  []uint64 // position in the upper half, member in the lower; sorted
	sectors []uint32 // first point at or after the start of each sector
	shift   uint     // of a position, to its sector
}

func newRing(m *members) homes {
	r := &ring{}
	var points []uint64
	scale := uint(0)
	for m.total*pointsPerWeight>>scale > pointsMax {
		scale++
	}
	for i, v := range m.rivals {
		h := v.hash
		for range max(1, m.weights[i]*pointsPerWeight>>scale) {
			h = next(h)
			points = append(points, h&^(1<<32-1)|uint64(i))
		}
	}
	r.sort(points)
	return r
}

// sort fills points and sectors: positions are spread so evenly that sorting by sector
// leaves about one point in each.
func (r *ring) sort(points []uint64) {
	width := min(uint(bits.Len(uint(len(points)))), 31)
	r.shift = 32 - width
	r.sectors = make([]uint32, 1<<width+1)
	for _, p := range points {
		r.sectors[p>>32>>r.shift+1]++
	}
	for i := 1; i < len(r.sectors); i++ {
		r.sectors[i] += r.sectors[i-1]
	}
	r.points = make([]uint64, len(points))
	free := append([]uint32(nil), r.sectors...)
	for _, p := range points {
		// Straight insertion among the few of the same sector.
		s := p >> 32 >> r.shift
		i := free[s]
		free[s]++
		for ; i > r.sectors[s] && r.points[i-1] > p; i-- {
			r.points[i] = r.points[i-1]
		}
		r.points[i] = p
	}
}

func (r *ring) find(p *hashPicker, a *Attempt, key uint64, limit float64) int {
	at := mix(key) >> 32
	i := int(r.sectors[at>>r.shift])
	for i < len(r.points) && r.points[i]>>32 < at {
		i++
	}
	for range min(len(r.points), probesMax) {
		if i == len(r.points) {
			i = 0
		}
		if member := int(uint32(r.points[i])); p.admits(member, a, limit) {
			return member
		}
		i++
	}
	return -1
}
