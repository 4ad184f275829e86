package http2

// Heads of requests (RFC 9113 §8.3.1): a block becomes a message.Request that looks as if it had
// come by HTTP/1.1.

import (
	"bytes"

	"github.com/poise-lb/poise/internal/message"
)

// methodBytesMax is as in package http1: above the longest registered method.
const methodBytesMax = 32

const requestPseudos = 1<<authority | 1<<method | 1<<path | 1<<scheme

// Request decodes the block of a request's head into r, whose slices lie in room and what
// was appended to it. end: the stream ends with the head, so there is no content.
//
// Without content-length, content that comes is message.Chunked: its length is not known.
// Crumbs of Cookie are joined into one field, which stands where the first did (RFC 9113
// §8.2.3). A request by extended CONNECT (RFC 8441) has the method CONNECT and the value of
// :protocol as its Upgrade; a plain CONNECT is refused.
//
// Nothing is dropped or normalised: that is for message.DropHopByHop and for the route.
func (d *Decoder) Request(room, block []byte, end bool, r *message.Request) ([]byte, error) {
	room, err := d.request(room, block, end, r)
	if err != nil {
		return room, err
	}
	return room, nil
}

func (d *Decoder) request(room, block []byte, end bool, r *message.Request) (_ []byte, err *Error) {
	*r = message.Request{Fields: r.Fields[:0]}
	if room, err = d.block(room, block); err != nil {
		return room, err
	}
	if d.fault != nil {
		return room, d.tooLarge(room)
	}
	var crumbs []byte
	if d.cookies > 1 {
		room, crumbs = d.joinCookies(room) // while room may still grow
	}
	r.Fields = roomFor(r.Fields, len(d.spans))
	seen := section{length: -1}
	var protocolName []byte
	for i := range d.spans {
		s := &d.spans[i]
		if s.meta.pseudo == regular {
			err = requestField(room, s, &seen, r)
		} else {
			err = d.requestPseudo(room, s, &seen, r, &protocolName)
		}
		if err != nil {
			return room, err
		}
	}
	if crumbs != nil {
		replaceCookie(r.Fields, crumbs)
	}
	return room, finishRequest(r, &seen, protocolName, end, d.limit.Target)
}

// fieldsAdded is the room for the fields that a proxy adds.
const fieldsAdded = 4

// roomFor makes room for n fields and those that are added.
func roomFor(fields []message.Field, n int) []message.Field {
	if cap(fields) >= n {
		return fields
	}
	return make([]message.Field, 0, n+fieldsAdded)
}

// tooLarge is d.fault, or the better answer if a :path alone is too long.
func (d *Decoder) tooLarge(room []byte) *Error {
	for i := range d.spans {
		if s := &d.spans[i]; s.meta.pseudo == path && int(s.value) > d.limit.Target {
			return errPathLong
		}
	}
	return d.fault
}

func (d *Decoder) requestPseudo(room []byte, s *span, seen *section, r *message.Request, protocolName *[]byte) *Error {
	allowed := uint8(requestPseudos)
	if d.Connect {
		allowed |= 1 << protocol
	}
	if s.meta.pseudo == protocol && !d.Connect {
		return errProtocol
	}
	if err := seen.pseudo(s, allowed); err != nil {
		return err
	}
	value := s.valueIn(room)
	switch s.meta.pseudo {
	case method:
		r.Method = value
	case path:
		r.Target = value
	case authority:
		r.Host = value
	case protocol:
		*protocolName = value
	case scheme:
		if !message.EqualFold(value, "https") && !message.EqualFold(value, "http") {
			return errScheme
		}
	}
	return nil
}

func requestField(room []byte, s *span, seen *section, r *message.Request) *Error {
	if err := seen.field(s, room); err != nil {
		return err
	}
	switch s.meta.kind {
	case message.Cookie:
		if seen.cookies++; seen.cookies > 1 {
			return nil // the first has them all
		}
	case message.TE:
		if !message.EqualFold(s.valueIn(room), "trailers") {
			return errTE
		}
		r.TrailersOK = true
	case message.Expect:
		seen.derive = true
	case message.Host:
		if seen.hosts++; seen.hosts > 1 {
			return errHostTwice
		}
		seen.host = s.valueIn(room)
	}
	r.Fields = append(r.Fields, message.Field{})
	s.field(room, &r.Fields[len(r.Fields)-1])
	return nil
}

