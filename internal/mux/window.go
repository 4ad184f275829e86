package mux

// Flow control (RFC 9113 §5.2) of what we receive. The connection's window is 2^30 and credited
// on receipt, so it never limits: one stream that is not read must not hold up the others. What
// limits is each stream's window. It begins small; when content comes that will not fit, it grows
// by a share of the connection's budget, so that a hundred streams cannot fill the memory and one
// is fast:
//
//	first stream with content     16 KiB + a quarter of 1 MiB
//	second, while it is open      16 KiB + a quarter of what is left
//	end of a stream               its share goes back
//
// Credit is given when the content was taken, at half a window, and not at all where the rest of
// the content fits into what the peer may send already. Above heldMost of all connections
// together windows do not grow, and above twice that new streams are refused.
//
// At any time, which a build with the tag invariants checks:
//
//	window = what the peer may send + content not taken + content taken and not credited

import (
	"fmt"

	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/invariants"
)

const (
	windowConn     = 1 << 30
	windowCredit   = 1 << 20  // of the connection: credited when so much has come
	windowClient   = 16 << 10 // of a client's stream, at first
	windowEndpoint = 64 << 10 // of an endpoint's
	budgetBytes    = 1 << 20  // of a connection, for the growth of windows
	growMin        = 16 << 10 // less is not worth a frame
	heldMost       = 64 << 20 // of all connections
)

// firstWindow is the window of a stream of the peer's content.
func (c *Conn) firstWindow() int {
	if c.server {
		return windowClient
	}
	return windowEndpoint
}

// received takes a DATA frame of s off its window; content is what of it is content. An error is
// of the stream. The lock is held.
func (s *Stream) received(f *http2.Frame) *http2.Error {
	if s.mayCome -= f.Size; s.mayCome < 0 {
		return errFlow
	}
	s.credit += f.Size - len(f.Payload) // padding is taken at once
	s.got += int64(len(f.Payload))
	if s.length >= 0 && (s.got > s.length || f.EndStream() && s.got != s.length) {
		return errContentLength
	}
	return nil
}

// grow lets the peer send more than the first window, once, if there is more to come. The lock is
// held.
func (s *Stream) grow() {
	c := s.c
	if s.grown != 0 || s.fits() {
		return
	}
	n := c.budget / 4
	if n < growMin || c.spares.held.Load() > heldMost {
		return
	}
	s.grown = n
	c.budget -= n
	s.mayCome += n
	c.appendUpdate(s.id, n)
}

// fits reports whether the rest of the content fits into what the peer may send already.
func (s *Stream) fits() bool {
	return s.length >= 0 && s.length-s.got <= int64(s.mayCome)
}

// took gives credit for content that was taken. The lock is held.
func (s *Stream) took() {
	if s.readEnd || s.err != nil || s.credit < (s.c.firstWindow()+s.grown)/2 || s.fits() {
		return
	}
	s.mayCome += s.credit
	s.c.appendUpdate(s.id, s.credit)
	s.credit = 0
}

// appendUpdate gathers WINDOW_UPDATE of a stream.
func (c *Conn) appendUpdate(id uint32, n int) {
	c.room(frameRoom)
	c.out = http2.AppendWindowUpdate(c.out, id, uint32(n))
	c.dirty()
}

// shrink gives the stream's share of the budget back.
func (s *Stream) shrink() {
	s.c.budget += s.grown
	s.grown = 0
}

// ledger panics if credit was lost or given twice.
func (s *Stream) ledger() {
	if !invariants.Enabled || s.err != nil {
		return
	}
	if sum := s.mayCome + s.held + s.credit; sum != s.c.firstWindow()+s.grown {
		panic(fmt.Sprintf("mux: stream %d: may come %d + held %d + credit %d is not %d", s.id, s.mayCome, s.held, s.credit, s.c.firstWindow()+s.grown))
	}
}
