package mux

// A stream as the tasks use it that send.

import (
	"time"

	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
)

// Open returns a stream for a request to an endpoint. It waits for the endpoint's first
// SETTINGS, and where much is still to be written, until by; zero: without limit. It fails with
// ErrFull if the connection takes no further stream. Close must follow.
func (c *Conn) Open(by time.Duration) (*Stream, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	s := c.newStream(0)
	if c.opened++; c.opened == 1 {
		c.firstStream()
	}
	for {
		err := c.err
		switch {
		case err != nil:
		case c.away || c.last > streamsEver || c.settled && c.opened > c.openMost():
			err = ErrFull
		case c.settled && len(c.out) < fullBytes:
			s.window = int64(c.peer.Window)
			return s, nil
		default:
			s.stand(&c.openers)
			err = s.wait(s.writable, by)
		}
		if err != nil {
			s.step()
			c.drop(s)
			return nil, err
		}
	}
}

// Room is how many streams more may be opened.
func (c *Conn) Room() int {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.away || c.err != nil {
		return 0
	}
	return c.openMost() - c.opened
}

// openMost is how many streams may be open, of a client.
func (c *Conn) openMost() int { return int(min(int64(c.peer.MaxStreams), int64(c.most))) }

// Connects reports whether the peer takes extended CONNECT (RFC 8441), as its SETTINGS say.
func (c *Conn) Connects() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.peer.Connect
}

// SendRequest gathers the head of a request; scheme is http or https. end: it has no content.
// It leaves at Flush, or with others that do.
func (s *Stream) SendRequest(q *message.Request, scheme string, end bool) {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	if s.err != nil || c.err != nil || c.away {
		if s.err == nil {
			s.fail(ErrRefused)
		}
		return
	}
	// The identifier is given here, since a head of a higher one must not overtake it.
	if c.last == 0 {
		c.last = 1
	} else {
		c.last += 2
	}
	s.id = c.last
	c.streams.add(s)
	s.window = int64(c.peer.Window)
	s.head, s.connect = string(q.Method) == "HEAD", string(q.Method) == "CONNECT"
	s.headIn = c.turn
	at := s.mark(headRoom)
	c.out = c.encoder.Request(http2.BeginHeaders(c.out), q, scheme)
	s.finish(at, end)
	if end {
		c.dirty()
	}
}

// SendResponse gathers the head of a response, interim or final. It waits, until by, where much is
// still to be written. end: it has no content.
func (s *Stream) SendResponse(r *message.Response, end bool, by time.Duration) error {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	for len(c.out) >= fullBytes && s.err == nil {
		s.stand(&c.openers)
		if err := s.wait(s.writable, by); err != nil {
			s.step()
			return err
		}
	}
	if s.err != nil {
		return s.err
	}
	at := s.mark(headRoom)
	c.out = c.encoder.Response(http2.BeginHeaders(c.out), r, s.head)
	s.finish(at, end)
	if end {
		c.dirty()
	}
	return nil
}

// mark notes that a frame of s, of about n bytes, begins at the end of the buffer. The lock is
// held.
func (s *Stream) mark(n int) (at int) {
	s.c.room(n)
	s.markAt, s.markIn = len(s.c.out), s.c.turn
	return s.markAt
}

// finish ends a head that begins at at.
func (s *Stream) finish(at int, end bool) {
	c := s.c
	c.out = http2.FinishHeaders(c.out, at, s.id, end, c.peer.FrameSize)
	s.sentEnd = s.sentEnd || end
}

// Write sends content, or gathers it: see Flush. It waits for the windows and its turn; by bounds
// each wait, zero: nothing does. It fails with ErrEnough if the peer wants no more, and with
// engine.ErrTimeout if the peer takes nothing.
func (s *Stream) Write(p []byte, by time.Duration) error {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	for len(p) > 0 {
		switch {
		case s.err != nil:
			return s.err
		case s.enough:
			return ErrEnough
		}
		n := s.may(len(p))
		if n == 0 {
			if err := s.wait(s.writable, by); err != nil {
				s.step()
				return err
			}
			continue
		}
		s.mark(http2.HeaderLen + n)
		c.out = http2.AppendData(c.out, s.id, p[:n], false)
		p = p[n:]
		s.window -= int64(n)
		c.window -= int64(n)
		s.sent = min(s.sent+n, turnBytes)
		c.guard.sent()
		s.turn = max(s.turn-n, 0)
		if len(c.out) >= turnBytes {
			c.dirty()
		}
	}
	return nil
}

// may is how much of n bytes of content s may append now: see write.go. 0: it has been put in a
// line, or waits for its window. The lock is held.
func (s *Stream) may(n int) int {
	c := s.c
	n = int(min(int64(n), s.window, c.window, http2.FrameSizeMin))
	switch {
	case s.window <= 0:
		return 0
	case n <= 0:
		s.stand(&c.starved)
		return 0
	case s.sent < turnBytes && len(c.out) < fullBytes: // short content goes first
		return min(n, turnBytes-s.sent)
	case s.turn > 0:
		return min(n, s.turn)
	case len(c.out) == 0 && len(c.line) == 0:
		s.turn = turnAlone
		return min(n, s.turn)
	}
	s.stand(&c.line)
	c.dirty()
	return 0
}

// Flush has what is gathered leave. It does not wait.
func (s *Stream) Flush() error {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	if len(c.out) > 0 {
		c.dirty()
	}
	return s.err
}

// End ends our side, with trailers if there are any, and flushes it. That costs no frame if the
// last one is still here.
func (s *Stream) End(trailers []message.Field) error {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	if s.err != nil || s.sentEnd {
		return s.err
	}
	s.sentEnd = true
	switch {
	case s.enough: // the peer has closed the stream: nothing may follow
		return nil
	case len(trailers) > 0 && anyField(trailers):
		at := s.mark(headRoom)
		c.out = c.encoder.Trailers(http2.BeginHeaders(c.out), trailers)
		s.finish(at, true)
	case s.markIn == c.turn && s.markAt < len(c.out):
		http2.SetEndStream(c.out, s.markAt)
	default:
		c.room(frameRoom)
		c.out = http2.AppendData(c.out, s.id, nil, true)
	}
	c.dirty()
	return nil
}

func anyField(fields []message.Field) bool {
	for i := range fields {
		if !fields[i].Drop {
			return true
		}
	}
	return false
}

// Unprocessed reports whether the peer has certainly not seen the request: its head has not left,
// or the peer says so.
func (s *Stream) Unprocessed() bool {
	c := s.c
	c.lock.Lock()
	defer c.lock.Unlock()
	return s.err == ErrRefused || s.id == 0 || s.headIn == c.turn && !c.broken
}
