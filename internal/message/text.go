package message

// The character classes of HTTP (RFC 9110 §5.5 and §5.6): tokens, field values, lists.

import (
	"encoding/binary"
	"math/bits"
)

// nameOK marks the bytes of a token: RFC 9110 §5.6.2.
var nameOK = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// lower maps A to Z to lower case and every other byte to itself.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// NameLen is the number of bytes at the start of b that may stand in a field name or
// another token (RFC 9110 §5.6.2).
func NameLen(b []byte) int {
	for i, c := range b {
		if !nameOK[c] {
			return i
		}
	}
	return len(b)
}

// ValidName reports whether b is a field name: a token, so not empty.
func ValidName(b []byte) bool { return len(b) > 0 && NameLen(b) == len(b) }

const (
	each  = 0x0101010101010101 // a one in each byte of a word
	highs = each << 7
)

// ValueLen is the number of bytes at the start of b that may stand in a field value:
// everything but the control bytes, of which only HTAB is allowed (RFC 9110 §5.5).
// Bytes above 0x7f are obs-text and pass.
//
// It looks at eight bytes at a time. The lowest marked byte of a word is always right;
// those above it may be marked by a borrow, and are not looked at. The highest bit of a byte is the
// same in word and del.
func ValueLen(b []byte) int {
	rest := b // which costs less than an index into b
	for len(rest) >= 8 {
		word := binary.LittleEndian.Uint64(rest)
		del := word ^ 0x7f*each
		marks := ((word - 0x20*each) | (del - each)) &^ word & highs
		if marks == 0 {
			rest = rest[8:]
			continue
		}
		at := bits.TrailingZeros64(marks) >> 3
		if rest[at] != '\t' {
			return len(b) - len(rest) + at
		}
		rest = rest[at+1:]
	}
	i := len(b) - len(rest)
	for i < len(b) && (b[i] >= 0x20 && b[i] != 0x7f || b[i] == '\t') {
		i++
	}
	return i
}

// ValidValue reports whether b may be sent as a field value: no control bytes but HTAB,
// no whitespace around it. It may be empty.
func ValidValue(b []byte) bool {
	return ValueLen(b) == len(b) && len(TrimSpace(b)) == len(b)
}

// TrimSpace cuts spaces and tabs (OWS, RFC 9110 §5.6.3) off both ends.
func TrimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// EqualFold reports whether b is s, if the case of ASCII letters does not count. Other
// letters do not fold: 'K' is not the Kelvin sign.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if c != s[i] && lower[c] != lower[s[i]] {
			return false
		}
	}
	return true
}

// NextToken cuts the first element off a comma-separated list (RFC 9110 §5.6.1), without
// the whitespace around it. Empty elements are skipped; token is nil at the end.
//
//	for token, rest := NextToken(list); token != nil; token, rest = NextToken(rest) {
func NextToken(list []byte) (token, rest []byte) {
	for len(list) > 0 {
		end := 0
		for end < len(list) && list[end] != ',' {
			end++
		}
		token, list = TrimSpace(list[:end]), list[min(end+1, len(list)):]
		if len(token) > 0 {
			return token, list
		}
	}
	return nil, nil
}

// HasToken reports whether the comma-separated list value has the given element, in any
// case. An element with parameters is another one.
func HasToken(value []byte, token string) bool {
	for t, rest := NextToken(value); t != nil; t, rest = NextToken(rest) {
		if EqualFold(t, token) {
			return true
		}
	}
	return false
}
