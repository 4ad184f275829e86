package h1

import (
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// Source is the stream whose next bytes are the response's content as it is, and how many
// of them; zero: they are not, or their number is not known, or some have been read already.
// While nothing is buffered no buffer is held either.
func (c *Conn) Source() (from engine.Stream, left int64) {
	if len(c.in.Buffered()) > 0 || c.content.Done() {
		return nil, 0
	}
	c.in.Unpin()
	c.in.Release()
	return c.stream, max(c.content.Remaining(), 0)
}

// Taken says that the next n bytes of the content were taken from the Source, and why no
// more can be, if so.
func (c *Conn) Taken(n int64, why error) {
	c.content.Skip(n)
	if why != nil {
		c.persist = false
	}
}

// Sink is the stream that takes the request's content as it is, behind what has been
// flushed; nil: there is none.
func (c *Conn) Sink() engine.Stream {
	if c.request != message.Length || len(c.out.Out) > 0 {
		return nil
	}
	return c.stream
}
