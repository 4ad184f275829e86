package h1

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
)

// Open makes c, which was closed, forgotten or never used, the owner of s. Once draining
// is set (nil: never), the response that is begun next is the connection's last.
func (c *Conn) Open(rt engine.Runtime, s engine.Stream, t *downstream.Settings, draining *atomic.Bool) {
	c.rt, c.stream, c.draining = rt, s, draining
	c.in.Stream, c.in.Pinned, c.out.Stream = s, true, s
	c.Configure(t)
	c.sent, c.persist = false, false
	c.last.Store(false)
	c.read.Store(true)
}

// Configure has what follows held to other settings: it is called between exchanges.
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

// Resume is Await after a Rest: it goes on with the time that began there.
func (c *Conn) Resume() error {
	err := c.in.Fill()
	if errors.Is(err, engine.ErrTimeout) {
		err = io.EOF
	}
	return err
}

// Forget lets go of a connection that rests or was closed, so that c can be used for
// another one.
func (c *Conn) Forget() {
	c.rt, c.stream, c.draining, c.req = nil, nil, nil, nil
	c.settings, c.content.Limits = nil, nil
	c.in.Stream, c.out.Stream = nil, nil
}
