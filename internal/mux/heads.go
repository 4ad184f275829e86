package mux

// Heads: what opens a stream, what answers it, and trailers. Each is decoded whole and in the order of
// arrival, also where it is of no use, since both sides keep the same table (RFC 9113 §4.3). As
// frames.go, all of it runs in the task that reads, with the lock held.

import (
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
)

// continued gathers a fragment of a head.
func (c *Conn) continued(f *http2.Frame) (*Stream, *http2.Error) {
	c.fragments++
	switch {
	case c.fragments == 1: // there is no head to continue
		return nil, errContinuation
	case c.fragments > fragmentsMost || len(c.block)+len(f.Payload) > c.limits().Bytes:
		return nil, errCalm
	}
	c.block = append(c.block, f.Payload...)
	if !f.EndHeaders() {
		return nil, nil
	}
	c.fragments = 0
	head := c.blockOf
	s, err := c.head(&head, c.block)
	if cap(c.block) > blockKept {
		c.block = nil
	}
	return s, err
}

// head handles a head that has come whole: f began it.
func (c *Conn) head(f *http2.Frame, block []byte) (*Stream, *http2.Error) {
	s := c.streams.of(f.Stream)
	switch {
	case s != nil:
		return nil, c.later(s, f, block)
	case c.server && c.idle(f.Stream):
		return c.open(f, block)
	case c.resets.has(f.Stream):
		return nil, c.skipHead(block)
	case c.idle(f.Stream):
		return nil, errIdleStream
	}
	return nil, errClosedStream
}

// skipHead decodes a head that is not used, for the sake of the table.
func (c *Conn) skipHead(block []byte) *http2.Error {
	room, err := c.decoder.Skip(c.skip[:0], block)
	if c.skip = room; cap(room) > blockKept {
		c.skip = nil
	}
	return connectionFault(err)
}

// faultOf is err, of package http2, whose errors all have that type; nil: there is none.
func faultOf(err error) *http2.Error {
	e, _ := err.(*http2.Error)
	return e
}

// connectionFault is err, of package http2, if it ends the connection.
func connectionFault(err error) *http2.Error {
	if e := faultOf(err); e != nil && e.Connection {
		return e
	}
	return nil
}

// open opens the stream of a request. Streams that were reset count until their task has ended,
// so a client that opens and resets cannot have more work under way than one that does not.
func (c *Conn) open(f *http2.Frame, block []byte) (*Stream, *http2.Error) {
	if f.Stream&1 == 0 {
		return nil, errStreamID
	}
	c.last = f.Stream
	if c.away || c.opened >= c.most || c.spares.held.Load() > 2*heldMost {
		c.appendReset(f.Stream, http2.RefusedStream)
		if err := c.skipHead(block); err != nil {
			return nil, err
		}
		return nil, c.charge(2)
	}
	s := c.newStream(f.Stream)
	room, err := c.decoder.Request(s.block[:0], block, f.EndStream(), &s.Request)
	s.block = room
	e := faultOf(err)
	if e != nil && e.Status == 0 {
		c.worker.put(s)
		if e.Connection {
			return nil, e
		}
		c.appendReset(f.Stream, e.Code)
		return nil, c.charge(faultCost)
	}
	s.Refused = e
	s.readEnd = f.EndStream()
	if s.Request.Body == message.Length {
		s.length = s.Request.Length
	}
	s.head = string(s.Request.Method) == "HEAD"
	c.guard.earned()
	c.streams.add(s)
	if c.opened++; c.last >= streamsEver && !c.leaving {
		c.left()
	}
	return s, nil
}

// later handles a head of a stream that is open: trailers, or of an endpoint a response's head.
func (c *Conn) later(s *Stream, f *http2.Frame, block []byte) *http2.Error {
	switch {
	case s.readEnd:
		return errClosedStream
	case s.left:
		c.appendReset(f.Stream, http2.StreamClosed)
		if err := c.skipHead(block); err != nil {
			return err
		}
		return c.charge(faultCost)
	case s.err != nil:
		return c.skipHead(block)
	case c.server || s.headed:
		return c.trailers(s, f, block)
	}
	return c.response(s, f, block)
}

// trailers handles a trailer section, which ends the stream's content.
func (c *Conn) trailers(s *Stream, f *http2.Frame, block []byte) *http2.Error {
	room, fields, err := c.decoder.Trailers(s.tail[:0], block, s.trailers[:0])
	s.tail, s.trailers = room, fields
	if fatal := connectionFault(err); fatal != nil {
		return fatal
	}
	if err != nil || !f.EndStream() || s.length >= 0 && s.got != s.length {
		s.reset(http2.ProtocolError, errTrailers)
		return c.charge(faultCost)
	}
	s.readEnd = true
	s.readable.Set()
	return nil
}

// response handles the head of a response, interim or final.
func (c *Conn) response(s *Stream, f *http2.Frame, block []byte) *http2.Error {
	h := s.nextHead()
	if h == nil {
		h = new(responseHead)
	}
	var method []byte
	switch {
	case s.head:
		method = methodHead
	case s.connect:
		method = methodConnect
	}
	room, err := c.decoder.Response(h.block[:0], block, f.EndStream(), method, &h.Response)
	h.block = room
	if e := faultOf(err); e != nil {
		if e.Connection {
			return e
		}
		s.reset(e.Code, e)
		return c.charge(faultCost)
	}
	if !s.keepHead(h) {
		s.reset(http2.EnhanceYourCalm, errInterims)
		return c.charge(faultCost)
	}
	if s.headed = h.Status >= 200; s.headed && h.Body == message.Length && !s.head {
		s.length = h.Length
	}
	s.readEnd = f.EndStream()
	s.readable.Set()
	return nil
}

var (
	methodHead    = []byte("HEAD")
	methodConnect = []byte("CONNECT")
)
