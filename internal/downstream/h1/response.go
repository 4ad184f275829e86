package h1

import (
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
)

// Interim writes a 1xx response at once; a client of HTTP/1.0 knows none (RFC 9110 §15.2).
func (c *Conn) Interim(r *message.Response) error {
	if c.req.Minor == 0 {
		return nil
	}
	c.out.Room()
	c.out.Out = http1.AppendResponse(c.out.Out, r, http1.ResponseTo{Minor: c.req.Minor})
	return c.Flush()
}

// Head gathers the final response head; it leaves with the first content, or at Flush.
// A client of HTTP/1.0 gets content without a length delimited by the connection's end, and
// every client a Date (RFC 9110 §6.6.1).
func (c *Conn) Head(r *message.Response) error {
	c.sent = true
	c.dated.Date(r, c.settings.Clock)
	if !c.persist || !c.ContentRead() || c.draining != nil && c.draining.Load() {
		c.last.Store(true)
	}
	if r.Body == message.UntilClose {
		r.Body = message.Chunked
	}
	if r.Body == message.Chunked && c.req.Minor == 0 {
		r.Body = message.UntilClose
		c.last.Store(true)
	}
	c.response = r.Body
	c.out.Room()
	c.out.Out = http1.AppendResponse(c.out.Out, r, http1.ResponseTo{
		Minor: c.req.Minor,
		Close: c.last.Load(),
		Head:  string(c.req.Method) == "HEAD",
	})
	return nil
}

// Write writes content as the head has announced it.
func (c *Conn) Write(p []byte) error {
	if !c.out.Fits(len(p) + http1.ChunkOverhead) {
		c.bound()
	}
	if c.response != message.Chunked {
		return c.out.Write(p)
	}
	if err := c.out.Reserve(len(p) + http1.ChunkOverhead); err != nil {
		return err
	}
	c.out.Out = http1.AppendChunk(c.out.Out, p)
	return nil
}

// Flush writes what has been gathered.
func (c *Conn) Flush() error {
	if len(c.out.Out) == 0 {
		return nil
	}
	c.bound()
	return c.out.Flush()
}

func (c *Conn) bound() { c.stream.SetWriteDeadline(c.rt.Now() + c.settings.Stall) }

// End ends the response.
func (c *Conn) End(trailers []message.Field) error {
	if c.response == message.Chunked {
		c.out.Room()
		c.out.Out = http1.AppendLastChunk(c.out.Out, trailers)
	}
	return c.Flush()
}

// Continue tells the client to send the content it holds back (RFC 9110 §10.1.1).
func (c *Conn) Continue() error {
	return c.Interim(&message.Response{Status: 100, Reason: []byte("Continue")})
}

// Upgrade writes the 101 head and gives the connection away, with the bytes the client
// has sent already. What the request's slices are in is given back: tunnels are open for long.
func (c *Conn) Upgrade(r *message.Response) (engine.Stream, []byte, error) {
	c.sent = true
	c.last.Store(true)
	c.out.Room()
	c.out.Out = http1.AppendResponse(c.out.Out, r, http1.ResponseTo{Minor: c.req.Minor})
	if err := c.Flush(); err != nil {
		return nil, nil, err
	}
	early := append([]byte(nil), c.in.Buffered()...)
	c.in.Drop()
	c.stream.SetReadDeadline(0)
	c.stream.SetWriteDeadline(0)
	return c.stream, early, nil
}

// Watch has up interrupted with engine.ErrClientGone when the client leaves. A FIN within
// content is found by reading it.
func (c *Conn) Watch(up engine.Interrupter) {
	if c.settings.FINLeaves {
		c.rt.Watch(c.stream, up)
		return
	}
	c.rt.WatchReset(c.stream, up)
}

// Unwatch ends Watch.
func (c *Conn) Unwatch(up engine.Interrupter) { c.rt.Unwatch(c.stream, up) }

// Sent reports whether the final head has been given to Head or Upgrade.
func (c *Conn) Sent() bool { return c.sent }

// Protocol is the version that the request has named; HTTP/1.1 if its head is not understood.
func (c *Conn) Protocol() string {
	if c.old {
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// CloseAfter makes the response of this exchange the connection's last.
func (c *Conn) CloseAfter() { c.last.Store(true) }

// Last reports whether the connection takes no further request.
func (c *Conn) Last() bool { return c.last.Load() }

// Cut ends a response that cannot be completed so that the client can tell: content with
// a length or in chunks by ending early, content until close only by a reset.
func (c *Conn) Cut() {
	c.last.Store(true)
	if c.response == message.UntilClose {
		c.out.Drop()
		c.stream.Abort()
		return
	}
	c.Flush()
}

// Close ends the connection, unless the client is still sending: then it ends the sending
// side only, and returns true. The caller is to read what comes, see downstream.Linger, and to
// close the stream afterwards. The buffers are given back in any case.
func (c *Conn) Close() (lingers bool) {
	lingers = c.sent && !c.ContentRead() && c.stream.CloseWrite() == nil
	if !lingers {
		c.stream.Close()
	}
	c.in.Drop()
	c.out.Drop()
	return lingers
}
