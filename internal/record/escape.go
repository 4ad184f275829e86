package record

// Text from clients in lines of the log. Whatever it holds, a line stays one line and can be
// read back:
//
//	JSON     a"b\x00 -> a\"b\u0000    as RFC 8259 wants it, and always valid UTF-8
//	nginx    a"b\x00 -> a\x22b\x00    what is neither printable ASCII nor a quote or backslash
//
// The query, and that of a URL in Referer, may hold secrets: redaction keeps the names.

import (
	"bytes"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// ordinary are the bytes that stand for themselves in a JSON string.
var ordinary = func() (t [256]bool) {
	for c := range utf8.RuneSelf {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// appendEscaped writes s as the inside of a JSON string (RFC 8259 §7). Bytes that are not
// UTF-8 become U+FFFD, and the two line separators of Unicode are escaped, so that a
// line stays one line for every reader.
func appendEscaped[T string | []byte](b []byte, s T) []byte {
	i := plainPrefix(s)
	if i == len(s) {
		return append(b, s...)
	}
	return appendSpecial(b, s, i)
}

// appendSpecial is appendEscaped for a text whose first i bytes stand for themselves.
func appendSpecial[T string | []byte](b []byte, s T, i int) []byte {
	from := 0
	for i < len(s) {
		c := s[i]
		if ordinary[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[from:i]...)
			b = appendEscape(b, c)
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' {
			b = append(b, s[from:i]...)
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			from = i + size
		}
		i += size
	}
	return append(b, s[from:]...)
}

// plainPrefix is how many bytes at the begin of s stand for themselves, eight at a time: nearly all
// texts are plain, and each line has half a dozen of them.
func plainPrefix[T string | []byte](s T) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		p := s[i : i+8]
		x := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		if !plain8(x) {
			break
		}
	}
	if n := len(s); n >= 8 && i > n-8 && i < n { // the last bytes together with some before them
		p := s[n-8:]
		x := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		if plain8(x) {
			return n
		}
	}
	for i < len(s) && ordinary[s[i]] {
		i++
	}
	return i
}

// plain8 reports whether none of the eight bytes of x is a control character, a quote, a backslash,
// or above ASCII. That a byte is less than n shows in its highest bit when n is subtracted; a
// borrow from a byte that is not plain may only add others.
func plain8(x uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := x^ones*'"', x^ones*'\\'
	return (x|(x-ones*' ')|(quote-ones)&^quote|(slash-ones)&^slash)&high == 0
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	default:
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
}

// appendHexed writes s as nginx's log_format does by default: quotes, backslashes and all that
// is not printable ASCII as \xXX.
func appendHexed[T string | []byte](b []byte, s T) []byte {
	const upper = "0123456789ABCDEF"
	from := 0
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > 0x7e || c == '"' || c == '\\' {
			b = append(b, s[from:i]...)
			b = append(b, '\\', 'x', upper[c>>4], upper[c&15])
			from = i + 1
		}
	}
	return append(b, s[from:]...)
}

// redacted stands for a value that may be secret.
const redacted = "…"

// An escaper appends text in the way of a format.
type escaper func(b, text []byte) []byte

// appendQuery writes a query, of which redact keeps the names only:
//
//	a=1&b&c=x=y -> a=…&b&c=…
func appendQuery(b, query []byte, redact bool, escape escaper) []byte {
	if !redact {
		return escape(b, query)
	}
	for {
		i := bytes.IndexByte(query, '=') // any & before it are behind names without values
		if i < 0 {
			return escape(b, query)
		}
		b = append(append(escape(b, query[:i]), '='), redacted...)
		query = query[i+1:]
		i = bytes.IndexByte(query, '&')
		if i < 0 {
			return b
		}
		query = query[i:]
	}
}

// appendURL writes a URL with its query as the format has queries; a fragment behind it goes with
// it.
func (f *Format) appendURL(b, url []byte, escape escaper) []byte {
	front, query, found := bytes.Cut(url, []byte("?"))
	b = escape(b, front)
	if found && f.query != dropQuery {
		b = appendQuery(append(b, '?'), query, f.query == redactQuery, escape)
	}
	return b
}
