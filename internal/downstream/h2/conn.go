// Package h2 is HTTP/2 as clients speak it: a Protocol opens a Conn on a stream, whose requests
// core serves at the same time, each in a task of its own. The connection is a mux.Conn, which
// has the frames, the windows and the bounds; here are a downstream.Conn and a downstream.Client
// made of it.
//
// A request is handed on as if it had come by HTTP/1.1 with the same fields, so that nothing
// behind this package asks which protocol the client speaks.
package h2

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/mux"
)

// New returns the protocol, for the connections of that many workers.
func New(workers int) *downstream.Protocol {
	spares := mux.NewSpares(workers)
	return &downstream.Protocol{
		Concurrent: true,
		Open:       func(o downstream.Opening, _ downstream.Conn) downstream.Conn { return open(o, spares) },
	}
}

// A Conn is a downstream.Conn of a concurrent protocol. The task of the connection calls its
// methods, except Drain and Sending.
type Conn struct {
	mux      *mux.Conn
	settings *downstream.Settings                 // for requests that begin; only the connection's task reads it
	latest   *atomic.Pointer[downstream.Settings] // nil: there are none
	age      *downstream.Age                      // nil: nothing bounds it
	rests    bool                                 // the stream can wait without a task
	next     *mux.Stream                          // Await has found it, and Next has not taken it
	draining *atomic.Bool                         // connections are to end; may be nil
}

var (
	_ downstream.Drainer = (*Conn)(nil)
	_ downstream.Pacer   = (*Conn)(nil)
)

func open(o downstream.Opening, spares *mux.Spares) *Conn {
	c := &Conn{settings: o.Settings, latest: o.Latest, age: o.Age, draining: o.Draining}
	_, c.rests = o.Stream.(engine.Rester)
	c.mux = mux.New(&mux.Options{
		Runtime: o.Runtime, Stream: o.Stream, Spares: spares, Server: true, Connect: true,
		Limits: &o.Settings.Limits, Streams: o.Settings.Streams, Timeouts: c.timeouts(), Early: o.Early,
	})
	return c
}

func (c *Conn) timeouts() mux.Timeouts {
	s := c.settings
	return mux.Timeouts{Head: s.Head, Idle: s.Idle, Stall: s.Stall, Leave: c.age.Ends(s)}
}

// Configure has requests that have not begun held to other settings.
func (c *Conn) Configure(s *downstream.Settings) {
	if c.settings != s {
		c.settings = s
		c.mux.Configure(&s.Limits, s.Streams, c.timeouts())
	}
}

// Await takes frames apart until one begins a request: see downstream.Conn. A stream that can rest
// is read once, and only if resumed says that something has come.
func (c *Conn) Await(resumed bool) (ready bool, err error) {
	for {
		if c.next, err = c.mux.Next(); err != nil || c.next != nil {
			return c.next != nil, ended(err)
		}
		if !resumed {
			if c.rests {
				return false, nil
			}
			c.mux.Rest()
		}
		if err := c.mux.Fill(); err != nil {
			return false, ended(err)
		}
		if c.latest != nil { // a reload while it waited holds for the heads that have come
			c.Configure(c.latest.Load())
		}
		resumed = false
	}
}

// ended is err as core wants it: io.EOF for an end in good order.
func ended(err error) error {
	if errors.Is(err, engine.ErrClosed) {
		return io.EOF
	}
	return err
}

// Next sets the client of the request that Await has found, and its head in q. While connections
// are to end, the first request has its connection announce that: one that was accepted meanwhile
// is good for a request, as it is in HTTP/1.1.
func (c *Conn) Next(q *message.Request, client *downstream.Client) error {
	s := c.next
	c.next = nil
	if c.draining != nil && c.draining.Load() {
		c.mux.Leave()
	}
	x := newClient(c, s)
	*q, s.Request = s.Request, *q
	client.RequestContent, client.ResponseWriter, client.Connection = x, x, x
	if e := s.Refused; e != nil {
		return &http1.Error{Status: e.Status, Reason: e.Reason}
	}
	if connects(q) {
		return x.upgrade(q)
	}
	return nil
}

// Pace is for how long the client is to wait, as it resets much of what it begins.
func (c *Conn) Pace() time.Duration { return c.mux.Pace() }

// Last reports false: that no further request is taken shows when the last one has ended, in
// Await, as what clients say about the responses under way must be read until then.
func (c *Conn) Last() bool { return false }

// Rest begins the wait for bytes; false: frames are here already.
func (c *Conn) Rest() bool {
	if c.mux.Buffered() {
		return false
	}
	c.mux.Rest()
	return true
}

// Drain tells the client to send no further request. A task of the worker calls it.
func (c *Conn) Drain() { c.mux.Leave() }

// Sending reports whether something of a response is still here: see downstream.Drainer.
func (c *Conn) Sending() bool { return c.mux.Sending() }

// Close ends the connection; no exchange runs any more.
func (c *Conn) Close() (lingers bool) {
	if c.next != nil {
		c.next.Close()
		c.next = nil
	}
	return c.mux.Close()
}

// Release lets go of the stream. A Drain that comes later does nothing.
func (c *Conn) Release() {}
