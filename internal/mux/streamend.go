package mux

// How a stream ends. Its owner closes it whatever its state; what the peer gets follows from
// how far both sides are:
//
//	both sides have ended                    nothing
//	the peer has reset it                    nothing
//	our response is complete, the request    RST_STREAM(NO_ERROR), when the client has seen the
//	is not                                   response
//	likewise, but all of the content has     nothing: END_STREAM is on its way. Some clients send
//	come that content-length has announced   it in a frame of its own, and break on the reset
//	anything else                            RST_STREAM(CANCEL)

import (
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
)

// Reset ends the stream with RST_STREAM.
func (s *Stream) Reset(code http2.Code) {
	s.c.lock.Lock()
	s.reset(code, engine.ErrClosed)
	s.c.lock.Unlock()
}

// reset ends the stream with RST_STREAM; err is what its waits fail with. The lock is held.
func (s *Stream) reset(code http2.Code, err error) {
	if s.id != 0 && s.c.err == nil && (s.err == nil || !s.known) {
		s.c.appendReset(s.id, code)
	}
	s.fail(err)
	s.known = true
}

// Close ends the use of the stream. A stream that is not over is reset: with CANCEL, or, a little
// later, with NO_ERROR if all of the response was sent and only the request's content is not wanted
// any more (RFC 9113 §8.1).
func (s *Stream) Close() {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	switch whole := s.readEnd && s.sentEnd; {
	case whole && s.err == nil:
		c.guard.ended()
	case s.id == 0 || s.err != nil && s.known:
	case c.server && s.sentEnd && s.err == nil && s.got == s.length:
		c.resets.add(s.id)
	case c.server && s.sentEnd && s.err == nil:
		c.answeredEarly(s.id)
	case s.enough: // the peer has reset it, with NO_ERROR
	default:
		s.reset(http2.Cancel, engine.ErrClosed)
	}
	c.drop(s)
}

// answeredEarly ends a stream whose response is complete before its request is. The client is told
// to stop sending when it has answered a PING, and so has seen the response: some clients drop a
// response that comes together with RST_STREAM (curl 7.88 does). Until then its window holds it.
// The lock is held.
func (c *Conn) answeredEarly(id uint32) {
	if len(c.early) >= c.most { // it answers no PING
		c.appendReset(id, http2.NoError)
		return
	}
	c.resets.add(id) // what it still sends is ignored
	c.early = append(c.early, id)
	if len(c.early) == 1 {
		c.pingEarly()
	}
}

// pingEarly asks whether the client has seen the responses of all streams in c.early.
func (c *Conn) pingEarly() {
	c.asked = len(c.early)
	c.appendPing(earlyPing[:], false)
}

// seenEarly is called when it has. The lock is held.
func (c *Conn) seenEarly() {
	for _, id := range c.early[:c.asked] {
		c.appendReset(id, http2.NoError)
	}
	c.early = append(c.early[:0], c.early[c.asked:]...)
	c.asked = 0
	if len(c.early) > 0 {
		c.pingEarly()
	}
}

// drop gives s back. The lock is held.
func (c *Conn) drop(s *Stream) {
	s.step()
	s.shrink()
	c.spares.held.Add(-int64(s.held))
	c.streams.remove(s)
	c.worker.put(s)
	if c.opened--; c.opened > 0 || c.err != nil {
		return
	}
	c.since = c.rt.Now()
	if !c.busy {
		c.giveOut()
	}
	c.endIfIdle()
	c.noStream()
}
