package h1

import (
	"github.com/poise-lb/poise/internal/buffer"
	"github.com/poise-lb/poise/internal/downstream"
)

// Protocol is HTTP/1.1, and HTTP/1.0.
var Protocol = &downstream.Protocol{Open: open}

// open is Protocol.Open: a connection that rests has no Conn, so one that was released
// serves whatever connection gets bytes next.
func open(o downstream.Opening, spare downstream.Conn) downstream.Conn {
	c, _ := spare.(*Conn)
	if c == nil {
		c = new(Conn)
		c.in.Own = c.room[:]
	}
	c.rt, c.stream, c.draining = o.Runtime, o.Stream, o.Draining
	c.in.Stream, c.in.Pinned, c.out.Stream = o.Stream, true, o.Stream
	spares := buffer.SparesOf(o.Runtime)
	c.in.Spares, c.out.Spares = spares, spares
	c.Configure(o.Settings)
	c.sent, c.persist = false, false
	if c.last.Load() {
		c.last.Store(false)
	}
	if !c.read.Load() {
		c.read.Store(true)
	}
	return c
}

// Configure has the next request held to other settings. It is called between exchanges.
func (c *Conn) Configure(t *downstream.Settings) {
	c.settings = t
	c.in.HeadMax = t.Limits.Bytes
	c.content.Limits = &t.Limits
}

// Rest prepares for a long wait for the next request: it holds no buffer then, and the
// time between requests begins. It does nothing, and returns false, when bytes of that
// request are here already.
func (c *Conn) Rest() bool {
	c.in.Unpin()
	if len(c.in.Buffered()) > 0 {
		return false
	}
	c.in.Release()
	c.stream.SetReadDeadline(c.rt.Now() + c.settings.Idle)
	return true
}

// Release lets go of a connection that rests or was closed.
func (c *Conn) Release() {
	c.rt, c.stream, c.draining, c.req = nil, nil, nil, nil
	c.settings, c.content.Limits = nil, nil
	c.in.Stream, c.out.Stream, c.in.Spares, c.out.Spares = nil, nil, nil, nil
}
