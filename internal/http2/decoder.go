package http2

// Decoding of field blocks (RFC 7541 §3.2, §6): from bytes to the list of fields, and no
// judgement of the message yet. A block is decoded to its end even if its message is not
// acceptable, for the sake of the table.

import (
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// A Decoder decodes the field blocks of one peer, each as a whole and in the order of
// arrival. The zero value is ready. It belongs to one task at a time.
//
// Each method takes the fragments of a block together, and room for the bytes of its
// fields, which it appends there: the slices of the message lie in the room it returns,
// in the static table, and nowhere else. So a message lives as long as its room, and the
// Decoder may go on. With room enough, nothing allocates.
//
// An error is an *Error. After one of the connection the Decoder is of no use; after one of the
// stream, it is.
type Decoder struct {
	// Limits bound a head and a trailer section; nil: limits.Default. Bytes counts names and
	// values, and 32 for each field (RFC 9113 §10.5.1).
	Limits *limits.Head
	// Connect: SETTINGS have offered extended CONNECT (RFC 8441).
	Connect bool

	table   table
	started bool // table has its size

	// The block that is being decoded.
	spans   []span
	limit   *limits.Head // never nil
	size    int          // so far, as limit.Bytes counts
	regular int          // fields that are no pseudo-fields
	cookies int          // of them
	fault   *Error       // it is too large: of the stream
}

// A span is a decoded field, by its place in the room: offsets stay right when room grows. The
// value is behind the name.
type span struct {
	at    uint32
	name  uint32 // length; 0 if the name is static
	value uint32
	meta  meta
}

// sizeFactor times Limits.Bytes of fields are decoded, all but the first part for the
// table only. A peer that sends more is not worth the time.
const sizeFactor = 4

// spansKept bounds the list of fields that a connection keeps between blocks.
const spansKept = 32

// block decodes p into d.spans, and the bytes to room.
func (d *Decoder) block(room, p []byte) (_ []byte, err *Error) {
	if !d.started {
		d.started, d.table.max = true, TableSize
	}
	if cap(d.spans) > spansKept {
		d.spans = nil
	}
	if d.limit = d.Limits; d.limit == nil {
		d.limit = &defaultHead
	}
	d.spans, d.size, d.regular, d.cookies, d.fault = d.spans[:0], 0, 0, 0, nil
	if p, err = d.sizeUpdates(p); err != nil {
		return room, err
	}
	for len(p) > 0 {
		switch c := p[0]; {
		case c&indexed != 0:
			room, p, err = d.indexed(room, p)
		case c&incremental != 0:
			room, p, err = d.literal(room, p, 6)
		case c&sizeUpdate != 0:
			err = errSizeLate
		default:
			room, p, err = d.literal(room, p, 4)
		}
		if err != nil {
			return room, err
		}
	}
	return room, nil
}

// sizeUpdates reads the changes of the table's size that a block may begin with.
func (d *Decoder) sizeUpdates(p []byte) ([]byte, *Error) {
	for len(p) > 0 && p[0]&^0x1f == sizeUpdate {
		n, rest, err := readInt(p, 5)
		if err != nil {
			return nil, err
		}
		if n > TableSize {
			return nil, errSizeAbove
		}
		d.table.resize(n)
		p = rest
	}
	return p, nil
}

// indexed decodes a field that is an index of one of the tables.
func (d *Decoder) indexed(room, p []byte) (_, rest []byte, _ *Error) {
	i, rest := uint32(p[0]&^indexed), p[1:]
	if i == 1<<7-1 { // rare: more than one byte
		var err *Error
		if i, rest, err = readInt(p, 7); err != nil {
			return room, nil, err
		}
	}
	if i <= staticLen {
		if i == 0 {
			return room, nil, errIndex
		}
		s := &statics[i]
		if d.count(len(s.name)+len(s.value), s.meta) {
			d.spans = append(d.spans, span{at: uint32(len(room)), value: uint32(len(s.value)), meta: s.meta})
			room = append(room, s.value...)
		}
		return room, rest, d.enormous()
	}
	e := d.table.newest(i - staticLen - 1)
	if e == nil {
		return room, nil, errIndex
	}
	if d.count(e.fullName()+int(e.value), e.meta) {
		d.spans = append(d.spans, span{at: uint32(len(room)), name: uint32(e.name), value: uint32(e.value), meta: e.meta})
		from := e.at - d.table.base
		room = append(room, d.table.bytes[from:from+uint32(e.name)+uint32(e.value)]...)
	}
	return room, rest, d.enormous()
}

// literal decodes a field with a value of its own. Its bytes go to room first, because the
// table may want them even if the message does not.
func (d *Decoder) literal(room, p []byte, prefix uint) (_, rest []byte, _ *Error) {
	first := p[0]
	i, p, err := readInt(p, prefix)
	if err != nil {
		return room, nil, err
	}
	s := span{at: uint32(len(room))}
	if room, p, err = d.name(room, p, i, &s); err != nil {
		return room, nil, err
	}
	valueAt := len(room)
	s.name = uint32(valueAt) - s.at
	if room, p, err = readString(room, p); err != nil {
		return room, nil, err
	}
	name, value := room[s.at:valueAt], room[valueAt:]
	s.value = uint32(len(value))
	if !message.ValidValue(value) {
		s.meta.faults |= badValue
	}
	if prefix == 6 {
		d.table.add(name, value, s.meta)
	} else if first&neverIndexed != 0 {
		s.meta.faults |= secret
	}
	nameLen := len(name)
	if s.meta.static != 0 {
		nameLen = len(statics[s.meta.static].name)
	}
	if d.count(nameLen+len(value), s.meta) {
		d.spans = append(d.spans, s)
	} else {
		room = room[:s.at]
	}
	return room, p, d.enormous()
}

// name finds the name of a literal: i is its index, 0 if it follows in p. It is appended to
// room, unless it is static.
func (d *Decoder) name(room, p []byte, i uint32, s *span) (_, rest []byte, err *Error) {
	switch {
	case i == 0:
		if room, p, err = readString(room, p); err != nil {
			return room, nil, err
		}
		s.meta = metaOf(room[s.at:])
	case i <= staticLen:
		s.meta = statics[i].meta
	default:
		e := d.table.newest(i - staticLen - 1)
		if e == nil {
			return room, nil, errIndex
		}
		s.meta = e.meta
		s.meta.faults &^= badValue
		name, _ := d.table.bytesOf(e)
		room = append(room, name...)
	}
	return room, p, nil
}

// count counts a field of n bytes, and reports whether the message keeps it.
func (d *Decoder) count(n int, m meta) (keep bool) {
	d.size += n + entryCost
	if m.pseudo == regular {
		d.regular++
	}
	if m.kind == message.Cookie {
		d.cookies++
	}
	if d.size <= d.limit.Bytes && d.regular <= d.limit.Fields { // so that no earlier one was too many
		return len(d.spans) < d.limit.Fields+pseudosMost
	}
	if d.fault == nil && d.size > d.limit.Bytes {
		d.fault = errHeadLarge
	} else if d.fault == nil {
		d.fault = errFieldsMany
	}
	return false
}

// enormous is the error of a block that is far too large.
func (d *Decoder) enormous() *Error {
	if d.size > sizeFactor*d.limit.Bytes {
		return errHeadEnormous
	}
	return nil
}

// pseudosMost is the most pseudo-fields that a message can have; more of them is an error that
// is found by those before.
const pseudosMost = 8

var defaultHead = limits.Default() // read only

// Skip decodes a block that belongs to no message, for the sake of the table: of a stream that
// is refused or over. What it appends to room is of no use. The error is one of the connection.
func (d *Decoder) Skip(room, block []byte) ([]byte, error) {
	room, err := d.block(room, block)
	if err != nil {
		return room, err
	}
	return room, nil
}

// field makes f, which is zero, the field of s. Slices are cut to their length, so that an
// append to them copies.
func (s *span) field(room []byte, f *message.Field) {
	mid := s.at + s.name
	end := mid + s.value
	f.Name, f.Value = room[s.at:mid:mid], room[mid:end:end]
	if s.meta.static != 0 {
		f.Name = statics[s.meta.static].name
	}
	f.Kind, f.NeverIndex = s.meta.kind, s.meta.faults&secret != 0
}
