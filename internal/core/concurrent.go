package core

// What connections of a concurrent protocol have that those of HTTP/1.1 have not: exchanges
// whose tasks run beside the connection's own, and an announcement of the end.

import (
	"sync"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/exchange"
)

// concurrent is a connection of a concurrent protocol as drain sees it.
type concurrent struct{ *connection }

func (c concurrent) Interrupt(err error) { c.stream.Interrupt(err) }
func (c concurrent) Quiet() bool         { return c.stream.Quiet() }

// Drain has the Conn announce that the connection ends, if it can.
func (c concurrent) Drain() {
	if s := c.open.Load(); s != nil {
		if d, ok := s.conn.(downstream.Drainer); ok {
			d.Drain()
		}
	}
}

// request is an exchange of a concurrent connection, with the task that runs it.
type request struct {
	x      exchange.Exchange
	conn   *connection
	client downstream.Client
	err    error // of Next
	task   func()
}

// requests are of no connection at the moment.
var requests sync.Pool

func newRequest() *request {
	if r, ok := requests.Get().(*request); ok {
		return r
	}
	r := new(request)
	r.task = r.run // made once
	return r
}

// startNext starts a task for the request that has begun.
func (c *connection) startNext(s *session) bool {
	r := newRequest()
	r.conn = c
	r.client, r.err = s.conn.Next(&r.x.Request)
	if r.err != nil && !refused(r.err) {
		r.done()
		return false
	}
	c.rt.Start(r.task)
	return !s.conn.Last()
}

func (r *request) run() {
	defer r.done() // also when something panics
	c := r.conn
	c.proxy.run(c.rt, &r.x, &c.open.Load().peer, r.client, r.err)
}

// done ends the exchange. The connection's task may wait for the last one.
func (r *request) done() {
	c := r.conn
	idle := c.open.Load().idle
	r.conn, r.client, r.err = nil, downstream.Client{}, nil
	requests.Put(r)
	c.since.Store(int64(c.rt.Now()))
	c.end()
	idle.Set()
}
