package tracing

// Messages of OTLP, written field by field as protobuf has them on the wire. Spans are made at a
// share of the rate of requests, and building a tree of structs to be marshalled by reflection takes
// ten times as long. The numbers of fields are those of opentelemetry-proto 1; the tests read what
// is written with the generated code.
//
//	key: "a", value: "b"    0a 01 "a"  12 03 (0a 01 "b")
//
// A field that has its default is left out, as protobuf does.

import (
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// A message is the fields written so far.
type message []byte

func (m *message) tag(field protowire.Number, kind protowire.Type) {
	*m = protowire.AppendTag(*m, field, kind)
}

func (m *message) varint(field protowire.Number, n uint64) {
	if n != 0 {
		m.tag(field, protowire.VarintType)
		*m = protowire.AppendVarint(*m, n)
	}
}

func (m *message) fixed32(field protowire.Number, n uint32) {
	if n != 0 {
		m.tag(field, protowire.Fixed32Type)
		*m = protowire.AppendFixed32(*m, n)
	}
}

func (m *message) fixed64(field protowire.Number, n uint64) {
	if n != 0 {
		m.tag(field, protowire.Fixed64Type)
		*m = protowire.AppendFixed64(*m, n)
	}
}

func (m *message) bytes(field protowire.Number, v []byte) {
	m.tag(field, protowire.BytesType)
	*m = protowire.AppendBytes(*m, v)
}

// text writes s in UTF-8, which texts of protobuf must be.
func (m *message) text(field protowire.Number, s string) {
	if s != "" {
		m.tag(field, protowire.BytesType)
		*m = protowire.AppendString(*m, valid(s))
	}
}

// valid is s with U+FFFD in place of what is not UTF-8. Hardly any text needs that, and to find it out so
// is much faster than strings.ToValidUTF8.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// begin begins a message within m, whose fields are written to m until end is called with what begin
// returns.
func (m *message) begin(field protowire.Number) (from int) {
	m.tag(field, protowire.BytesType)
	return len(*m)
}

// end puts the size before the message that began at from.
func (m *message) end(from int) {
	size := len(*m) - from
	var room [5]byte
	prefix := protowire.AppendVarint(room[:0], uint64(size))
	*m = append(*m, prefix...)
	copy((*m)[from+len(prefix):], (*m)[from:from+size])
	copy((*m)[from:], prefix)
}

// Fields of KeyValue and AnyValue.
const (
	keyField    = 1
	valueField  = 2
	stringValue = 1
	intValue    = 3
	doubleValue = 4
)

// attributes are the repeated KeyValue of that field of a message.
type attributes struct {
	*message
	field protowire.Number
}

// text adds an attribute; an empty text adds none.
func (a attributes) text(key, value string) {
	if value == "" {
		return
	}
	value = valid(value)
	a.key(key, 1+protowire.SizeBytes(len(value)))
	a.tag(stringValue, protowire.BytesType)
	*a.message = protowire.AppendString(*a.message, value)
}

func (a attributes) number(key string, n int64) {
	a.key(key, 1+protowire.SizeVarint(uint64(n)))
	a.tag(intValue, protowire.VarintType) // also 0: without it there would be no value
	*a.message = protowire.AppendVarint(*a.message, uint64(n))
}

func (a attributes) float(key string, n float64) {
	a.key(key, 1+8)
	a.tag(doubleValue, protowire.Fixed64Type)
	*a.message = protowire.AppendFixed64(*a.message, math.Float64bits(n))
}

// key begins a KeyValue whose AnyValue has that size; the caller writes it.
func (a attributes) key(key string, size int) {
	a.tag(a.field, protowire.BytesType)
	*a.message = protowire.AppendVarint(*a.message, uint64(1+protowire.SizeBytes(len(key))+1+protowire.SizeBytes(size)))
	a.message.text(keyField, key)
	a.tag(valueField, protowire.BytesType)
	*a.message = protowire.AppendVarint(*a.message, uint64(size))
}
