package http2

// Heads of responses (RFC 9113 §8.3.2), from endpoints.

import "github.com/poise-lb/poise/internal/message"

// Response decodes the block of a response's head into r, whose slices lie in room and
// what was appended to it. method is that of the request it answers; end: the stream ends with
// the head. The error's status, if it is of the stream, is 502.
//
// A status from 100 to 199 is interim and has no content: another head follows. Without
// content-length, content that comes is message.Chunked. There is no reason phrase.
func (d *Decoder) Response(room, block []byte, end bool, method []byte, r *message.Response) ([]byte, error) {
	room, err := d.response(room, block, end, method, r)
	if err != nil {
		return room, err.fromEndpoint()
	}
	return room, nil
}

func (d *Decoder) response(room, block []byte, end bool, method []byte, r *message.Response) (_ []byte, err *Error) {
	*r = message.Response{Fields: r.Fields[:0]}
	if room, err = d.block(room, block); err != nil {
		return room, err
	}
	if d.fault != nil {
		return room, d.fault
	}
	r.Fields = roomFor(r.Fields, len(d.spans))
	seen := section{length: -1}
	for i := range d.spans {
		s := &d.spans[i]
		if s.meta.pseudo != regular {
			if err = seen.pseudo(s, 1<<status); err == nil {
				r.Status, err = parseStatus(s.valueIn(room))
			}
			if err != nil {
				return room, err
			}
			continue
		}
		if err := seen.field(s, room); err != nil {
			return room, err
		}
		if s.meta.kind == message.TE {
			return room, errTE
		}
		r.Fields = append(r.Fields, message.Field{})
		s.field(room, &r.Fields[len(r.Fields)-1])
	}
	if !seen.has(status) {
		return room, errStatusMissing
	}
	return room, finishResponse(r, &seen, end, method)
}

// parseStatus reads three digits.
func parseStatus(b []byte) (n int, _ *Error) {
	if len(b) != 3 {
		return 0, errStatus
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, errStatus
		}
		n = n*10 + int(c-'0')
	}
	switch {
	case n < 100:
		return 0, errStatus
	case n == 101:
		return 0, errSwitching
	}
	return n, nil
}

// finishResponse decides whether there is content, and how much.
func finishResponse(r *message.Response, seen *section, end bool, method []byte) *Error {
	r.Minor = 1
	r.KeepAlive = true
	if seen.length >= 0 {
		r.Length = seen.length
	}
	interim := r.Status < 200
	switch {
	case interim && end:
		return errInterimEnd
	case interim, r.Status == 204, r.Status == 304, string(method) == "HEAD":
	case string(method) == "CONNECT" && r.Status/100 == 2: // a tunnel from here on
	case end && seen.length > 0:
		return errLengthNot
	case seen.length >= 0:
		r.Body = message.Length
	case !end:
		r.Body = message.Chunked
	}
	return nil
}
