package record

// What the access log keeps of heads, for formats that ask for it. An exchange copies values as
// the heads pass, since rules change fields and buffers are used again long before the record is
// made. The copy is bounded: 512 bytes of a value, 2 KiB in all.

import (
	"encoding/base64"

	"github.com/poise-lb/poise/internal/message"
)

// Bounds of what is copied of the heads of one exchange, in bytes.
const (
	FieldBytesMax = 512  // of one value; several fields of a name are one value, with commas
	HeadsBytesMax = 2048 // of all values
	userBytesMax  = 64   // of the user of Authorization: Basic
)

// A span is a value within a text; the zero value: it is absent.
type span struct {
	from uint16
	size uint16 // one more than the length of the value
}

func (s span) of(text []byte) []byte {
	if s.size == 0 {
		return nil
	}
	return text[s.from : s.from+s.size-1 : s.from+s.size-1]
}

// Heads are the copies of one exchange. The zero value is empty. It is used by one task at a
// time, and again for the next exchange.
type Heads struct {
	format *Format // whose names these are; nil: nothing was copied
	text   []byte
	fields []span // by the index in Format.names, and behind them the user
	in     int    // bytes that the request's head has in HTTP/1.1
	out    int    // likewise of the response's; 0: there was none
	cut    bool   // a value did not fit
}

// Request copies what the format of s asks for of a request's head as it was received. It
// forgets the exchange before. s.Captures is true.
func (h *Heads) Request(s *Sink, q *message.Request) {
	f := s.Format
	h.format, h.text, h.cut, h.out = f, h.text[:0], false, 0
	h.fields = h.fields[:0]
	for range len(f.names) + 1 {
		h.fields = append(h.fields, span{})
	}
	h.in = len(q.Method) + len(" ") + len(q.Target) + len(" HTTP/1.1\r\n") + sizeOf(q.Fields)
	h.copy(q.Fields, false)
	if f.user {
		h.user(q.Fields)
	}
}

// Response copies of a response's head as it is sent. Request was called for the exchange.
func (h *Heads) Response(r *message.Response) {
	if h.format == nil {
		return
	}
	h.out = len("HTTP/1.1 200 ") + len(r.Reason) + len("\r\n") + sizeOf(r.Fields)
	h.copy(r.Fields, true)
}

// sizeOf is the bytes of a section of fields and the empty line behind it.
func sizeOf(fields []message.Field) int {
	n := len("\r\n")
	for i := range fields {
		if f := &fields[i]; !f.Drop {
			n += len(f.Name) + len(": ") + len(f.Value) + len("\r\n")
		}
	}
	return n
}

// copy copies the values of one head.
func (h *Heads) copy(fields []message.Field, response bool) {
	for i := range h.format.names {
		n := &h.format.names[i]
		if n.response != response {
			continue
		}
		from, some := len(h.text), false
		for j := range fields {
			f := &fields[j]
			if f.Drop || f.Kind != n.kind || n.kind == message.Other && !message.EqualFold(f.Name, n.name) {
				continue
			}
			if some {
				h.append(from, ", ")
			}
			some = true
			if !n.secret {
				h.append(from, string(f.Value))
			}
		}
		if h.fields[i] = (span{}); some {
			h.fields[i] = span{uint16(from), uint16(len(h.text)-from) + 1}
		}
	}
}

// append appends to the value that began at from, within the bounds.
func (h *Heads) append(from int, text string) {
	room := min(FieldBytesMax-(len(h.text)-from), HeadsBytesMax-len(h.text))
	if len(text) > room {
		text, h.cut = text[:max(room, 0)], true
	}
	h.text = append(h.text, text...)
}

// user copies the user of Authorization: Basic, of which the password is left out.
func (h *Heads) user(fields []message.Field) {
	v, ok := message.GetKind(fields, message.Authorization)
	const basic = "basic "
	if !ok || len(v) < len(basic) || !message.EqualFold(v[:len(basic)], basic) {
		return
	}
	coded := message.TrimSpace(v[len(basic):])
	var b [userBytesMax / 3 * 3]byte
	n, err := base64.StdEncoding.Decode(b[:], coded[:min(len(coded), len(b)/3*4)])
	if err != nil {
		return
	}
	from := len(h.text)
	for _, c := range b[:n] {
		if c == ':' {
			break
		}
		h.text = append(h.text, c)
	}
	if len(h.text) > from {
		h.fields[len(h.fields)-1] = span{uint16(from), uint16(len(h.text)-from) + 1}
	}
}

// copied is what a slot has of the heads.
type copied struct {
	fields  []span // in the text of the slot; see Format.names. Empty: nothing was copied
	in, out int    // bytes of the heads; 0: not known
}

// none is for slots without any.
var none copied

// copyHeads copies h behind the text of l, for the format f. An exchange that began before f was
// in force has the fields of another format: then they are found by their names.
func (l *slot) copyHeads(h *Heads, f *Format) {
	if l.heads == nil {
		l.heads = new(copied) // once: the slot keeps it
	}
	c := l.heads
	c.fields, c.in, c.out = c.fields[:0], 0, 0
	if h == nil || h.format == nil {
		return
	}
	base := uint16(len(l.text))
	l.text = append(l.text, h.text...)
	c.in, c.out, l.cut = h.in, h.out, l.cut || h.cut
	if h.format == f {
		c.fields = append(c.fields, h.fields...)
	} else {
		for i := range f.names {
			c.fields = append(c.fields, h.named(&f.names[i]))
		}
		c.fields = append(c.fields, h.fields[len(h.fields)-1])
	}
	for i := range c.fields {
		c.fields[i].from += base
	}
}

// named is the value of a field of another format; the zero span: it was not copied.
func (h *Heads) named(n *name) span {
	for i := range h.format.names {
		if m := &h.format.names[i]; m.response == n.response && message.EqualFold([]byte(m.name), n.name) {
			return h.fields[i]
		}
	}
	return span{}
}

// field is the value of the field with that index in Format.names; nil: it is absent.
func (l *slot) field(i int) []byte {
	if c := l.copied(); i < len(c.fields) {
		return c.fields[i].of(l.text)
	}
	return nil
}

// user is the user of Authorization; nil: none.
func (l *slot) user() []byte {
	c := l.copied()
	if len(c.fields) == 0 {
		return nil
	}
	return c.fields[len(c.fields)-1].of(l.text)
}

func (l *slot) copied() *copied {
	if l.heads == nil {
		return &none
	}
	return l.heads
}

// appendValue writes the field with that index, which is not absent.
func (f *Format) appendValue(b []byte, l *slot, i int, escape escaper) []byte {
	switch n := &f.names[i]; {
	case n.secret:
		return append(b, redacted...)
	case n.url:
		return f.appendURL(b, l.field(i), escape)
	}
	return escape(b, l.field(i))
}
