package http1

// The request-target and Host, in the four forms of RFC 9112 §3.2. A request has exactly one
// host by the end of this file, whatever form it came in.

import (
	"bytes"

	"github.com/poise-lb/poise/internal/message"
)

// targetOK tells the bytes of a request-target: visible ASCII without '#', for a
// fragment is never sent (RFC 9112 §3.2). Some bytes that RFC 3986 wants encoded, such as
// '|' and '"', are let through as browsers send them.
var targetOK = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = c != '#'
	}
	return t
}()

// targetEnd is where the request-target at b[start:] ends in a space; 0: not in b yet.
func targetEnd(b []byte, start, most int) (end int, _ *Error) {
	end = start
	for end < len(b) && targetOK[b[end]] {
		end++
	}
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
		host, ok := parseHost(authority)
		if !ok || len(host) == 0 {
			return errHost
		}
		r.Host, rest = host, after
	}
	path := rest
	if q := bytes.IndexByte(rest, '?'); q >= 0 {
		path, r.Query = rest[:q:q], rest[q+1:]
	}
	if !validEscapes(path) {
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

// validEscapes reports whether every '%' of a path starts an escape (RFC 3986 §2.1). In a
// query a bare '%' is harmless and common; in a path it has no normal form.
func validEscapes(path []byte) bool {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if i+2 >= len(path) || hexDigit[path[i+1]] < 0 || hexDigit[path[i+2]] < 0 {
			return false
		}
		path = path[i+3:]
	}
}

// hostOK tells the bytes of a host name. The sub-delims and escapes that RFC 3986 allows
// in a registered name occur in no real one, and would be read differently behind us.
var hostOK = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	t['-'], t['.'], t['_'], t['~'] = true, true, true, true
	return t
}()

// hostBytesMax is the longest name of DNS with a port and some room.
const hostBytesMax = 300

// ValidHost reports whether host may be the value of a Host field, for heads that
// other code has parsed. An empty one may.
func ValidHost(host []byte) bool {
	_, ok := parseHost(host)
	return ok
}

// parseHost checks uri-host [":" port] (RFC 9110 §7.2) and returns it without an empty
// port. It may be empty, which says that there is no authority; a port alone, userinfo,
// lists and the rest are not ok.
func parseHost(b []byte) (host []byte, ok bool) {
	if len(b) > hostBytesMax {
		return nil, false
	}
	end := 0
	if len(b) > 0 && b[0] == '[' {
		end = bytes.IndexByte(b, ']') + 1
		if end == 0 || !validIPv6(b[1:end-1]) {
			return nil, false
		}
	} else {
		for end < len(b) && hostOK[b[end]] {
			end++
		}
	}
	if end == len(b) {
		return b, true
	}
	port := b[end+1:]
	if end == 0 || b[end] != ':' || len(port) > 5 {
		return nil, false
	}
	if len(port) == 0 {
		return b[:end:end], true
	}
	n, ok := parseLength(port)
	return b, ok && n <= 65535
}

// validIPv6 is RFC 3986's IPv6address by its outline: groups of up to four hexadecimal
// digits, seven colons or one gap, at the end perhaps four decimal numbers.
func validIPv6(b []byte) bool {
	groups, digits, gap := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case hexDigit[c] >= 0:
			if digits++; digits > 4 {
				return false
			}
		case c == ':':
			double := i+1 < len(b) && b[i+1] == ':'
			switch {
			case double && gap, !double && digits == 0, !double && i+1 == len(b):
				return false
			case double:
				gap = true
				i++
			}
			if digits > 0 {
				groups++
			}
			digits = 0
		case c == '.':
			return validIPv4(b[i-digits:]) && (groups == 6 && !gap || groups <= 5 && gap)
		default:
			return false
		}
	}
	if digits > 0 {
		groups++
	}
	return groups == 8 && !gap || groups <= 7 && gap
}

// validIPv4 is four decimal numbers up to 255, without leading zeros.
func validIPv4(b []byte) bool {
	for k := range 4 {
		end := 0
		for end < len(b) && b[end] >= '0' && b[end] <= '9' {
			end++
		}
		n, ok := parseLength(b[:end])
		if !ok || n > 255 || end > 1 && b[0] == '0' {
			return false
		}
		if k < 3 {
			if end == len(b) || b[end] != '.' {
				return false
			}
			end++
		}
		b = b[end:]
	}
	return len(b) == 0
}
