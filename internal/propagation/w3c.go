// Package propagation reads and writes the fields by which programs tell each other which trace a
// request belongs to: those of W3C Trace Context, and Zipkin's b3 in one field or in several.
//
//	traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//	b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1
//	X-B3-TraceId: 4bf92f3577b34da6a3ce929d0e0e4736, X-B3-SpanId: 00f067aa0ba902b7, X-B3-Sampled: 1
//
// Nothing here allocates, waits, or decides what to believe.
package propagation

import "encoding/binary"

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
	PutTrace((*[32]byte)(v[3:]), trace)
	PutSpan((*[16]byte)(v[SpanAt:]), span)
	v[W3CBytes-1] += flags & (flagSampled | flagRandom)
	return b
}

// AppendTrace appends the id of a trace in hex digits.
func AppendTrace(b []byte, v *[16]byte) []byte {
	n := len(b)
	b = append(b, "________________________________"...)
	PutTrace((*[32]byte)(b[n:]), v)
	return b
}

// AppendSpan appends the id of a span in hex digits.
func AppendSpan(b []byte, v *[8]byte) []byte {
	n := len(b)
	b = append(b, "________________"...)
	PutSpan((*[16]byte)(b[n:]), v)
	return b
}

// PutTrace writes the id of a trace in hex digits. Like PutSpan it is unrolled: each request has several
// ids.
func PutTrace(dst *[32]byte, v *[16]byte) {
	binary.LittleEndian.PutUint64(dst[:], hex4((*[4]byte)(v[:])))
	binary.LittleEndian.PutUint64(dst[8:], hex4((*[4]byte)(v[4:])))
	binary.LittleEndian.PutUint64(dst[16:], hex4((*[4]byte)(v[8:])))
	binary.LittleEndian.PutUint64(dst[24:], hex4((*[4]byte)(v[12:])))
}

// PutSpan writes the id of a span in hex digits.
func PutSpan(dst *[16]byte, v *[8]byte) {
	binary.LittleEndian.PutUint64(dst[:], hex4((*[4]byte)(v[:])))
	binary.LittleEndian.PutUint64(dst[8:], hex4((*[4]byte)(v[4:])))
}

// hex4 are the digits of four bytes, the first in the lowest byte.
func hex4(v *[4]byte) uint64 {
	return uint64(pairs[v[0]]) | uint64(pairs[v[1]])<<16 | uint64(pairs[v[2]])<<32 | uint64(pairs[v[3]])<<48
}

// pairs has the two hex digits of each byte, the first in the lower byte.
var pairs = func() (t [256]uint16) {
	const digits = "0123456789abcdef"
	for i := range t {
		t[i] = uint16(digits[i>>4]) | uint16(digits[i&15])<<8
	}
	return t
}()

// unhex decodes v, which must be hex digits in small letters for all of dst.
func unhex(dst, v []byte) bool {
	if len(v) != 2*len(dst) {
		return false
	}
	wrong := byte(0) // gathers the upper bits of values, which digits do not have
	for i := range dst {
		hi, lo := digits[v[2*i]], digits[v[2*i+1]]
		wrong |= hi | lo
		dst[i] = hi<<4 | lo
	}
	return wrong <= 15
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
