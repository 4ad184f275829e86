// Package h1 is HTTP/1.1 towards endpoints: a bounded pool of connections to each endpoint, and
// on each connection one request and its response after the other.
package h1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/poise-lb/poise/internal/buffer"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/upstream"
)

// A Conn is one connection to an endpoint, and the upstream.Call that it carries: one after
// the other. One task may send while another receives.
type Conn struct {
	stream engine.Stream

	rt        engine.Runtime
	pool      *Pool
	stall     time.Duration
	idleSince time.Duration
	idleMost  time.Duration // how long the endpoint keeps it open; 0: it did not say

	reused   bool         // it was open before the present call
	asked    bool         // it has been given a request head by the present call
	request  message.Body // how the request's content is delimited
	out      buffer.Writer
	in       buffer.Reader
	content  http1.Decoder
	received bool // a byte of the present response has arrived
	persist  bool // the endpoint lets the connection persist
	finished bool // the response has been read to its end

	secure *tls.Config    // Settings.TLS when it was made
	bond   *upstream.Bond // not nil: it belongs to one client's connection
	// announced: the endpoint was told by the PROXY protocol who the client is. That is why there
	// is a bond, which is replaced if the endpoint authenticates the connection, too.
	announced bool
}

var (
	_ upstream.Call     = (*Conn)(nil)
	_ upstream.Tunneler = (*Conn)(nil)
)

func newConn(rt engine.Runtime, p *Pool, s engine.Stream, t *target) *Conn {
	spares := buffer.SparesOf(rt)
	c := &Conn{
		stream: s, rt: rt, pool: p, secure: t.TLS,
		in: buffer.Reader{Stream: s, Spares: spares}, out: buffer.Writer{Stream: s, Spares: spares},
	}
	c.configure(t)
	return c
}

// configure has the next exchange held to these settings.
func (c *Conn) configure(t *target) {
	c.stall = t.StallTimeout
	c.content.Limits, c.in.HeadMax = nil, 0 // as by default
	if t.Limits != (limits.Head{}) {
		c.content.Limits, c.in.HeadMax = &t.Limits, t.Limits.Bytes
	}
}

// idleUntil is when an idle connection is not to be used any more: an endpoint that closes
// it at the same moment would take a request with it.
func (c *Conn) idleUntil(t *target) time.Duration {
	most := t.IdleTimeout
	if c.idleMost > 0 {
		most = min(most, c.idleMost)
	}
	return c.idleSince + most
}

func (c *Conn) reuse(t *target) {
	c.configure(t)
	c.reused, c.asked, c.received, c.persist, c.finished = true, false, false, false, false
	c.out.Wrote = false
}

// Interrupt makes waits for the endpoint fail with err, for good.
func (c *Conn) Interrupt(err error) { c.stream.Interrupt(err) }

// Stale implements upstream.Call.
func (c *Conn) Stale() bool { return c.reused && !c.received }

// Unprocessed reports whether no byte of a request has left the proxy on this connection. It is
// asked when writing is over.
func (c *Conn) Unprocessed() bool { return !c.out.Wrote }

// Refusable implements upstream.Call: once bytes have left, HTTP/1.1 cannot tell.
func (c *Conn) Refusable() bool { return false }

// Persists reports whether the endpoint lets the connection persist; known after the
// final response head.
func (c *Conn) Persists() bool { return c.persist }

// Head gathers the request head; it leaves with the first content, or at Flush.
func (c *Conn) Head(q *message.Request) {
	c.request, c.asked = q.Body, true
	c.out.Room()
	c.out.Out = http1.AppendRequest(c.out.Out, q)
}

