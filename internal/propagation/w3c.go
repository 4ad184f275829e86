// Package propagation reads and writes the fields by which programs tell each other which trace a
// request belongs to: those of W3C Trace Context, and Zipkin's b3 in one field or in several.
//
//	traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//	b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1
//	X-B3-TraceId: 4bf92f3577b34da6a3ce929d0e0e4736, X-B3-SpanId: 00f067aa0ba902b7, X-B3-Sampled: 1
//
// Nothing here allocates, waits, or decides what to believe.
package propagation

import (
	"encoding/binary"
	"slices"
)

// A Context is what a request says of its trace. The zero value says nothing.
type Context struct {
	Trace    [16]byte // zero: it says none
	Parent   [8]byte  // the caller's span; zero: it says none
	Decision Decision
	// Random is the flag of W3C Trace Context level 2: the last 7 bytes of Trace are random.
	Random bool
}

// A Decision says whether the caller records its part of the trace.
type Decision uint8

// The decisions.
const (
	Undecided Decision = iota
	NotSampled
	Sampled
)

// Bits of the flags of traceparent.
const (
	flagSampled = 1
	flagRandom  = 2
)

// W3CBytes is the size of a traceparent, and SpanAt where its span is, 16 hex digits.
const (
	W3CBytes = 55
	SpanAt   = 36
)

// ParseW3C reads the value of traceparent. Of versions above 00 it reads what they have in common
// with 00, as the specification demands. false: the value is invalid, and says nothing.
func ParseW3C(v []byte) (c Context, ok bool) {
	if len(v) < W3CBytes || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	if !unhex(version[:], v[:2]) || version[0] == 0xff || !unhex(flags[:], v[53:55]) {
		return Context{}, false
	}
	if len(v) > W3CBytes && (version[0] == 0 || v[W3CBytes] != '-') {
		return Context{}, false
	}
	if !unhex(c.Trace[:], v[3:35]) || !unhex(c.Parent[:], v[36:52]) || c.Trace == [16]byte{} || c.Parent == [8]byte{} {
		return Context{}, false
	}
	c.Decision = NotSampled
	if flags[0]&flagSampled != 0 {
		c.Decision = Sampled
	}
	c.Random = flags[0]&flagRandom != 0
	return c, true
}

// Flags are those of traceparent: sampled, and whether the id is random.
func Flags(sampled, random bool) (b byte) {
	if sampled {
		b |= flagSampled
	}
	if random {
		b |= flagRandom
	}
	return b
}

// AppendW3C appends the value of traceparent, of version 00, W3CBytes long.
func AppendW3C(b []byte, trace *[16]byte, span *[8]byte, flags byte) []byte {
	n := len(b)
	b = append(b, "00-________________________________-________________-00"...)
	v := (*[W3CBytes]byte)(b[n:])
	hex16((*[32]byte)(v[3:]), trace)
	hex8((*[16]byte)(v[SpanAt:]), span)
	v[W3CBytes-1] += flags & (flagSampled | flagRandom)
	return b
}

// AppendHex appends v, of a multiple of 4 bytes, in hex digits.
func AppendHex(b, v []byte) []byte {
	n := len(b)
	b = slices.Grow(b, 2*len(v))[:n+2*len(v)]
	PutHex(b[n:], v)
	return b
}

// PutHex writes v, of a multiple of 4 bytes, in hex digits to the begin of dst.
func PutHex(dst, v []byte) {
	for ; len(v) >= 4; dst, v = dst[8:], v[4:] {
		binary.BigEndian.PutUint64(dst, hex4(binary.BigEndian.Uint32(v)))
	}
}

// hex16 and hex8 are PutHex for ids, whose length is known: each request has several.

func hex16(dst *[32]byte, v *[16]byte) {
	binary.BigEndian.PutUint64(dst[:], hex4(binary.BigEndian.Uint32(v[:])))
	binary.BigEndian.PutUint64(dst[8:], hex4(binary.BigEndian.Uint32(v[4:])))
	binary.BigEndian.PutUint64(dst[16:], hex4(binary.BigEndian.Uint32(v[8:])))
	binary.BigEndian.PutUint64(dst[24:], hex4(binary.BigEndian.Uint32(v[12:])))
}

func hex8(dst *[16]byte, v *[8]byte) {
	binary.BigEndian.PutUint64(dst[:], hex4(binary.BigEndian.Uint32(v[:])))
	binary.BigEndian.PutUint64(dst[8:], hex4(binary.BigEndian.Uint32(v[4:])))
}

// hex4 are the digits of four bytes, all at a time: each of its three steps doubles the distances
// between the digits.
func hex4(v uint32) uint64 {
	x := uint64(v)
	x = x&0xffff0000<<16 | x&0xffff
	x = x&0xff000000ff00<<8 | x&0xff000000ff
	x = x&0xf000f000f000f0<<4 | x&0xf000f000f000f
	letters := (x + 0x0606060606060606) >> 4 & 0x0101010101010101 // 1 in the bytes above 9
	return x + 0x3030303030303030 + letters*('a'-'0'-10)
}

// unhex decodes v, which must be hex digits in small letters for all of dst.
func unhex(dst, v []byte) bool {
	if len(v) != 2*len(dst) {
		return false
	}
	for i := range dst {
		hi, lo := digits[v[2*i]], digits[v[2*i+1]]
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

// digits has the value of each hex digit in small letters, and 0xff elsewhere.
var digits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()
