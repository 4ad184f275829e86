// Package h1 is HTTP/1.1 as clients speak it: Protocol opens a Conn on a stream, which core
// serves and which is the client of one exchange after the other. The codec is internal/http1.
// A connection holds no buffer while it has nothing to read or write, so that an idle one
// costs little.
package h1

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/buffer"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// A Conn is a downstream.Conn, and all three parts of the downstream.Client of the exchange
// between two calls of Next. Content may be called by a forked task while another writes the
// response; all else belongs to the task that called Next.
type Conn struct {
	rt       engine.Runtime
	stream   engine.Stream
	settings *downstream.Settings
	in       buffer.Reader
	out      buffer.Writer
	room     [ownBytes]byte // for the head of a request

	req     *message.Request
	content http1.Decoder
	read    atomic.Bool // the request's content has been read to its end
	stopped atomic.Bool // StopContent was called
	paused  atomic.Bool // Pause was
	last    atomic.Bool // no further request on this connection

	old      bool         // the request is one of HTTP/1.0
	persist  bool         // the client lets the connection persist
	response message.Body // how the response's content is delimited on this wire
	sent     bool         // the final response head has been written
	dated    downstream.Dated
	draining *atomic.Bool // every response is the last of its connection; may be nil
}

// ownBytes is the room for a head in a Conn, which waits in no pool by itself: most heads fit.
const ownBytes = 512

// Await waits for the first byte of a request: see downstream.Conn. After a Rest it goes on
// with the time that began there. While it waits it holds no buffer.
func (c *Conn) Await(resumed bool) (ready bool, err error) {
	if !resumed && !c.Rest() {
		return true, nil
	}
	if err := c.in.Fill(); err != nil {
		if errors.Is(err, engine.ErrTimeout) {
			err = c.fillLate(err)
		}
		if errors.Is(err, engine.ErrTimeout) {
			err = io.EOF
		}
		return err == nil, err
	}
	return true, nil
}

// lateFor is how long fillLate may take: there is something to read.
const lateFor = time.Second

// fillLate is called when a Fill has met its deadline, which is timeout. Where bytes of the client are
// here all the same, this process was too late to read them, and they are read now: a client whose
// request came in time is not told that it did not.
func (c *Conn) fillLate(timeout error) error {
	if c.stream.Quiet() {
		return timeout
	}
	c.stream.SetReadDeadline(c.rt.Now() + lateFor)
	return c.in.Fill()
}

// Next reads a request head, whose first byte Await has seen, into q: see downstream.Conn.
func (c *Conn) Next(q *message.Request, client *downstream.Client) error {
	client.RequestContent, client.ResponseWriter, client.Connection = c, c, c
	c.req = q
	c.response, c.sent, c.old = message.NoBody, false, false
	if c.stopped.Load() { // a store costs much more than a load
		c.stopped.Store(false)
	}
	seen, late := 0, false
	for heading := false; ; heading = true {
		head := c.in.Buffered()
		n, err := http1.ParseRequest(head, seen, q, &c.settings.Limits)
		seen = len(head)
		if err != nil {
			return c.refuse(prefaced(head, err))
		}
		if n > 0 {
			c.in.Pin(n)
			c.persist, c.old = q.KeepAlive, q.Minor == 0
			c.content.Reset(q.Body, q.Length)
			if empty := q.Body == message.NoBody; c.read.Load() != empty {
				c.read.Store(empty)
			}
			return nil
		}
		if !heading { // nearly every head arrives at once: the clock is read for the others only
			c.stream.SetReadDeadline(c.rt.Now() + c.settings.Head)
		}
		if err = c.in.Fill(); err == nil {
			continue
		}
		if !late && errors.Is(err, engine.ErrTimeout) {
			late = true
			err = c.fillLate(err)
		}
		switch {
		case errors.Is(err, buffer.ErrHeadTooLarge):
			return c.refuse(&http1.Error{Status: 431, Reason: reason.HeadTooLarge})
		case errors.Is(err, engine.ErrTimeout):
			return c.refuse(&http1.Error{Status: 408, Reason: reason.HeadTimeout})
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// preface is what a connection begins with that speaks HTTP/2 without having agreed on it (RFC 9113
// §3.3), as far as it takes to see that it is no request: the end of the line may not have come.
const preface = "PRI * HTTP/2.0"

// prefaced is err, of the request at the start of head, as a downstream.Preface if it is one.
func prefaced(head []byte, err error) error {
	if len(head) >= len(preface) && string(head[:len(preface)]) == preface {
		return &downstream.Preface{Err: err}
	}
	return err
}

// Take returns what has been read and not used. It is valid until the Conn is released, which
// must follow.
func (c *Conn) Take() []byte { return c.in.Buffered() }

// refuse makes the answer to a head that was not understood the last one.
func (c *Conn) refuse(err error) error {
	c.last.Store(true)
	c.read.Store(false)
	return err
}

// Content returns the next piece of the request's content, valid until the next call,
// and io.EOF after the last. With wait false it returns nil, nil rather than wait.
func (c *Conn) Content(wait bool) ([]byte, error) {
	for {
		if c.content.Done() {
			if !c.read.Load() {
				c.read.Store(true)
			}
			return nil, io.EOF
		}
		data, n, err := c.content.Next(c.in.Buffered())
		if err != nil {
			c.last.Store(true)
			return nil, err
		}
		c.in.Advance(n)
		if c.content.Done() {
			c.read.Store(true)
		}
		switch {
		case len(data) > 0:
			return data, nil
		case n > 0:
			continue
		case !wait:
			return nil, nil
		}
		c.stream.SetReadDeadline(c.rt.Now() + c.settings.Stall)
		if c.stopped.Load() || c.paused.Load() { // asked after the deadline is set: theirs must win
			return nil, engine.ErrTimeout
		}
		if err := c.in.Fill(); err != nil {
			if c.paused.Load() && errors.Is(err, engine.ErrTimeout) {
				return nil, err // nothing was read: the next call goes on here
			}
			c.last.Store(true)
			if err == io.EOF {
				err = engine.ErrClientGone
			}
			return nil, err
		}
	}
}

// ContentRead reports whether the content has been read to its end. Any task may ask.
func (c *Conn) ContentRead() bool { return c.read.Load() }

// Trailers are the request's trailer fields, after Content returned io.EOF.
func (c *Conn) Trailers() []message.Field { return c.content.Trailers() }

// StopContent makes a Content that waits in another task return with engine.ErrTimeout.
func (c *Conn) StopContent() {
	c.stopped.Store(true)
	c.stream.SetReadDeadline(c.rt.Now())
}

// Pause ends a wait for content that goes on later: see downstream.Pauser.
func (c *Conn) Pause(on bool) {
	c.paused.Store(on)
	if on {
		c.stream.SetReadDeadline(c.rt.Now())
	}
}

// Resumable reports whether Pause has ended the wait. The connection of a client that has sent
// nothing for timeouts.stall takes no further request.
func (c *Conn) Resumable() bool { return c.paused.Load() }

// Skip reads over content that has arrived, so that a response which does not need it
// costs no connection. It must not be called while another task reads the content. Where
// the connection is lost anyway, Close reads over the rest.
func (c *Conn) Skip() {
	for !c.last.Load() {
		if data, err := c.Content(false); err != nil || data == nil {
			return
		}
	}
}
