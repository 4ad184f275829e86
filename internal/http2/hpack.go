package http2

// The primitives of HPACK (RFC 7541 §5), and what is known of a field without looking at its
// bytes again.

import "github.com/poise-lb/poise/internal/message"

// How a field is represented: the first bits of its first byte (RFC 7541 §6).
const (
	indexed      = 0x80 // 7 bits of an index
	incremental  = 0x40 // literal, goes into the table: 6 bits of the name's index
	sizeUpdate   = 0x20 // 5 bits of a size
	neverIndexed = 0x10 // literal: 4 bits of the name's index
	notIndexed   = 0x00 // likewise

	huffmanCoded = 0x80 // of a string: 7 bits of its length
)

// readInt reads an integer with a prefix of so many bits at the start of p, which is not
// empty (RFC 7541 §5.1). Four bytes may follow the first: more than any index, size or
// length here can need.
func readInt(p []byte, prefix uint) (n uint32, rest []byte, _ *Error) {
	most := uint32(1)<<prefix - 1
	n, p = uint32(p[0])&most, p[1:]
	if n < most {
		return n, p, nil
	}
	for shift := uint(0); shift < 28; shift += 7 {
		if len(p) == 0 {
			return 0, nil, errTruncated
		}
		c := p[0]
		n, p = n+uint32(c&0x7f)<<shift, p[1:]
		if c&0x80 == 0 {
			return n, p, nil
		}
	}
	return 0, nil, errInteger
}

// appendInt appends n with a prefix of so many bits; first has the bits before it.
func appendInt(dst []byte, first byte, prefix uint, n uint32) []byte {
	most := uint32(1)<<prefix - 1
	if n < most {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// readString appends the string at the start of p to dst (RFC 7541 §5.2).
func readString(dst, p []byte) (_, rest []byte, _ *Error) {
	if len(p) == 0 {
		return dst, nil, errTruncated
	}
	coded := p[0]&huffmanCoded != 0
	n, p, err := readInt(p, 7)
	if err != nil {
		return dst, nil, err
	}
	if uint64(n) > uint64(len(p)) {
		return dst, nil, errTruncated
	}
	if !coded {
		return append(dst, p[:n]...), p[n:], nil
	}
	dst, ok := appendHuffman(dst, p[:n])
	if !ok {
		return dst, nil, errHuffman
	}
	return dst, p[n:], nil
}

// appendString appends s as it is.
func appendString(dst, s []byte) []byte {
	dst = appendInt(dst, 0, 7, uint32(len(s)))
	return append(dst, s...)
}

// A pseudo says which pseudo-field a field is (RFC 9113 §8.3).
type pseudo uint8

const (
	regular pseudo = iota
	authority
	method
	path
	scheme
	status
	protocol
	unknownPseudo
)

// meta is what is known of a field's name and value. It is found once, when they are decoded,
// and stays with them in the table, so that a field that is only an index
// needs no look at its bytes.
type meta struct {
	kind   message.Kind
	pseudo pseudo
	static uint8 // index of the name in the static table; 0: it is not there
	faults faults
}

// faults are what a message may not have, and how a field came.
type faults uint8

const (
	badName faults = 1 << iota
	badValue
	secret // came as a literal that is never indexed
)

// metaOf finds what is to be known of a name.
func metaOf(name []byte) meta {
	if len(name) > 0 && name[0] == ':' {
		return meta{pseudo: pseudoOf(name)}
	}
	m := meta{kind: message.KindOf(name)}
	if !validName(name) {
		m.faults = badName
	}
	return m
}

func pseudoOf(name []byte) pseudo {
	switch string(name) {
	case ":authority":
		return authority
	case ":method":
		return method
	case ":path":
		return path
	case ":scheme":
		return scheme
	case ":status":
		return status
	case ":protocol":
		return protocol
	}
	return unknownPseudo
}

// validName reports whether name is a token without capital letters (RFC 9113 §8.2.1).
func validName(name []byte) bool {
	if !message.ValidName(name) {
		return false
	}
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}
