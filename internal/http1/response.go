package http1

// Response heads: the status line, then fields, then the framing, which the method of the
// request decides as well (RFC 9112 §6.3).

import (
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// ParseResponse reads the response head at the start of b into r, whose slices then lie
// in b. method is that of the request it answers: it decides the framing (RFC 9112
// §6.3). n is the head's length; 0 without an error: b does not hold all of it, read
// more and call again with everything from the start. The error is an *Error with
// status 502; r is then of no use. seen and l are as for ParseRequest.
//
// A status from 100 to 199 is interim and has no content: the final response follows,
// except after 101, which is accepted only if it says what the connection becomes.
//
// KeepAlive is false if the connection cannot be used for another request: also when
// content that must not be there is announced, because it might come.
func ParseResponse(b []byte, seen int, r *message.Response, method []byte, l *limits.Head) (n int, err error) {
	n, e := parseResponse(b, seen, r, method, orDefault(l))
	if e != nil {
		return 0, e.fromEndpoint()
	}
	return n, nil
}

func parseResponse(b []byte, seen int, r *message.Response, method []byte, l *limits.Head) (n int, err *Error) {
	*r = message.Response{Fields: r.Fields[:0]}
	if front := worthParsing(b, 0, seen, l.Bytes); front != nil {
		n, err = responseHead(front, r, method, l.Fields)
	}
	if err == nil && (n > l.Bytes || n == 0 && len(b) >= l.Bytes) {
		return 0, errHeadBytes
	}
	return n, err
}

func responseHead(b []byte, r *message.Response, method []byte, fieldsMax int) (n int, _ *Error) {
	i, err := statusLine(b, r)
	if err != nil || i == 0 {
		return 0, err
	}
	r.Fields, n, err = parseFields(b, i, r.Fields, fieldsMax)
	if err != nil || n == 0 {
		return 0, err
	}
	return n, finishResponse(r, method)
}

// statusLine reads version, status and reason; next is the line after it. The space
// after the status may be missing if there is no reason: common, and not ambiguous.
func statusLine(b []byte, r *message.Response) (next int, _ *Error) {
	minor, i, err := parseVersion(b, 0)
	if err != nil || i == 0 {
		return 0, err
	}
	r.Minor = minor
	for k := range 4 { // SP and three digits
		if i == len(b) {
			return 0, nil
		}
		c := b[i]
		if k == 0 && c != ' ' || k > 0 && (c < '0' || c > '9') {
			return 0, errStatusLine
		}
		if k > 0 {
			r.Status = r.Status*10 + int(c-'0')
		}
		i++
	}
	if r.Status < 100 {
		return 0, errStatusLine
	}
	if i < len(b) && b[i] == ' ' {
		i++
		end := i + message.ValueLen(b[i:])
		r.Reason = b[i:end:end]
		i = end
	}
	if i < len(b) && b[i] != '\r' && b[i] != '\n' {
		return 0, errStatusLine
	}
	return lineEnd(b, i)
}

// finishResponse decides the framing: RFC 9112 §6.3.
func finishResponse(r *message.Response, method []byte) *Error {
	fr, err := readFraming(r.Fields, r.Minor)
	if err != nil {
		return err
	}
	r.Derive()
	if fr.length >= 0 {
		r.Length = fr.length
	}
	interim := r.Status < 200
	switch {
	case r.Status == 101 && r.Upgrade == nil:
		return errNotUpgraded
	case string(method) == "CONNECT" && r.Status/100 == 2:
		r.KeepAlive = false // a tunnel from here on
	case interim || r.Status == 204:
		// RFC 9110 §8.6 and RFC 9112 §6.1 forbid both fields here.
		r.KeepAlive = r.KeepAlive && !fr.chunked && fr.length <= 0
	case string(method) == "HEAD" || r.Status == 304:
	case fr.chunked:
		r.Body = message.Chunked
	case fr.length >= 0:
		r.Body = message.Length
	default:
		r.Body = message.UntilClose
		r.KeepAlive = false
	}
	return nil
}