// Write writes content as the head has announced it.
func (c *Conn) Write(p []byte) error {
	if !c.out.Fits(len(p) + http1.ChunkOverhead) {
		c.stream.SetWriteDeadline(c.rt.Now() + c.stall)
	}
	if c.request != message.Chunked {
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
	c.stream.SetWriteDeadline(c.rt.Now() + c.stall)
	return c.out.Flush()
}

// End ends the request.
func (c *Conn) End(trailers []message.Field) error {
	if c.request == message.Chunked {
		c.out.Room()
		c.out.Out = http1.AppendLastChunk(c.out.Out, trailers)
	}
	return c.Flush()
}

// ReadHead reads a response head, interim or final, into r, whose slices are valid
// until the next ReadHead or Content. by bounds the wait; zero: none. It fails with
// io.ErrUnexpectedEOF if the endpoint closed the connection first and with *http1.Error if
// it talks nonsense.
func (c *Conn) ReadHead(r *message.Response, method []byte, by time.Duration) error {
	c.stream.SetReadDeadline(by)
	c.in.Unpin()
	for seen := 0; ; {
		if b := c.in.Buffered(); len(b) > 0 {
			c.received = true
			n, err := http1.ParseResponse(b, seen, r, method, c.content.Limits)
			seen = len(b)
			if err != nil {
				return err
			}
			if n > 0 {
				c.in.Pin(n)
				if r.Status >= 200 {
					c.persist = r.KeepAlive
					c.idleMost = promised(r.Fields)
					c.content.Reset(r.Body, r.Length)
				}
				return nil
			}
		}
		switch err := c.in.Fill(); {
		case err == nil:
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case errors.Is(err, buffer.ErrHeadTooLarge):
			return &http1.Error{Status: 502, Reason: reason.ResponseHeadTooLarge}
		default:
			return err
		}
	}
}

// promiseSlack is how much earlier than promised an endpoint may be thought to close a
// connection: the promise was on its way for a while, and so is the next request.
const promiseSlack = time.Second

// promised is for how long an endpoint says it keeps an idle connection, in the field
// Keep-Alive (RFC 2068 §19.7.1.1), less some slack; 0: it does not say.
func promised(fields []message.Field) time.Duration {
	v, ok := message.GetKind(fields, message.KeepAlive)
	if !ok {
		return 0
	}
	seconds, ok := parameter(v, "timeout")
	if !ok {
		return 0
	}
	most := time.Duration(seconds) * time.Second
	return max(most-min(promiseSlack, most/2), 1)
}

// parameter finds name=number in a list with commas.
func parameter(list []byte, name string) (n int, ok bool) {
	for one, rest := message.NextToken(list); one != nil; one, rest = message.NextToken(rest) {
		key, value, _ := bytes.Cut(one, []byte("="))
		if !message.EqualFold(message.TrimSpace(key), name) {
			continue
		}
		if n, err := strconv.Atoi(string(message.TrimSpace(value))); err == nil && n >= 0 {
			return min(n, secondsMost), true
		}
	}
	return 0, false
}

// secondsMost keeps a promise within what a Duration holds.
const secondsMost = 1 << 30

// Content returns the next piece of the response's content, valid until the next call,
// and io.EOF after the last. With wait false it returns nil, nil rather than wait.
func (c *Conn) Content(wait bool, by time.Duration) ([]byte, error) {
	c.in.Unpin()
	for {
		if c.content.Done() {
			c.finished = true
			return nil, io.EOF
		}
		data, n, err := c.content.Next(c.in.Buffered())
		if err != nil {
			return nil, err
		}
		c.in.Advance(n)
		switch {
		case len(data) > 0:
			return data, nil
		case n > 0:
			continue
		case !wait:
			return nil, nil
		}
		c.in.Widen(c.content.Remaining())
		c.stream.SetReadDeadline(by)
		if err := c.in.Fill(); err == io.EOF {
			if err := c.content.EOF(); err != nil {
				return nil, err
			}
			c.persist, c.finished = false, true
			return nil, io.EOF
		} else if err != nil {
			return nil, err
		}
	}
}

// Trailers are the response's trailer fields, after Content returned io.EOF.
func (c *Conn) Trailers() []message.Field { return c.content.Trailers() }

// Tunnel implements upstream.Tunneler. The Conn is not read any more, and holds no buffer.
func (c *Conn) Tunnel() (s engine.Stream, early []byte) {
	early = append(early, c.in.Buffered()...)
	c.in.Drop()
	c.stream.SetReadDeadline(0)
	c.stream.SetWriteDeadline(0)
	return c.stream, early
}

// Done ends the exchange's use of the connection. It is kept for another one if whole says
// that the request was sent to its end, the response was read to its end, both sides let it
// persist and nothing lies behind the response; or if it was not given a request at all.
// One that is bound is kept for its own client only.
func (c *Conn) Done(whole bool) {
	good := whole && c.finished && c.persist && len(c.in.Buffered()) == 0
	if !c.asked {
		good = c.stream.Quiet()
	}
	switch {
	case !good, c.bond != nil && !c.bond.Known():
		c.pool.drop(c)
	case c.bond != nil:
		c.release()
		c.idleSince = c.rt.Now()
		c.bond.Keep()
	default:
		c.release()
		c.pool.put(c)
	}
}

func (c *Conn) release() {
	c.in.Drop()
	c.out.Drop()
}
