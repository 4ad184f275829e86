package message

// What a request is for: the bytes of a target, escapes of its path, host and port. The rules
// are those of every protocol a client speaks, so the codecs share them.

import "bytes"

// targetOK tells the bytes of a request-target: visible ASCII without '#', for a
// fragment is never sent (RFC 9112 §3.2). Some bytes that RFC 3986 wants encoded, such as
// '|' and '"', are let through as browsers send them.
var targetOK = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = c != '#'
	}
	return t
}()

// TargetLen is the number of bytes at the start of b that may stand in a request-target.
func TargetLen(b []byte) int {
	for i, c := range b {
		if !targetOK[c] {
			return i
		}
	}
	return len(b)
}

// ValidEscapes reports whether every '%' of a path starts an escape (RFC 3986 §2.1). In a
// query a bare '%' is harmless and common; in a path it has no normal form.
func ValidEscapes(path []byte) bool {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if i+2 >= len(path) || !hexOK[path[i+1]] || !hexOK[path[i+2]] {
			return false
		}
		path = path[i+3:]
	}
}

// hexOK tells the hexadecimal digits.
var hexOK = func() (t [256]bool) {
	for _, c := range "0123456789abcdefABCDEF" {
		t[c] = true
	}
	return t
}()

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

// ValidHost reports whether host may be the value of a Host field. An empty one may.
func ValidHost(host []byte) bool {
	_, ok := ParseHost(host)
	return ok
}

// ParseHost checks uri-host [":" port] (RFC 9110 §7.2) and returns it without an empty
// port. It may be empty, which says that there is no authority; a port alone, userinfo,
// lists and the rest are not ok.
func ParseHost(b []byte) (host []byte, ok bool) {
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
	n, ok := ParseLength(port)
	return b, ok && n <= 65535
}

// validIPv6 is RFC 3986's IPv6address by its outline: groups of up to four hexadecimal
// digits, seven colons or one gap, at the end perhaps four decimal numbers.
func validIPv6(b []byte) bool {
	groups, digits, gap := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case hexOK[c]:
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
		n, ok := ParseLength(b[:end])
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

// ParseLength reads 1*DIGIT below 2^63: the value of Content-Length (RFC 9110 §8.6).
func ParseLength(b []byte) (n int64, ok bool) {
	for _, c := range b {
		d := int64(c) - '0'
		if d < 0 || d > 9 || n > (1<<63-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, len(b) > 0
}
