package route

// The normal form of a path (see the package comment). Most paths are in it already: one pass
// over the bytes finds out, and only others are written anew.

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
	EncodedClimb                    // .. beside an encoded slash or a backslash
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
		return "path has .. beside an encoded slash (%2F) or a backslash"
	}
	return "path is invalid"
}

// Normalize returns the normal form of a raw path, as the package comment defines it: raw
// itself, not copied, if that is normal already; otherwise it is written to dst from its
// beginning, whatever dst held, and into a new array if dst is too short (three times the
// length of raw is always enough, the length of raw nearly always). dst must not overlap
// raw. An empty path is "/"; "*", the asterisk form, is itself. An error is a BadPath. With
// Backslash, and only with that, there is a normal form all the same, in which backslashes
// are %5C: a caller that knows that the endpoint takes them for characters may go on with it.
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
	var doubt error
	// out ends with a slash whenever a segment begins, so that removing a segment is
	// cutting, and a dot segment leaves the slash before it, as the RFC has it.
	for i := 1; i < len(raw); {
		if raw[i] == '/' {
			i++
			continue
		}
		start := len(out)
		var bad BadPath
		if out, i, bad = segment(out, raw, i); bad == Backslash {
			doubt = bad
		} else if bad != 0 {
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
		return raw, doubt
	}
	return out, doubt
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
// it ends: at a slash or at the end of raw. With Backslash it is complete, otherwise a
// BadPath is where it is found.
func segment(out, raw []byte, i int) ([]byte, int, BadPath) {
	start, slashed, doubt := len(out), false, BadPath(0)
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
			case isUnreserved(c):
				out = append(out, c)
			default:
				if c == '\\' {
					doubt = Backslash
				}
				slashed = slashed || c == '/' || c == '\\'
				out = append(out, '%', upperHex[c>>4], upperHex[c&15])
			}
		case backslash:
			slashed, doubt = true, Backslash
			out = append(out, "%5C"...)
		default:
			return out, i, BadByte
		}
	}
	if slashed && climbs(out[start:]) {
		return out, i, EncodedClimb
	}
	return out, i, doubt
}

// climbs reports whether a normal segment has a .. between its encoded slashes and
// backslashes.
func climbs(seg []byte) bool {
	from := 0
	for i := 0; i <= len(seg); i++ {
		end := i == len(seg)
		if !end && seg[i] != '%' {
			continue
		}
		if !end && string(seg[i:i+3]) != "%2F" && string(seg[i:i+3]) != "%5C" {
			continue
		}
		if string(seg[from:i]) == ".." {
			return true
		}
		from = i + 3
	}
	return false
}

// Rest returns the position in raw, a path that has a normal form, behind which the normal
// form of the rest is what stands behind the first n segments of the normal form of raw. The
// rest is empty or begins with a slash, and never climbs above its own beginning: dot
// segments that do so come before it.
func Rest(raw []byte, n int) (at int) {
	depth := 0
	for i := 0; i < len(raw) && n > 0; {
		i++ // the slash
		end := len(raw)
		if more := bytes.IndexByte(raw[i:], '/'); more >= 0 {
			end = i + more
		}
		switch dots(raw[i:end]) {
		case 2:
			depth--
		case 0:
			if end > i {
				depth++
			}
			if end > i && depth == n { // as long as nothing climbs above it again
				at = end
			}
		}
		i = end
	}
	return at
}

// dots is 1 for the segment . and 2 for .. in all their encodings, 0 for any other.
func dots(seg []byte) (n int) {
	for len(seg) > 0 {
		switch {
		case seg[0] == '.':
			seg = seg[1:]
		case len(seg) >= 3 && seg[0] == '%' && seg[1] == '2' && seg[2]|0x20 == 'e':
			seg = seg[3:]
		default:
			return 0
		}
		if n++; n > 2 {
			return 0
		}
	}
	return n
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
