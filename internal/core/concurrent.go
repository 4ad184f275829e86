package core

// Connections of a concurrent protocol, such as HTTP/2: each exchange has a task of its own beside
// the connection's, and the end of the connection can be announced (GOAWAY).
//
//	connection's task:   Await  Next 1  Await  Next 3  Await .............. client closes; wait, finish
//	task of request 1:          run ........... done
//	task of request 3:                         run .................... done: idle.Set
//
// The connection's session, with its Conn, stays until the last exchange has ended.

import (
	"errors"
	"sync"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/exchange"
)

// breakable is the breaker of a connection. Interrupting the connection interrupts all its
// exchanges.
type breakable struct{ *connection }

// Interrupt and Quiet are as in engine.Stream.
func (c breakable) Interrupt(err error) { c.stream.Interrupt(err) }

// Quiet is false if something has come that was not read.
func (c breakable) Quiet() bool { return c.stream.Quiet() }

// Drain has the Conn announce the end of the connection, if its protocol can.
func (c breakable) Drain() {
	if d := c.drainer(); d != nil {
		d.Drain()
	}
}

// Sending reports whether what exchanges that have ended wrote is still on its way to the client.
func (c breakable) Sending() bool {
	d := c.drainer()
	return d != nil && d.Sending()
}

// drainer is the Conn of a concurrent protocol that can announce its end, else nil.
func (c breakable) drainer() downstream.Drainer {
	if s := c.open.Load(); s != nil {
		if d, ok := s.conn.(downstream.Drainer); ok {
			return d
		}
	}
	return nil
}

// switches decides what the connection speaks for good: the prior protocol if err, of Next, says
// that what has come is the beginning of that. The task of the connection calls it, after begin.
func (c *connection) switches(s *session, err error) bool {
	prior := c.protocol.Prior
	c.protocol = c.protocol.After
	if err == nil { // as nearly always: what follows allocates
		return false
	}
	var preface *downstream.Preface
	if !errors.As(err, &preface) {
		return false
	}
	old := s.conn
	c.protocol = prior
	c.enter(s, old.(downstream.Taker).Take())
	old.Release()
	c.end()
	return true
}

// request is an exchange of a concurrent connection. It is used again for another connection.
type request struct {
	x    exchange.Exchange
	conn *connection
	end  downstream.Finisher // of its client; nil: the protocol has none
	err  error               // of Next; nil: the head was read
	task func()              // is run, as a func that is made once
}

// requests has those that are not in use.
var requests sync.Pool

// newRequest returns one that is not in use. done gives it back.
func newRequest() *request {
	if r, ok := requests.Get().(*request); ok {
		return r
	}
	r := new(request)
	r.task = r.run
	return r
}

// startNext reads the head of the request that has begun and starts a task for it. It returns false
// if no further request may follow. The connection's task calls it, after begin.
func (c *connection) startNext(s *session) bool {
	r := newRequest()
	r.conn = c
	r.err = s.conn.Next(&r.x.Request, r.x.Client())
	r.end, _ = r.x.Client().Connection.(downstream.Finisher)
	if r.err != nil && !refused(r.err) {
		r.done()
		return false
	}
	s.begun++
	c.rt.Start(r.task)
	return !s.conn.Last()
}

// inARow is how many requests a connection may begin until others have their turn: one read may have
// a thousand of them, and a client that resets what it begins would have the whole loop.
const inARow = 32

// giveWay lets other tasks run, and events be looked at: more requests are here that were not begun.
// Goroutines give way by themselves.
func (c *connection) giveWay(s *session) {
	if c.wake == nil {
		return
	}
	c.rt.Fork(func() {}).Wait()
}

// slowDown has a client wait that costs more than it asks for: see downstream.Pacer.
func (c *connection) slowDown(s *session) {
	s.begun = 0
	p, ok := s.conn.(downstream.Pacer)
	if !ok {
		return
	}
	if wait := p.Pace(); wait > 0 {
		c.rt.Sleep(c.rt.Now() + wait)
	}
}

// left reports whether the client has reset the request, or is gone.
func (r *request) left() bool { return r.end != nil && r.end.Left() }

// run is the task of the request.
func (r *request) run() {
	defer r.done() // also when something panics
	c := r.conn
	if r.left() {
		return
	}
	c.proxy.run(c.rt, &r.x, &c.open.Load().peer, r.err)
}

// done ends the exchange, gives r back, and wakes the connection's task, which may wait for its
// last exchange. r must not be used afterwards.
func (r *request) done() {
	c := r.conn
	s := c.open.Load()
	if r.end != nil {
		r.end.Finish()
	}
	r.conn, r.end, r.err = nil, nil, nil
	*r.x.Client() = downstream.Client{}
	requests.Put(r)
	c.since.Store(int64(c.rt.Now()))
	c.end()
	if s.ending.Load() {
		s.idle.Set()
	}
}
