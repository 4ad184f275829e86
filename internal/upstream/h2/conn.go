package h2

// One connection, with the task that reads it. The task is started when bytes have come, where
// the stream is an engine.Rester, and waits in a read elsewhere:
//
//	loop         WhenReady … task: Fill, Next, Rest, WhenReady …
//	goroutines   task: Next, Rest, Fill (waits), Next, …
//
// It alone ends the connection: when reading fails, because the endpoint has closed it, because
// it was idle for too long, or because it takes no further call (mux.Conn.Leave) and the last
// one has ended.

import (
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/mux"
)

// A conn is a connection to an endpoint. Tasks of its worker use it.
type conn struct {
	mux    *mux.Conn
	rt     engine.Runtime
	stream engine.Stream
	rester engine.Rester // nil: the stream waits with a task only
	scheme string        // of requests
	task   func()        // read, made once
	ended  func()        // is called when the connection has ended

	// Of a connection in a pool; list.mu guards what is below number.
	pool      *Pool
	list      *list
	made      *target
	number    uint64        // of the worker's connections to the endpoint, from 1
	until     time.Duration // instant from which it takes no further call; 0: none
	calls     int           // under way
	begun     int           // calls that it has carried, those under way included
	gone      bool          // it is not in the list
	uncounted bool          // it was taken off the pool's counts when it was made to leave
}

// silence is how long an endpoint may say nothing while it has calls, until it is asked by PING
// whether it is there.
const silence = 10 * time.Second

// open begins HTTP/2 on s, and reading. ended is called by a task of rt when it is over.
func (p *Pool) open(rt engine.Runtime, s engine.Stream, t *target, stall time.Duration) *conn {
	c := &conn{rt: rt, stream: s, scheme: "http", pool: p, made: t}
	if t.at.TLS != nil {
		c.scheme = "https"
	}
	c.rester, _ = s.(engine.Rester)
	c.task = c.read
	c.mux = mux.New(&mux.Options{
		Runtime: rt, Stream: s, Spares: p.spares, Limits: t.limits(), Streams: t.Streams,
		Timeouts: mux.Timeouts{Head: stall, Idle: t.idle(), Stall: stall, Silence: silence},
	})
	c.mux.Flush()
	return c
}

// start starts the task that reads. ended was set.
func (c *conn) start() {
	if c.rester != nil {
		c.mux.Rest()
		c.rester.WhenReady(c.task)
		return
	}
	c.rt.Start(c.task)
}

// read is the task that reads.
func (c *conn) read() {
	resting := false
	defer func() { // also when something panics
		if !resting {
			c.over()
		}
	}()
	if c.rester != nil {
		if c.mux.Fill() != nil {
			return
		}
	}
	for {
		if _, err := c.mux.Next(); err != nil {
			return
		}
		c.roomier()
		c.mux.Rest()
		if c.rester != nil {
			resting = true
			c.rester.WhenReady(c.task)
			return
		}
		if c.mux.Fill() != nil {
			return
		}
	}
}

// over ends the connection. Calls that it still has have failed.
func (c *conn) over() {
	if c.mux.Close() { // nothing that may still come is of use
		c.stream.Close()
	}
	c.ended()
}

// settle waits for the endpoint's first SETTINGS, which say how many calls it takes.
func (c *conn) settle(by time.Duration) error {
	s, err := c.mux.Open(by)
	if err == nil {
		s.Close()
	}
	if err == mux.ErrFull && !c.mux.Draining() {
		return nil // it takes none at present
	}
	return err
}
