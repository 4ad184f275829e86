package http2

// The dynamic table of HPACK (RFC 7541 §2.3.2, §4), for either direction: a queue of fields
// whose bytes stand together in one buffer.

import "slices"

// TableSize is the size of the dynamic tables of both directions: what we offer, and the most
// we use of what the peer offers. It is the default of SETTINGS_HEADER_TABLE_SIZE.
const TableSize = 4096

// entryCost is what RFC 7541 §4.1 adds to the bytes of an entry.
const entryCost = 32

// A table is a dynamic table. Its bytes are contiguous, oldest entry first, in a buffer
// of up to twice its size: an eviction moves a number, and only a full buffer
// moves bytes. Buffer and ring grow with use, because most connections need little.
// The zero value has the size 0.
type table struct {
	bytes []byte
	base  uint32  // the position of bytes[0]; positions go on for ever and may wrap
	ring  []entry // a power of two; the entry of number k is in ring[k&(len-1)]
	added uint32  // how many entries have ever been added: the number of the next
	n     uint32  // how many there are now
	size  uint32  // of them, by RFC 7541 §4.1
	max   uint32  // what size may be
}

// An entry is a field of the table. Its name is in the static table or in front of its value.
type entry struct {
	at    uint32 // position of its bytes
	name  uint16 // length of its name in the bytes; 0: the name is static
	value uint16
	meta  meta
}

// fullName is the length of the name, wherever it is.
func (e *entry) fullName() int {
	if e.meta.static != 0 {
		return len(statics[e.meta.static].name)
	}
	return int(e.name)
}

// cost is what e takes of the table's size.
func (e *entry) cost() uint32 { return uint32(e.fullName()) + uint32(e.value) + entryCost }

// at returns the entry of a number, from added-n to added-1.
func (t *table) at(number uint32) *entry { return &t.ring[number&uint32(len(t.ring)-1)] }

// newest returns the entry with i newer ones before it; nil: there is none.
func (t *table) newest(i uint32) *entry {
	if i >= t.n {
		return nil
	}
	return t.at(t.added - 1 - i)
}

// bytesOf returns name and value of e. The name is empty if it is static. They are valid
// until the next add.
func (t *table) bytesOf(e *entry) (name, value []byte) {
	from := e.at - t.base
	mid := from + uint32(e.name)
	return t.bytes[from:mid], t.bytes[mid : mid+uint32(e.value)]
}

// evict takes the oldest entries out until the size is at most to.
func (t *table) evict(to uint32) {
	for t.size > to {
		t.size -= t.at(t.added - t.n).cost()
		t.n--
	}
	if t.n == 0 {
		t.base += uint32(len(t.bytes))
		t.bytes = t.bytes[:0]
	}
}

// resize changes the size that t may have.
func (t *table) resize(max uint32) {
	t.max = max
	t.evict(max)
}

// add puts a field in front. name is not looked at if m says that it is static. Neither
// lies in t. An entry larger than the table empties it (RFC 7541 §4.4).
func (t *table) add(name, value []byte, m meta) {
	if m.static != 0 {
		name = nil
	}
	cost := uint64(len(name)) + uint64(len(value)) + entryCost
	if m.static != 0 {
		cost += uint64(len(statics[m.static].name))
	}
	if cost > uint64(t.max) {
		t.evict(0)
		return
	}
	t.evict(t.max - uint32(cost))
	t.makeRoom(len(name) + len(value))
	e := entry{at: t.base + uint32(len(t.bytes)), name: uint16(len(name)), value: uint16(len(value)), meta: m}
	t.bytes = append(t.bytes, name...)
	t.bytes = append(t.bytes, value...)
	*t.at(t.added) = e
	t.added++
	t.n++
	t.size += uint32(cost)
}

// makeRoom makes room for one more entry of n bytes.
func (t *table) makeRoom(n int) {
	if len(t.bytes)+n > cap(t.bytes) {
		live := 0 // where the oldest entry begins
		if t.n > 0 {
			live = int(t.at(t.added-t.n).at - t.base)
		}
		if cap(t.bytes) < TableSize*2 && live < len(t.bytes)/2 {
			t.bytes = slices.Grow(t.bytes, n)
		} else {
			t.base += uint32(live)
			t.bytes = t.bytes[:copy(t.bytes, t.bytes[live:])]
		}
	}
	if int(t.n) < len(t.ring) {
		return
	}
	ring := make([]entry, max(8, 2*len(t.ring)))
	for i := range t.n {
		number := t.added - t.n + i
		ring[number&uint32(len(ring)-1)] = *t.at(number)
	}
	t.ring = ring
}
