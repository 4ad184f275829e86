package nethttp

import (
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
)

// A client that is refused while it is still sending content must get the answer. net/http
// closes an HTTP/1.1 connection with content unread, and the reset that follows can take
// the answer away (RFC 9112 §9.6); in HTTP/2 it resets the stream, and some clients then
// forget the answer. So what a client goes on sending is read over for a while.

// Linger implements core.Owner.
func (c *client) Linger() {
	if !c.ended || c.cut || c.ContentRead() || c.expects && c.got == 0 {
		return
	}
	if c.r.ProtoMajor == 1 {
		c.lingerConn()
		return
	}
	c.lingerStream()
}

// streamFor is how long the end of a response waits for the client to take the rest.
const streamFor = 250 * time.Millisecond

// lingerStream sends all of the response but its end, with which net/http resets the stream
// (RFC 9113 §8.1). Some clients drop what they have not taken by then. A client that knows
// the length of the response ends the stream itself once it has all of it; for others the
// end comes a moment later. What the client sends meanwhile net/http throws away.
func (c *client) lingerStream() {
	if c.Flush() != nil {
		return
	}
	t := time.NewTimer(streamFor)
	defer t.Stop()
	select {
	case <-c.r.Context().Done():
	case <-t.C:
	}
}

// lingerConn takes the connection from net/http, once the response is complete, ends the
// sending side, and reads on.
func (c *client) lingerConn() {
	if c.Flush() != nil {
		return
	}
	conn, rw, err := c.ctl.Hijack()
	if err != nil {
		return // middleware hides the connection
	}
	conn.SetDeadline(time.Time{})
	s := c.rt.Stream(conn)
	defer s.Close()
	s.SetWriteDeadline(c.rt.Now() + c.settings.Stall)
	if c.chunked { // the end of which net/http has not written
		if _, err := s.Write(http1.AppendLastChunk(nil, c.trailed)); err != nil {
			return
		}
	}
	if rw.Writer.Flush() != nil || s.CloseWrite() != nil {
		return
	}
	c.setLingering(s)
	downstream.Linger(c.rt, s)
}

// setLingering has Interrupt end s. That the client has left does not count: net/http says so
// also where a read was stopped by a deadline, and s itself will tell.
func (c *client) setLingering(s engine.Stream) {
	c.watch.Lock()
	defer c.watch.Unlock()
	c.watch.lingers = true
	if c.watch.up = s; c.watch.why != nil && c.watch.why != engine.ErrClientGone {
		s.Interrupt(c.watch.why)
	}
}