// joinCookies appends the crumbs of Cookie to room, joined.
func (d *Decoder) joinCookies(room []byte) (_, joined []byte) {
	at := len(room)
	for i := range d.spans {
		s := &d.spans[i]
		if s.meta.kind != message.Cookie || s.value == 0 {
			continue // an empty crumb says nothing
		}
		if len(room) > at {
			room = append(room, "; "...)
		}
		room = append(room, s.valueIn(room)...)
	}
	return room, room[at:len(room):len(room)]
}

func replaceCookie(fields []message.Field, value []byte) {
	for i := range fields {
		if fields[i].Kind == message.Cookie {
			fields[i].Value = value
		}
	}
}

// finishRequest decides what depends on all fields together.
func finishRequest(r *message.Request, seen *section, protocolName []byte, end bool, targetMax int) *Error {
	if err := checkMethod(r, seen, protocolName); err != nil {
		return err
	}
	if err := checkHost(r, seen); err != nil {
		return err
	}
	if err := splitPath(r, seen, targetMax); err != nil {
		return err
	}
	switch {
	case end && seen.length > 0:
		return errLengthNot
	case seen.length >= 0:
		r.Body, r.Length = message.Length, seen.length
	case !end:
		r.Body = message.Chunked
	}
	r.Minor, r.KeepAlive = 1, true
	if seen.derive { // the other flags are set already
		r.Derive()
	}
	r.Upgrade = protocolName
	return nil
}

// checkMethod checks :method, and for CONNECT what goes with it.
func checkMethod(r *message.Request, seen *section, protocolName []byte) *Error {
	if m := string(r.Method); (m == "GET" || m == "POST") && !seen.has(protocol) {
		return nil
	}
	switch {
	case len(r.Method) == 0:
		return errMethodMissing
	case len(r.Method) > methodBytesMax:
		return errMethodLong
	case !message.ValidName(r.Method):
		return errMethod
	case string(r.Method) != "CONNECT":
		if seen.has(protocol) {
			return errProtocol
		}
	case seen.has(protocol):
		if !message.ValidName(protocolName) {
			return errProtocol
		}
	case seen.has(scheme) || seen.has(path) || !seen.has(authority):
		return errConnectTarget
	default:
		return errConnect
	}
	return nil
}

// checkHost checks :authority and Host, which say the same where both are there, and sets r.Host.
func checkHost(r *message.Request, seen *section) *Error {
	switch {
	case seen.hosts == 0:
		if !seen.has(authority) {
			return errHostMissing
		}
	case !seen.has(authority):
		r.Host = seen.host
	case len(seen.host) != len(r.Host) || !bytes.EqualFold(seen.host, r.Host):
		return errHostDiffers
	}
	if len(r.Host) == 0 {
		return errHostEmpty
	}
	host, ok := message.ParseHost(r.Host)
	if !ok {
		return errHost
	}
	r.Host = host
	return nil
}

// splitPath checks :scheme and :path, and sets Path and Query.
func splitPath(r *message.Request, seen *section, targetMax int) *Error {
	t := r.Target
	switch {
	case !seen.has(scheme):
		return errSchemeMissing
	case len(t) == 0:
		return errPathMissing
	case len(t) > targetMax:
		return errPathLong
	case t[0] == '*' && len(t) == 1 && string(r.Method) == "OPTIONS":
		r.Path = t
		return nil
	case t[0] != '/' || message.TargetLen(t) != len(t):
		return errPath
	}
	r.Path = t
	if q := bytes.IndexByte(t, '?'); q >= 0 {
		r.Path, r.Query = t[:q:q], t[q+1:]
	}
	if !message.ValidEscapes(r.Path) {
		return errPath
	}
	return nil
}
