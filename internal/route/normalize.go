package route

import "bytes"

// A BadPath is why a path has no normal form; the request deserves a 400. Its values are
// constants, so that refusing costs no allocation.
type BadPath uint8

// Reasons to refuse a path.
const (
	NotAbsolute  BadPath = iota + 1 // neither starts with a slash nor is "*"
	BadEncoding                     // a percent sign without two hex digits
	NullByte                        // %00
	Backslash                       // \ or %5C
	BadByte                         // a raw control character, space, # or ?
	AboveRoot                       // .. climbs above the root
	EncodedClimb                    // .. beside an encoded slash
)

// Error says what is wrong with the path.
func (b BadPath) Error() string {
	switch b {
	case NotAbsolute:
		return "path does not start with /"
	case BadEncoding:
		return "path has an invalid percent-encoding"
	case NullByte:
		return "path has an encoded null byte (%00)"
	case Backslash:
		return "path has a backslash"
	case BadByte:
		return "path has a control character, space, # or ?"
	case AboveRoot:
		return "path climbs above the root"
	case EncodedClimb:
		return "path has .. beside an encoded slash (%2F)"
	}
	return "path is invalid"
}

// Normalize returns the normal form of a raw path, as the package comment defines it: raw
// itself, not copied, if that is normal already; otherwise it is written to dst from its
// beginning, whatever dst held, and into a new array if dst is too short (three times the
// length of raw is always enough, the length of raw nearly always). dst must not overlap
// raw. An empty path is "/"; "*", the asterisk form, is itself. An error is a BadPath.
func Normalize(dst, raw []byte) ([]byte, error) {
	if isNormal(raw) {
		return raw, nil
	}
	if len(raw) == 0 {
		return append(dst[:0], '/'), nil
	}
	if raw[0] != '/' {
		if len(raw) == 1 && raw[0] == '*' {
			return raw, nil
		}
		return nil, NotAbsolute
	}
	out := append(dst[:0], '/')
	// out ends with a slash whenever a segment begins, so that removing a segment is
	// cutting, and a dot segment leaves the slash before it, as the RFC has it.
	for i := 1; i < len(raw); {
		if raw[i] == '/' {
			i++
			continue
		}
		start := len(out)
		var bad BadPath
		if out, i, bad = segment(out, raw, i); bad != 0 {
			return nil, bad
		}
		switch seg := out[start:]; {
		case string(seg) == ".":
			out = out[:start]
		case string(seg) == "..":
			if start == 1 {
				return nil, AboveRoot
			}
			out = out[:bytes.LastIndexByte(out[:start-1], '/')+1]
		case i < len(raw):
			out = append(out, '/')
			i++
		}
	}
	if bytes.Equal(out, raw) {
		return raw, nil
	}
	return out, nil
}

// isNormal finds the common case in one pass. It may say false for a path that is normal
// (one with a percent sign, or a segment such as .well-known); that costs only time.
func isNormal(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '/' {
		return false
	}
	slash := false
	for _, c := range raw {
		switch class[c] {
		case plain:
			slash = false
		case dot:
			if slash {
				return false
			}
		case separator:
			if slash {
				return false
			}
			slash = true
		default:
			return false
		}
	}
	return true
}

// segment appends the normal form of the segment that begins at raw[i] and returns where
// it ends: at a slash or at the end of raw.
func segment(out, raw []byte, i int) ([]byte, int, BadPath) {
	start, encodedSlash := len(out), false
	for ; i < len(raw) && raw[i] != '/'; i++ {
		c := raw[i]
		switch class[c] {
		case plain, dot:
			out = append(out, c)
		case foreign:
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		case percent:
			if i+2 >= len(raw) || unhex(raw[i+1]) > 15 || unhex(raw[i+2]) > 15 {
				return out, i, BadEncoding
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
			switch {
			case c == 0:
				return out, i, NullByte
			case c == '\\':
				return out, i, Backslash
			case isUnreserved(c):
				out = append(out, c)
			default:
				encodedSlash = encodedSlash || c == '/'
				out = append(out, '%', upperHex[c>>4], upperHex[c&15])
			}
		case backslash:
			return out, i, Backslash
		default:
			return out, i, BadByte
		}
	}
	if encodedSlash && climbs(out[start:]) {
		return out, i, EncodedClimb
	}
	return out, i, 0
}

// climbs reports whether a normal segment has a .. between its encoded slashes.
func climbs(seg []byte) bool {
	for more := true; more; {
		var part []byte
		part, seg, more = bytes.Cut(seg, []byte("%2F"))
		if string(part) == ".." {
			return true
		}
	}
	return false
}

// Classes of bytes in a raw path.
const (
	bad       uint8 = iota // may not stand there at all
	plain                  // pchar of RFC 3986 §3.3 as it is
	dot                    // plain, but looked at where a segment begins
	separator              // the slash
	percent                // begins an encoding
	backslash              // refused, with a reason of its own
	foreign                // sent by lenient clients: normal form encodes it
)

var class = classes()

func classes() (t [256]uint8) {
	for i := range t {
		switch c := byte(i); {
		case c == '.':
			t[i] = dot
		case isUnreserved(c), bytes.IndexByte([]byte("!$&'()*+,;=:@"), c) >= 0:
			t[i] = plain
		case c == '/':
			t[i] = separator
		case c == '%':
			t[i] = percent
		case c == '\\':
			t[i] = backslash
		case c > 0x7f, bytes.IndexByte([]byte("\"<>[]^`{|}"), c) >= 0:
			t[i] = foreign
		}
	}
	return t
}

const upperHex = "0123456789ABCDEF"

// unhex is the value of a hex digit, above 15 if c is none.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// isUnreserved is RFC 3986 §2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
