package http2

// Encoding of fields (RFC 7541 §6). To clients, values that come again are put into the
// peer's table and sent as an index after that; to endpoints only the static table is used,
// because requests of many clients share a connection and have little in common.

import (
	"bytes"
	"encoding/binary"

	"github.com/poise-lb/poise/internal/message"
)

// An Encoder encodes the field blocks that one peer gets, in the order in which they are sent.
// It belongs to one task at a time. The zero value uses the static table only; Indexing is set
// before the first block.
//
// Nothing is checked: what goes into a head has been checked when it was decoded or
// configured. Every method appends a block to dst. With Indexing it must be sent, even if its
// stream is over by then, because the peer's table has to follow.
type Encoder struct {
	// Indexing: values are put into the peer's dynamic table.
	Indexing bool

	// By how much the peer's table is smaller than TableSize: as its SETTINGS say, at most
	// since the last block, and as its decoder has been told.
	lowered, most, told uint32

	index *index // nil: nothing was worth it yet
}

// An index is what an Encoder remembers. The table is a copy of the peer's; slots find an
// entry by the hash of its field.
type index struct {
	table table
	slots [slotCount]slot
}

const slotCount = 64

// A slot is one field that was sent. Only its second time puts it into the table, so that
// values that never come again, as most of etag or x-request-id, push nothing out.
type slot struct {
	hash   uint32
	number uint32 // of the entry in the table
	in     bool   // it has been put there; it may have been evicted since
}

// SetTableSize takes SETTINGS_HEADER_TABLE_SIZE of the peer, in the order in which it sent
// them. More than TableSize is not used. The next block tells the peer's decoder (RFC 7541
// §4.2), which would take anything else for an error.
func (e *Encoder) SetTableSize(n uint32) {
	e.lowered = TableSize - min(n, TableSize)
	e.most = max(e.most, e.lowered)
}

// begin appends what a block begins with: changes of the table's size. Where it was smaller in
// between, the peer has to hear of that, too (RFC 7541 §4.2); it hears of 0, because x/net
// takes a second change for an error unless the first has left its table empty.
func (e *Encoder) begin(dst []byte) []byte {
	if e.lowered == e.told && e.most <= e.told {
		return dst
	}
	if e.most > e.told && e.most > e.lowered {
		dst = e.resize(dst, TableSize)
	}
	e.most, e.told = 0, e.lowered
	return e.resize(dst, e.lowered)
}

func (e *Encoder) resize(dst []byte, lowered uint32) []byte {
	n := TableSize - lowered
	if e.index != nil {
		e.index.table.resize(n)
	}
	return appendInt(dst, sizeUpdate, 5, n)
}

// neverAgain are fields that differ from message to message, or that are no one else's
// to guess: in a table they would cost more than they save.
var neverAgain = [256]bool{
	message.ContentLength: true, message.SetCookie: true, message.Location: true,
	message.Authorization: true, message.ProxyAuthorization: true, message.Cookie: true,
	message.XForwardedFor: true, message.Forwarded: true,
}

// Longer fields are not worth a place in the table.
const (
	indexNameMost  = 40
	indexValueMost = 128
)

// field appends f, whatever its name's case, as its index or as a literal.
func (e *Encoder) field(dst []byte, f *message.Field) []byte {
	first, prefix := byte(notIndexed), uint(4)
	switch {
	case f.NeverIndex:
		first = neverIndexed
	case e.Indexing && !neverAgain[f.Kind] && len(f.Value) <= indexValueMost && len(f.Name) <= indexNameMost && len(f.Name) > 0:
		if e.index == nil {
			e.index = &index{table: table{max: TableSize - e.told}}
		}
		if i, add := e.index.find(f); i > 0 {
			return appendInt(dst, indexed, 7, i)
		} else if add {
			first, prefix = incremental, 6
		}
	}
	if i := staticOf[f.Kind]; i != 0 {
		dst = appendInt(dst, first, prefix, uint32(i))
	} else {
		dst = append(dst, first)
		dst = appendInt(dst, 0, 7, uint32(len(f.Name)))
		dst = appendLower(dst, f.Name)
	}
	return appendString(dst, f.Value)
}

// find returns the index by which the peer knows f, or says that f is now in the table and is
// to be sent so that the peer puts it there, too.
func (x *index) find(f *message.Field) (i uint32, add bool) {
	h := hash(f)
	// A field has two slots. One that holds an entry of the table is not taken by another.
	a, b := &x.slots[h%slotCount], &x.slots[h%slotCount^1]
	s := a
	switch {
	case a.hash == h:
	case b.hash == h:
		s = b
	case !x.live(a):
		*a = slot{hash: h}
		return 0, false
	case !x.live(b):
		*b = slot{hash: h}
		return 0, false
	default:
		return 0, false
	}
	if x.live(s) {
		if !x.same(s, f) {
			return 0, false
		}
		return staticLen + x.table.added - s.number, false
	}
	m := meta{static: staticOf[f.Kind]}
	before := x.table.added
	x.table.add(f.Name, f.Value, m)
	s.number, s.in = before, x.table.added != before
	return 0, true
}

// live reports whether the table has the entry of s.
func (x *index) live(s *slot) bool { return s.in && x.table.added-s.number <= x.table.n }

// same reports whether the entry of s is f: another may have the same hash.
func (x *index) same(s *slot, f *message.Field) bool {
	e := x.table.at(s.number)
	name, value := x.table.bytesOf(e)
	if !bytes.Equal(value, f.Value) {
		return false
	}
	if e.meta.static != 0 {
		return e.meta.static == staticOf[f.Kind]
	}
	return len(name) == len(f.Name) && equalFold(name, f.Name)
}

// hash mixes the lengths of name and value, the ends of the name, and the value.
func hash(f *message.Field) uint32 {
	const prime = 0x9e3779b1
	n, v := f.Name, f.Value
	h := uint32(len(n))<<24 | uint32(n[0]|0x20)<<16 | uint32(n[len(n)-1]|0x20)<<8 | uint32(len(v))
	h *= prime
	for len(v) >= 8 {
		w := binary.LittleEndian.Uint64(v)
		h = (h ^ h>>15 ^ uint32(w)) * prime
		h ^= uint32(w>>32) * prime
		v = v[8:]
	}
	if len(v) >= 4 {
		h = (h ^ h>>15 ^ binary.LittleEndian.Uint32(v)) * prime
		v = v[4:]
	}
	for _, c := range v {
		h = (h ^ h>>15 ^ uint32(c)) * prime
	}
	return max(h^h>>16, 1) // 0 is an empty slot
}

// appendLower appends name in small letters.
func appendLower(dst, name []byte) []byte {
	from := len(dst)
	dst = append(dst, name...)
	for i, c := range dst[from:] {
		if 'A' <= c && c <= 'Z' {
			dst[from+i] = c + 'a' - 'A'
		}
	}
	return dst
}

// equalFold compares two names of one length, of which only letters of ASCII have cases.
func equalFold(a, b []byte) bool {
	for i, c := range a {
		d := b[i]
		if c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
