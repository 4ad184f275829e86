package h1

import (
	"bytes"
	"io"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// A Decoder finds the content in the bytes after a head. The zero value is a Decoder for
// NoBody. It belongs to one task.
type Decoder struct {
	kind  message.Body
	state chunkState
	// left is what remains of the content (Length) or of the chunk (Chunked).
	left int64
	line int // bytes of the current chunk-size line
	// credit is how many more bytes of chunk extensions are tolerated; data earns it.
	// Without it a peer could keep us busy with chunks of one byte and 4 KiB of nothing.
	credit int64
	digits int
	err    *Error

	held     []byte // the trailer section so far
	lineFrom int    // where its last line starts in held
	trailers []message.Field
}

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

// Reset prepares d for the content of another message: kind and, if that is
// message.Length, its length.
func (d *Decoder) Reset(kind message.Body, length int64) {
	held, trailers := d.held[:0], d.trailers[:0]
	if cap(held) > heldMax {
		held, trailers = nil, nil
	}
	*d = Decoder{kind: kind, held: held, trailers: trailers}
	switch kind {
	case message.Length:
		d.left = length
	case message.Chunked:
		d.credit = extensionCredit
	}
}

// Next takes content from src. data is the part of src to pass on, n how many bytes of
// src are used up, framing included. Call it again with src[n:] until Done, or until
// neither data nor n came: then it needs more bytes. The error is an *Error and stays.
func (d *Decoder) Next(src []byte) (data []byte, n int, err error) {
	switch d.kind {
	case message.Length:
		n = int(min(int64(len(src)), d.left))
		d.left -= int64(n)
		return src[:n], n, nil
	case message.UntilClose:
		return src, len(src), nil
	case message.Chunked:
		return d.nextChunked(src)
	}
	return nil, 0, nil
}

// Done reports whether the whole content was seen, with its trailers. Content until the
// end of the connection is never done by itself: see EOF.
func (d *Decoder) Done() bool {
	switch d.kind {
	case message.Length:
		return d.left == 0
	case message.Chunked:
		return d.state == atEnd
	}
	return d.kind == message.NoBody
}

// EOF says what it means that the stream ended here: nil if the content is complete,
// io.ErrUnexpectedEOF if it was cut short.
func (d *Decoder) EOF() error {
	if d.kind == message.UntilClose || d.Done() {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// Remaining is how many bytes of content are still to come if that is known, else -1.
func (d *Decoder) Remaining() int64 {
	switch d.kind {
	case message.Length:
		return d.left
	case message.NoBody:
		return 0
	}
	return -1
}

// Trailers are the fields after chunked content that may be passed on: what RFC 9110
// §6.5.1 forbids there is left out. They are valid after Done, until the next Reset.
func (d *Decoder) Trailers() []message.Field { return d.trailers }

// nextChunked takes framing, data if there is some, and the framing after that.
func (d *Decoder) nextChunked(src []byte) (data []byte, n int, err error) {
	n = d.framing(src)
	if d.state == inData && d.err == nil && n < len(src) {
		size := int(min(int64(len(src)-n), d.left))
		data = src[n : n+size]
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
	return data, n, nil // an error behind data is told by the next call
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
	if len(d.held)+n > limits.HeadBytesMax {
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
	fields, n, err := parseFields(d.held, 0, d.trailers[:0])
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
