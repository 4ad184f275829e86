package http1

// Field lines, and the framing that follows from them (RFC 9112 §5 and §6). Slices of the
// fields lie in the buffer that was parsed: nothing is copied.

import (
	"bytes"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// A head up to parseOutright bytes is parsed at every call. A longer one is first searched
// for its end, at some tens of bytes per nanosecond, and without that only its front is
// parsed: what is wrong is found early, and a peer that sends byte by byte buys little
// work with each.
const parseOutright = 4 << 10

var headEnd = []byte("\r\n\r\n")

// worthParsing is b if the head at b[i:] ends there within most bytes, else the front of b.
// The first seen bytes were looked at before, without success: they are not searched again,
// and it is nil where the front was among them.
func worthParsing(b []byte, i, seen, most int) []byte {
	if len(b) <= parseOutright {
		return b
	}
	from := max(i, seen-len(headEnd)+1)
	if to := min(len(b), most); from < to && bytes.Contains(b[from:to], headEnd) {
		return b
	}
	// A client that ends its last line like this ends all of them so, and waits for an answer.
	bare := bytes.HasSuffix(b, []byte("\n\n")) || bytes.HasSuffix(b, []byte("\n\r\n"))
	switch {
	case bare && len(b) <= most:
		return b
	case seen >= parseOutright:
		return nil
	}
	return b[:parseOutright]
}

// orDefault is l, or the default limits where it is nil.
func orDefault(l *limits.Head) *limits.Head {
	if l == nil {
		return &defaultHead
	}
	return l
}

var defaultHead = limits.Default() // read only

// fieldsAdded is the room for the fields that a proxy adds to a request's.
const fieldsAdded = 4

// fieldsFirst bounds the room that is made before the fields are looked at.
const fieldsFirst = 28

var lf = []byte{'\n'}

// parseFields reads field lines at b[i:] up to and including the empty line, and appends
// them to fields, of which there may be most. next is where the section ends; 0: b does not hold all of it.
func parseFields(b []byte, i int, fields []message.Field, most int) (_ []message.Field, next int, _ *Error) {
	for i < len(b) {
		if b[i] == '\r' {
			i, err := lineEnd(b, i)
			return fields, i, err
		}
		if fields == nil {
			// Thousands of exchanges may wait, each with its fields: they get no more room than
			// they need. What follows the head is counted, too, up to a point.
			fields = make([]message.Field, 0, min(bytes.Count(b[i:], lf), fieldsFirst)+fieldsAdded)
		}
		n, kind := message.Name(b[i:])
		nameEnd := i + n
		if nameEnd == len(b) {
			return fields, 0, nil
		}
		if nameEnd == i || b[nameEnd] != ':' {
			return fields, 0, badName(b, i)
		}
		start := nameEnd + 1
		for start < len(b) && (b[start] == ' ' || b[start] == '\t') {
			start++
		}
		cr := start + message.ValueLen(b[start:])
		after, err := lineEnd(b, cr)
		if err != nil || after == 0 {
			return fields, 0, err
		}
		end := cr
		for end > start && (b[end-1] == ' ' || b[end-1] == '\t') {
			end--
		}
		if len(fields) >= most {
			return fields, 0, errFieldsMany
		}
		fields = message.Append(fields, b[i:nameEnd:nameEnd], b[start:end:end], kind)
		i = after
	}
	return fields, 0, nil
}

// badName says what is wrong with the line at b[i:], which does not start as a field.
func badName(b []byte, i int) *Error {
	switch b[i] {
	case ' ', '\t':
		return errFold
	case '\n':
		return errLineEnd
	}
	return errFieldName
}

// lineEnd expects CRLF at b[i:] and returns what follows it; 0: b ends before that.
func lineEnd(b []byte, i int) (next int, _ *Error) {
	switch {
	case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
		return i + 2, nil
	case i == len(b), b[i] == '\r' && i+1 == len(b):
		return 0, nil
	case b[i] == '\r' || b[i] == '\n':
		return 0, errLineEnd
	}
	return 0, errFieldValue
}

// parseVersion reads "HTTP/1.x" at b[i:]; a minor above 1 is read as 1, because we
// speak no later one (RFC 9110 §2.5). next 0: b ends before that.
func parseVersion(b []byte, i int) (minor uint8, next int, _ *Error) {
	const name = "HTTP/"
	v := b[i:min(len(b), i+len("HTTP/1.1"))]
	if string(v) == "HTTP/1.1" {
		return 1, i + len(v), nil
	}
	for k, c := range v {
		switch {
		case k < len(name) && c != name[k],
			k == len(name)+1 && c != '.',
			(k == len(name) || k == len(name)+2) && (c < '0' || c > '9'):
			return 0, 0, errVersion
		}
	}
	if len(v) < len("HTTP/1.1") {
		return 0, 0, nil
	}
	if v[len(name)] != '1' {
		return 0, 0, errMajor
	}
	return min(v[len(name)+2]-'0', 1), i + len(v), nil
}

// framing is what the fields say about the length of the content.
type framing struct {
	length  int64 // -1: no Content-Length
	chunked bool
	hosts   int
	host    []byte
	options int // of Connection
}

// readFraming reads Content-Length, Transfer-Encoding and Host, and checks that the
// first two are there at most once, well-formed, and not both.
func readFraming(fields []message.Field, minor uint8) (fr framing, _ *Error) {
	fr.length = -1
	coded := false
	for i := range fields {
		f := &fields[i]
		switch f.Kind {
		case message.Host:
			fr.hosts++
			fr.host = f.Value
		case message.Connection:
			fr.options += 1 + bytes.Count(f.Value, []byte{','})
		case message.ContentLength:
			if fr.length >= 0 {
				return fr, errLengthTwice
			}
			n, ok := message.ParseLength(f.Value)
			if !ok {
				return fr, errLength
			}
			fr.length = n
		case message.TransferEncoding:
			if coded {
				return fr, errCodingTwice
			}
			coded = true
			if err := checkCoding(f.Value); err != nil {
				return fr, err
			}
		}
	}
	switch {
	case coded && fr.length >= 0:
		return fr, errAmbiguous
	case coded && minor == 0:
		return fr, errCodingOld
	case fr.options > message.OptionsMax:
		return fr, errOptionsMany
	}
	fr.chunked = coded
	return fr, nil
}

// checkCoding accepts the one coding we know.
func checkCoding(value []byte) *Error {
	if message.EqualFold(value, "chunked") {
		return nil
	}
	codings, chunked, last := 0, 0, false
	for t, rest := message.NextToken(value); t != nil; t, rest = message.NextToken(rest) {
		codings++
		if last = message.EqualFold(t, "chunked"); last {
			chunked++
		}
	}
	if chunked == 1 && codings > 1 && last || chunked == 0 && codings > 0 {
		return errCoding
	}
	return errCodingTwice
}
