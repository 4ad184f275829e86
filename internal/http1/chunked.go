package http1

// The chunked coding (RFC 9112 §7.1), byte by byte where it is framing and in whole slices
// where it is data. Framing is read strictly: LF without CR, whitespace behind a size and sizes
// above 2^63 are errors, because two readers may disagree about them.

import (
	"bytes"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// chunkState is what a Decoder of chunked content expects next.
type chunkState uint8

const (
	inSize      chunkState = iota // digits of a chunk size
	inExtension                   // the rest of that line, up to CR
	inSizeEnd                     // the LF of that line
	inData                        // left bytes of chunk data
	inDataCR                      // CRLF after the data
	inDataLF
	inTrailers // field lines and the empty line
	atEnd
)

// extensionCredit is how many bytes of extensions are free; two more come with each byte of data.
const extensionCredit = 4 * limits.ChunkLineMax

// heldMax is how much room for trailers is kept from one message to the next.
const heldMax = 4 << 10

// nextChunked takes framing, data if there is some, and the framing after that.
func (d *Decoder) nextChunked(src []byte) (data []byte, n int, err error) {
	n = d.framing(src)
	if d.state == inData && d.err == nil && n < len(src) {
		size := int(min(int64(len(src)-n), d.left))
		data = src[n : n+size : n+size]
		n += size
		d.credit = min(d.credit+2*int64(size), extensionCredit)
		if d.left -= int64(size); d.left == 0 {
			d.state = inDataCR
			n += d.framing(src[n:])
		}
	}
	if d.err != nil && len(data) == 0 {
		return nil, n, d.err
	}
	return data, n, nil // the next call returns an error behind data
}

// framing takes what stands between data, and returns how many bytes that were.
func (d *Decoder) framing(src []byte) (n int) {
	for n < len(src) && d.err == nil {
		switch d.state {
		case inData, atEnd:
			return n
		case inTrailers:
			n += d.trailer(src[n:])
		default:
			d.step(src[n])
			n++
		}
	}
	return n
}

// step takes one byte of a chunk-size line or of the end of chunk data.
func (d *Decoder) step(c byte) {
	switch d.state {
	case inSize:
		d.size(c)
	case inExtension:
		d.extension(c)
	case inSizeEnd:
		if c != '\n' {
			d.err = errLineEnd
			return
		}
		d.state = inData
		if d.left == 0 {
			d.state = inTrailers
		}
	case inDataCR:
		if c != '\r' {
			d.err = errChunkEnd
		}
		d.state = inDataLF
	case inDataLF:
		if c != '\n' {
			d.err = errChunkEnd
		}
		d.state, d.line, d.digits = inSize, 0, 0
	}
}

// size takes a byte of a chunk size. Whitespace is allowed only before an extension.
func (d *Decoder) size(c byte) {
	if v := hexDigit[c]; v >= 0 {
		if d.digits++; d.digits > 16 || d.left > (1<<63-1)>>4 {
			d.err = errChunkSize
			return
		}
		d.left = d.left<<4 | int64(v)
		return
	}
	switch {
	case d.digits == 0:
		d.err = errChunkSize
	case c == '\r':
		d.state = inSizeEnd
	case c == ';', c == ' ', c == '\t':
		d.state = inExtension
		d.extension(c)
	case c == '\n':
		d.err = errLineEnd
	default:
		d.err = errChunkSize
	}
}

// extension takes a byte of chunk extensions, which are dropped. line counts them, and is
// positive from the semicolon on: only whitespace may stand before it.
func (d *Decoder) extension(c byte) {
	if c == '\r' {
		d.state = inSizeEnd
		if d.line <= 0 {
			d.err = errChunkExt
		}
		return
	}
	if d.line <= 0 {
		switch c {
		case ';':
			d.line = 1 - d.line
		case ' ', '\t':
			d.line--
		default:
			d.err = errChunkExt
		}
	} else {
		d.line++
	}
	d.credit--
	switch {
	case c == '\n':
		d.err = errLineEnd
	case c < 0x20 && c != '\t' || c == 0x7f:
		d.err = errChunkExt
	case d.digits+max(d.line, -d.line) > limits.ChunkLineMax:
		d.err = errChunkLine
	case d.credit < 0:
		d.err = errChunkExtMany
	}
}

// trailer takes bytes of the trailer section, at most one line of it.
func (d *Decoder) trailer(src []byte) (n int) {
	n = bytes.IndexByte(src, '\n') + 1
	ended := n > 0
	if !ended {
		n = len(src)
	}
	if len(d.held)+n > orDefault(d.Limits).Bytes {
		d.err = errTrailerBytes
		return 0
	}
	d.held = append(d.held, src[:n]...)
	if !ended {
		return n
	}
	line := d.held[d.lineFrom:]
	d.lineFrom = len(d.held)
	switch {
	case len(line) < 2 || line[len(line)-2] != '\r':
		d.err = errLineEnd
	case len(line) == 2:
		d.endTrailers()
	}
	return n
}

// endTrailers parses the whole section and keeps what may go on.
func (d *Decoder) endTrailers() {
	fields, n, err := parseFields(d.held, 0, d.trailers[:0], orDefault(d.Limits).Fields)
	if err == nil && n != len(d.held) {
		err = errLineEnd
	}
	if err != nil {
		d.err = err
		return
	}
	d.trailers = fields[:0]
	for _, f := range fields {
		if message.TrailerAllowed(f.Name) {
			d.trailers = append(d.trailers, f)
		}
	}
	d.state = atEnd
}

// hexDigit is the value of a hexadecimal digit, -1 for every other byte.
var hexDigit = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range int8(10) {
		t['0'+i] = i
	}
	for i := range int8(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()
