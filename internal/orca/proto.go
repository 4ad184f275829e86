package orca

// The wire format of Protocol Buffers, as far as an OrcaLoadReport needs it. A field is its number
// and its type in one varint, and then its value; one that is not known is skipped by its type:
//
//	09 3333 3333 3333 d33f          1, a double: cpu_utilization 0.3
//	42 14 0a09 "in_flight" 11 …     8, 20 bytes: an entry of named_metrics, itself with 1, the key,
//	                                and 2, the value

import (
	"encoding/binary"
	"math"
)

// Numbers of fields of an OrcaLoadReport, and of an entry of a map.
const (
	fieldCPU         = 1
	fieldNamed       = 8
	fieldApplication = 9

	entryKey   = 1
	entryValue = 2
)

// Types of fields on the wire.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// A wire is what is left of a message.
type wire struct {
	rest []byte
	bad  bool // it was not in form
}

// next takes the next field; number 0: there is none, or it is not in form. A double is in x, bytes
// are in b; of other types neither is set.
func (w *wire) next() (number uint64, x float64, b []byte) {
	if len(w.rest) == 0 {
		return 0, 0, nil
	}
	tag := w.varint()
	number = tag >> 3
	switch tag & 7 {
	case wireVarint:
		w.varint()
	case wireFixed64:
		if v := w.take(8); v != nil {
			x = math.Float64frombits(binary.LittleEndian.Uint64(v))
		}
	case wireBytes:
		b = w.take(w.varint())
	case wireFixed32:
		w.take(4)
	default:
		w.bad = true
	}
	if number == 0 {
		w.bad = true
	}
	if w.bad {
		return 0, 0, nil
	}
	return number, x, b
}

func (w *wire) varint() uint64 {
	v, n := binary.Uvarint(w.rest)
	if n <= 0 {
		w.bad, w.rest = true, nil
		return 0
	}
	w.rest = w.rest[n:]
	return v
}

// take takes n bytes; nil: there are not so many.
func (w *wire) take(n uint64) []byte {
	if n > uint64(len(w.rest)) {
		w.bad, w.rest = true, nil
		return nil
	}
	b := w.rest[:n:n]
	w.rest = w.rest[n:]
	return b
}

// proto reads a message.
func (m *metrics) proto(v []byte) bool {
	w := wire{rest: v}
	for {
		number, x, b := w.next()
		ok := true
		switch number {
		case 0:
			return !w.bad
		case fieldCPU:
			ok = m.set(keyCPU, x)
		case fieldApplication:
			ok = m.set(keyApplication, x)
		case fieldNamed:
			ok = m.entry(b)
		}
		if !ok {
			return false
		}
	}
}

var (
	keyCPU         = []byte("cpu_utilization")
	keyApplication = []byte("application_utilization")
)

// entry reads an entry of named_metrics.
func (m *metrics) entry(v []byte) bool {
	w := wire{rest: v}
	var key []byte
	var value float64
	for {
		number, x, b := w.next()
		switch number {
		case 0:
			return !w.bad && m.name(key, value)
		case entryKey:
			key = b
		case entryValue:
			value = x
		}
	}
}
