package http1

// The request-target and Host, in the four forms of RFC 9112 §3.2. A request has exactly one
// host by the end of this file, whatever form it came in.

import (
	"bytes"

	"github.com/poise-lb/poise/internal/message"
)

// targetEnd is where the request-target at b[start:] ends in a space; 0: not in b yet.
func targetEnd(b []byte, start, most int) (end int, _ *Error) {
	end = start + message.TargetLen(b[start:])
	switch {
	case end-start > most:
		return 0, errTargetLong
	case end == len(b):
		return 0, nil
	case b[end] != ' ' || end == start:
		return 0, errTarget
	}
	return end, nil
}

// Paths of targets that have none of their own. They are never written to.
var (
	root     = []byte("/")
	asterisk = []byte("*")
)

// splitTarget tells the forms of a target apart (RFC 9112 §3.2.1 to §3.2.4) and sets Path,
// Query and, for the absolute form, Host.
func splitTarget(r *message.Request) *Error {
	options := string(r.Method) == "OPTIONS"
	rest := r.Target
	switch {
	case rest[0] == '/':
	case rest[0] == '*' && len(rest) == 1 && options:
		r.Path = rest
		return nil
	default:
		authority, after, ok := cutAbsolute(rest)
		if !ok {
			return errTarget
		}
		host, ok := message.ParseHost(authority)
		if !ok || len(host) == 0 {
			return errHost
		}
		r.Host, rest = host, after
	}
	path := rest
	if q := bytes.IndexByte(rest, '?'); q >= 0 {
		path, r.Query = rest[:q:q], rest[q+1:]
	}
	if !message.ValidEscapes(path) {
		return errTarget
	}
	switch {
	case len(path) > 0:
		r.Path = path
	case options && r.Query == nil: // RFC 9112 §3.2.4: the server as a whole
		r.Path = asterisk
	default:
		r.Path = root
	}
	return nil
}

// cutAbsolute cuts an absolute-form target into its authority and the rest, which is
// empty or starts with '/' or '?'.
func cutAbsolute(target []byte) (authority, rest []byte, ok bool) {
	for _, scheme := range [...]string{"http://", "https://"} {
		if len(target) > len(scheme) && message.EqualFold(target[:len(scheme)], scheme) {
			target = target[len(scheme):]
			end := bytes.IndexAny(target, "/?")
			if end < 0 {
				end = len(target)
			}
			return target[:end:end], target[end:], true
		}
	}
	return nil, nil, false
}
