package http1

// Request heads: the request line, then fields, then what follows from both.

import (
	"bytes"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// methodBytesMax is above the longest registered method, UPDATEREDIRECTREF.
const methodBytesMax = 32

// ParseRequest reads the request head at the start of b into r, whose slices then lie in
// b. n is its length, with the empty line and with up to limits.IdleInBufferMax empty
// lines before it; 0 without an error: b does not hold all of it, read more and call
// again with everything from the start. The error is an *Error; r is then of no use.
//
// seen is how many bytes of b the call before this one had, 0 for the first: a long head
// is then not searched again from its start. Nil limits are limits.Default.
//
// Nothing is dropped or normalised: that is for message.DropHopByHop and for the route.
func ParseRequest(b []byte, seen int, r *message.Request, l *limits.Head) (n int, err error) {
	n, e := parseRequest(b, seen, r, orDefault(l))
	if e != nil {
		return 0, e
	}
	return n, nil
}

func parseRequest(b []byte, seen int, r *message.Request, l *limits.Head) (n int, _ *Error) {
	*r = message.Request{Fields: r.Fields[:0]}
	i := 0
	for i < len(b) && (b[i] == '\r' || b[i] == '\n') {
		next, err := lineEnd(b, i)
		if err != nil || next == 0 {
			return 0, err
		}
		if i = next; i > 2*limits.IdleInBufferMax {
			return 0, errEmptyLines
		}
	}
	if front := worthParsing(b, i, seen, l.Bytes); front != nil {
		var err *Error
		if n, err = requestHead(front, i, r, l); err != nil {
			return 0, err
		}
	}
	switch {
	case n > l.Bytes:
		return 0, errHeadBytes
	case n > 0 || len(b) < l.Bytes:
		return n, nil
	case bytes.IndexByte(b[min(i, l.Target):l.Target], '\n') < 0:
		return 0, errTargetLong
	}
	return 0, errHeadBytes
}

// requestHead reads the head at b[i:]; n is where it ends, 0: not in b.
func requestHead(b []byte, i int, r *message.Request, l *limits.Head) (n int, _ *Error) {
	i, err := requestLine(b, i, r, l.Target)
	if err != nil || i == 0 {
		return 0, err
	}
	r.Fields, n, err = parseFields(b, i, r.Fields, l.Fields)
	if err != nil || n == 0 {
		return 0, err
	}
	return n, finishRequest(r)
}

// requestLine reads method, target and version at b[i:]; next is the line after it.
func requestLine(b []byte, i int, r *message.Request, targetMax int) (next int, _ *Error) {
	end := i + message.NameLen(b[i:min(len(b), i+methodBytesMax+1)])
	switch {
	case end-i > methodBytesMax:
		return 0, errMethodLong
	case end == len(b):
		return 0, nil
	case end == i || b[end] != ' ':
		return 0, errMethod
	}
	r.Method = b[i:end:end]
	if string(r.Method) == "CONNECT" {
		return 0, errConnect
	}
	start := end + 1
	end, err := targetEnd(b, start, targetMax)
	if err != nil || end == 0 {
		return 0, err
	}
	r.Target = b[start:end:end]
	minor, i, err := parseVersion(b, end+1)
	if err != nil || i == 0 {
		return 0, err
	}
	r.Minor = minor
	if i < len(b) && b[i] != '\r' && b[i] != '\n' {
		return 0, errVersion
	}
	next, err = lineEnd(b, i)
	if err != nil || next == 0 {
		return 0, err
	}
	return next, splitTarget(r)
}

// finishRequest decides what depends on all fields together.
func finishRequest(r *message.Request) *Error {
	fr, err := readFraming(r.Fields, r.Minor)
	if err != nil {
		return err
	}
	switch {
	case fr.hosts > 1:
		return errHostTwice
	case fr.hosts == 0 && r.Minor > 0:
		return errHostMissing
	}
	host, ok := message.ParseHost(fr.host)
	if !ok {
		return errHost
	}
	// The authority of an absolute target wins over Host (RFC 9112 §3.2.2).
	if r.Host == nil {
		r.Host = host
	}
	if fr.chunked {
		r.Body = message.Chunked
	} else if fr.length >= 0 {
		r.Body, r.Length = message.Length, fr.length
	}
	r.Derive()
	return nil
}
