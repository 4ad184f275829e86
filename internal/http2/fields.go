package http2

// What all messages have in common (RFC 9113 §8.2): pseudo-fields first, names in small
// letters, values without control bytes, nothing that speaks of a connection.

import (
	"github.com/poise-lb/poise/internal/message"
)

// ofConnection are the fields that HTTP/2 does not have (RFC 9113 §8.2.2).
var ofConnection = [256]bool{
	message.Connection: true, message.KeepAlive: true, message.ProxyConnection: true,
	message.TransferEncoding: true, message.Upgrade: true,
}

// A section is what has been seen of a message while its spans are gone through.
type section struct {
	pseudos uint8 // a bit for each pseudo-field that was there
	behind  bool  // a field was there, so that pseudo-fields are late
	derive  bool  // Expect was there, so message.Request.Derive has work
	cookies int
	hosts   int
	host    []byte // the value of Host
	length  int64  // -1: no Content-Length
}

// has reports whether the pseudo-field was there.
func (s *section) has(p pseudo) bool { return s.pseudos&(1<<p) != 0 }

// pseudo checks a pseudo-field, of which allowed has the bits.
func (s *section) pseudo(f *span, allowed uint8) *Error {
	bit := uint8(1) << f.meta.pseudo
	switch {
	case s.behind:
		return errPseudoLate
	case s.pseudos&bit != 0:
		return errPseudoTwice
	case allowed&bit == 0:
		return errPseudo
	case f.meta.faults&badValue != 0:
		return errFieldValue
	}
	s.pseudos |= bit
	return nil
}

// field checks a field that is no pseudo-field, as far as requests and responses agree.
func (s *section) field(f *span, room []byte) *Error {
	s.behind = true
	switch {
	case f.meta.faults&^secret != 0:
		if f.meta.faults&badName != 0 {
			return errFieldName
		}
		return errFieldValue
	case f.meta.kind == message.Other:
	case ofConnection[f.meta.kind]:
		return errConnection
	case f.meta.kind == message.ContentLength:
		if s.length >= 0 {
			return errLengthTwice
		}
		n, ok := message.ParseLength(f.valueIn(room))
		if !ok {
			return errLength
		}
		s.length = n
	}
	return nil
}

// valueIn is the value of s, whose bytes are in room.
func (s *span) valueIn(room []byte) []byte {
	from := s.at + s.name
	to := from + s.value
	return room[from:to:to]
}

// Trailers decodes the block of a trailer section, of a request or a response. Its fields are
// appended to fields; those that may not stand there (message.TrailerAllowed) are left out.
func (d *Decoder) Trailers(room, block []byte, fields []message.Field) (_ []byte, _ []message.Field, err error) {
	room, fields, e := d.trailers(room, block, fields)
	if e != nil {
		return room, fields, e
	}
	return room, fields, nil
}

func (d *Decoder) trailers(room, block []byte, fields []message.Field) (_ []byte, _ []message.Field, err *Error) {
	if room, err = d.block(room, block); err != nil {
		return room, fields, err
	}
	if d.fault != nil {
		return room, fields, errTrailerBytes
	}
	seen := section{length: -1}
	for i := range d.spans {
		s := &d.spans[i]
		if s.meta.pseudo != regular {
			return room, fields, errPseudo
		}
		if err := seen.field(s, room); err != nil {
			return room, fields, err
		}
		fields = append(fields, message.Field{})
		f := &fields[len(fields)-1]
		if s.field(room, f); !message.TrailerAllowed(f.Name) {
			fields = fields[:len(fields)-1]
		}
	}
	return room, fields, nil
}
