package grpcweb

// The translators of content. They see it in pieces as the network has cut it, and allocate nothing
// per piece: the room of a translator is used again, and goes back to a pool while a stream is quiet.
//
//	decoder    base64 to bytes. The client may pad wherever it likes: "AAAA" + "AA==" + "AAAA" is
//	           ten bytes
//	encoder    bytes to base64, padded where a flush is. Of "ab" "cd" "e", with a flush behind
//	           "cd", comes "YWJj" "ZA==" "ZQ=="
//	framer     bytes as they are, and the trailers as a last frame

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// errBase64 refuses content of a request.
var errBase64 error = &http1.Error{Status: 400, Reason: reason.BadContent}

// coding is that of RFC 4648 §4; bits that mean nothing must be zero.
var coding = base64.StdEncoding.Strict()

// A room is what a translator writes into. The zero room is empty.
type room struct{ b *[]byte }

// rooms are those that no translator needs at the moment.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// roomMax bounds what goes back into the pool. Pieces are as large as a read, 64 KiB at most.
const roomMax = 128 << 10

// take returns n bytes, whatever is in them, which are valid until the next take or free.
func (r *room) take(n int) []byte {
	if r.b == nil {
		r.b = rooms.Get().(*[]byte)
	}
	if cap(*r.b) < n {
		*r.b = make([]byte, n, n+n/4)
	}
	return (*r.b)[:n]
}

// free gives the room to others.
func (r *room) free() {
	if r.b != nil && cap(*r.b) <= roomMax {
		rooms.Put(r.b)
	}
	r.b = nil
}

// A decoder is the filter.Transform of a request in base64.
type decoder struct {
	room
	group [4]byte // of a group that is not complete
	n     int     // how many bytes of it are there
}

// Piece implements filter.Transform.
func (d *decoder) Piece(p []byte) ([]byte, error) {
	out := d.take((d.n + len(p)) / 4 * 3)[:0]
	if d.n > 0 {
		k := copy(d.group[d.n:], p)
		d.n += k
		if p = p[k:]; d.n < len(d.group) {
			return nil, nil
		}
		var ok bool
		if out, ok = appendDecoded(out, d.group[:]); !ok {
			return nil, errBase64
		}
	}
	whole := p[:len(p)&^3]
	d.n = copy(d.group[:], p[len(whole):])
	for len(whole) > 0 {
		k := len(whole) // up to the next padding, which ends its group
		if i := bytes.IndexByte(whole, '='); i >= 0 {
			k = i&^3 + 4
		}
		var ok bool
		if out, ok = appendDecoded(out, whole[:k]); !ok {
			return nil, errBase64
		}
		whole = whole[k:]
	}
	return out, nil
}

// appendDecoded appends what p, whole groups of which only the last may be padded, stands for. ok
// false: it stands for nothing.
func appendDecoded(dst, p []byte) (out []byte, ok bool) {
	n := len(p) / 4 * 3
	for _, c := range p[len(p)-2:] {
		if c == '=' {
			n--
		}
	}
	at := len(dst)
	dst = dst[:at+len(p)/4*3]
	got, err := coding.Decode(dst[at:], p)
	return dst[:at+n], err == nil && got == n // line ends, which Decode skips, make it less
}

// Flush implements filter.Flusher: a group that has only begun cannot go on.
func (d *decoder) Flush() ([]byte, error) {
	d.free()
	return nil, nil
}

// End implements filter.Transform.
func (d *decoder) End(trailers []message.Field) ([]byte, []message.Field, error) {
	d.free()
	if d.n > 0 {
		return nil, nil, errBase64
	}
	return nil, trailers, nil
}

// frames follows the messages of a response, each behind a prefix of five bytes: a flag and its
// length. The last frame must stand behind a whole message, or it is taken for the rest of one.
type frames struct {
	n    int    // bytes of the prefix that have passed; 0: between two messages
	left uint32 // of the length or, behind the prefix, of the message
}

const prefixSize = 5

// pass takes note of content that has passed.
func (f *frames) pass(p []byte) {
	for len(p) > 0 {
		if f.n == prefixSize {
			k := min(uint64(len(p)), uint64(f.left))
			f.left -= uint32(k)
			p = p[k:]
		} else {
			if f.n > 0 {
				f.left = f.left<<8 | uint32(p[0])
			}
			f.n++
			p = p[1:]
		}
		if f.n == prefixSize && f.left == 0 {
			f.n = 0
		}
	}
}

// errMessage ends a response that ends within a message: it is cut, so that the client sees it.
var errMessage error = &http1.Error{Status: 502, Reason: reason.BadContent}

// An encoder is the filter.Transform of a response in base64.
type encoder struct {
	room
	frames
	held [3]byte // bytes that are no whole group yet
	n    int     // how many: 0 to 2
}

// Piece implements filter.Transform.
func (e *encoder) Piece(p []byte) ([]byte, error) {
	e.pass(p)
	out := e.take((e.n + len(p)) / 3 * 4)
	rest := out
	if e.n > 0 {
		k := copy(e.held[e.n:], p)
		e.n += k
		if p = p[k:]; e.n < len(e.held) {
			return nil, nil
		}
		coding.Encode(rest, e.held[:])
		rest = rest[4:]
	}
	whole := len(p) / 3 * 3
	coding.Encode(rest, p[:whole])
	e.n = copy(e.held[:], p[whole:])
	return out, nil
}

// Flush implements filter.Flusher: what is held leaves, padded.
func (e *encoder) Flush() ([]byte, error) {
	e.free()
	if e.n == 0 {
		return nil, nil
	}
	out := e.take(4)
	coding.Encode(out, e.held[:e.n])
	e.n = 0
	return out, nil
}

// End implements filter.Transform.
func (e *encoder) End(trailers []message.Field) ([]byte, []message.Field, error) {
	if e.frames.n > 0 {
		return nil, nil, errMessage
	}
	all := appendTrailers(append([]byte(nil), e.held[:e.n]...), trailers)
	out := make([]byte, coding.EncodedLen(len(all)))
	coding.Encode(out, all)
	e.free()
	return out, nil, nil
}

// A framer is the filter.Transform of a response in bytes.
type framer struct{ frames }

// Piece implements filter.Transform.
func (f *framer) Piece(p []byte) ([]byte, error) {
	f.pass(p)
	return p, nil
}

// End implements filter.Transform.
func (f *framer) End(trailers []message.Field) ([]byte, []message.Field, error) {
	if f.n > 0 {
		return nil, nil, errMessage
	}
	return appendTrailers(nil, trailers), nil, nil
}

// trailerFlag is the first byte of a frame with trailers.
const trailerFlag = 0x80

// appendTrailers appends the last frame: one line for each trailer, with its name in small letters.
// Without trailers there is none: then the status was in the head, or there is none at all, which
// the client is to notice.
func appendTrailers(dst []byte, trailers []message.Field) []byte {
	at := len(dst)
	dst = append(dst, trailerFlag, 0, 0, 0, 0)
	for i := range trailers {
		f := &trailers[i]
		if f.Drop {
			continue
		}
		dst = append(append(dst, bytes.ToLower(f.Name)...), ": "...)
		dst = append(append(dst, f.Value...), "\r\n"...)
	}
	size := len(dst) - at - 5
	if size == 0 {
		return dst[:at]
	}
	binary.BigEndian.PutUint32(dst[at+1:], uint32(size))
	return dst
}
