package policy

import "math/bits"

const noMember = ^uint32(0) // a slot or a list without one

// A maglev table gives every member slots in proportion to its weight (Eisenbud et al.,
// NSDI 2016): members in turn take their next free slot, in an order of their own. Shares
// are as even as slots are many; a member that comes or goes makes a few slots of others
// change hands too. The table's length is a prime: 65,537 up to 1,024 members, so that
// every member has at least 64 slots, and 655,373 beyond; members after as many have none.
type maglev []uint32 // members

func newMaglev(m *members) homes {
	if len(m.rivals) == 0 {
		return maglev(nil)
	}
	size := maglevSize(len(m.rivals))
	table := make(maglev, size)
	for i := range table {
		table[i] = noMember
	}
	takers := make([]taker, len(m.rivals))
	heaviest := int64(1)
	for i, v := range m.rivals {
		takers[i] = taker{at: uint32(v.hash % size), step: uint32(next(v.hash)%(size-1) + 1)}
		heaviest = max(heaviest, m.weights[i])
	}
	// The heaviest member has a turn in each round, a lighter one in every so many. due
	// lists whose turn it is in a round; in the first it is that of all, so that each
	// has a slot.
	due := make([]uint32, int64(size)*heaviest/m.total+2)
	for i := range due {
		due[i] = noMember
	}
	for i := range takers {
		takers[i].next, due[0] = due[0], uint32(i)
	}
	left := size
	for round := 0; ; round++ {
		for i := due[round]; i != noMember; {
			t := &takers[i]
			table[t.free(table, uint32(size))] = i
			if left--; left == 0 {
				return table
			}
			t.had++
			after := (t.had*heaviest + m.weights[i] - 1) / m.weights[i]
			following := t.next
			if after < int64(len(due)) {
				t.next, due[after] = due[after], i
			}
			i = following
		}
	}
}

// A taker is a member while the table is filled.
type taker struct {
	at, step uint32 // next slot it would like, and how far on the one after is
	next     uint32 // in the list of its next turn
	had      int64  // turns so far
}

// free is the taker's next free slot; there must be one.
func (t *taker) free(table maglev, size uint32) uint32 {
	for {
		at := t.at
		if t.at += t.step; t.at >= size {
			t.at -= size
		}
		if table[at] == noMember {
			return at
		}
	}
}

// maglevSize is the length of the table for n members.
func maglevSize(n int) uint64 {
	if n <= 1024 {
		return 65_537
	}
	return 655_373
}

func (t maglev) find(p *hashPicker, a *Attempt, key uint64, limit float64) int {
	for range min(len(t), probesMax) {
		slot, _ := bits.Mul64(mix(key), uint64(len(t)))
		if member := int(t[slot]); p.admits(member, a, limit) {
			return member
		}
		key += golden // where the keys of one endpoint go is spread over all
	}
	return -1
}
