package http1

// Where a message ends. A Decoder is handed what was read and says which part of it is
// content, for each of the three framings: a length, chunks, the end of the connection.

import (
	"io"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// A Decoder finds the content in the bytes after a head. The zero value is a Decoder for
// NoBody. It belongs to one task.
type Decoder struct {
	// Limits bound a trailer section as they do a head; nil: limits.Default. Reset keeps them.
	Limits *limits.Head

	kind   message.Body
	state  chunkState
	digits int32 // of the current chunk size
	line   int32 // bytes after it; below zero while they are whitespace
	// left is what remains of the content (Length) or of the chunk (Chunked).
	left int64

	// credit is how many more bytes of chunk extensions are tolerated; data earns it.
	// Without it a peer could keep us busy with chunks of one byte and 4 KiB of nothing.
	credit int64
	err    *Error

	held     []byte // the trailer section so far
	lineFrom int    // where its last line starts in held
	trailers []message.Field
}

// Reset prepares d for the content of another message: kind and, if that is
// message.Length, its length.
func (d *Decoder) Reset(kind message.Body, length int64) {
	if d.kind == message.Chunked { // the other kinds have no more state than is set below
		held, trailers := d.held[:0], d.trailers[:0]
		if cap(held) > heldMax {
			held, trailers = nil, nil
		}
		*d = Decoder{Limits: d.Limits, held: held, trailers: trailers}
	}
	d.kind, d.left, d.credit = kind, 0, extensionCredit
	if kind == message.Length {
		d.left = length
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
		return src[:n:n], n, nil
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

// Skip says that the next n bytes of the content went another way and will not be given
// to Next. It is for content with a length, of which at least n bytes must remain: a
// caller that has lost count would take what follows for content, so Skip panics.
func (d *Decoder) Skip(n int64) {
	if d.kind != message.Length || n < 0 || n > d.left {
		panic("h1: more content skipped than there is")
	}
	d.left -= n
}

// Trailers are the fields after chunked content that may be passed on: what RFC 9110
// §6.5.1 forbids there is left out. They are valid after Done, until the next Reset.
func (d *Decoder) Trailers() []message.Field { return d.trailers }
