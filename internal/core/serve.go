package core

// How a client's connection is served. The protocol is a downstream.Conn; what is done with
// it is the same for all:
//
//	sequential (HTTP/1.1)   the connection's task serves one exchange after the other; while
//	                        the connection rests there is neither a task nor a Conn
//	concurrent (HTTP/2)     the connection's task reads, each exchange has a task of its own,
//	                        and the Conn stays until the last of them has ended
//
// A connection of HTTP/1.1 on an event loop, with the objects that exist meanwhile:
//
//	accepted             ServeStream: connection, WhenReady          connection
//	first byte           serve: session from the pool                connection, session, task
//	request, response    Await, Next, Exchange.Run                   connection, session, task
//	nothing more         Rest: session back to the pool, WhenReady   connection
//	client closes        serve: Await fails, finish                  none
//
// On goroutines the task stays for the whole connection, as its streams are no engine.Resters.

import (
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/buffer"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/downstream/h1"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/upstream"
)

// A Peer is what a listener knows of a client.
type Peer struct {
	Remote netip.AddrPort // the zero value for a unix socket
	TLS    bool
	// Version is that of TLS, as crypto/tls numbers them, for the access log; 0: not known.
	Version uint16
	// Cert is the client's certificate; nil: the client was not asked for one.
	Cert *exchange.ClientCert
	// Listener is that by which the client came; nil: it has no name and is not counted.
	Listener *Listener
	// Protocol is what the client speaks; nil: HTTP/1.1.
	Protocol *downstream.Protocol
}

// connection is a client's connection from its acceptance to its end. While the connection rests
// nothing else of it exists, so it is small. Tasks of its worker use it.
type connection struct {
	client
	proxy    *about
	rt       engine.Runtime
	stream   engine.Stream
	addr     netip.Addr // of the client; the zero Addr for a unix socket
	protocol *downstream.Protocol
	open     atomic.Pointer[session] // of a concurrent protocol; nil for a sequential one
	wake     func()                  // resumes serving, see spare.go; nil: the stream is no engine.Rester
	bonds    upstream.Bonds
}

// about is the proxy and the listener, with what is known of few clients. All others of a listener
// share one, so that a connection is small.
type about struct {
	*Proxy
	listener string               // its name; empty: it has none
	at       *admission.Listener  // counts its connections; nil: they are not counted
	cert     *exchange.ClientCert // nil: the client was not asked for one
	port     uint16               // of the client; 0: not known
	age      *age                 // nil: nothing bounds how long the connection is used
}

// about returns what is known of a client. Its port is of use only to endpoints that learn by the
// PROXY protocol who it is.
func (p *Proxy) about(rt engine.Runtime, peer *Peer) *about {
	shared := &p.anyone
	if peer.Listener != nil {
		shared = &peer.Listener.shared
	}
	age := p.age(rt)
	if peer.Cert == nil && age == nil && !p.announces.Load() {
		return shared
	}
	return &about{p, shared.listener, shared.at, peer.Cert, peer.Remote.Port(), age}
}

// ServeStream serves one client connection, exchange after exchange, and closes s in the end. If s
// is an engine.Rester it never waits, so that code of rt that is no task may call it too, and tasks of
// rt serve s when data arrives. Otherwise it is called by a task of rt, and returns when the
// connection has ended.
func (p *Proxy) ServeStream(rt engine.Runtime, s engine.Stream, peer Peer) {
	r, rests := s.(engine.Rester)
	c := p.connection(rt, rests)
	c.proxy, c.rt, c.stream, c.addr, c.protocol = p.about(rt, &peer), rt, s, peer.Remote.Addr().Unmap(), peer.Protocol
	if c.protocol == nil {
		c.protocol = h1.Protocol
	}
	if c.tls = peer.Version; peer.TLS && c.tls == 0 {
		c.tls = tlsUnknown
	}
	c.since.Store(int64(rt.Now()))
	p.clients.enter(&c.client, rt.Worker(), breakable{c})
	if p.over.Load() {
		c.leave()
		return
	}
	if rests {
		s.SetReadDeadline(rt.Now() + p.Config().Timeouts.Idle)
		r.WhenReady(c.wake)
		return
	}
	c.serve(false)
}

// serve serves requests until the connection ends or rests. resumed: it is called by the stream's
// WhenReady, so data has arrived or the wait has failed.
func (c *connection) serve(resumed bool) {
	s := c.session()
	how := broken
	defer func() { // also when something panics
		if how != rested {
			c.finish(s, how)
		}
	}()
	how = c.serveAll(s, resumed)
}

// outcome is why serve returns.
type outcome uint8

const (
	broken outcome = iota // something has panicked: nothing of the connection is used again
	ended                 // the connection has ended
	rested                // it waits for a request
)

// serveAll is serve with an open session.
func (c *connection) serveAll(s *session, resumed bool) outcome {
	for n := 0; ; {
		ready, err := s.conn.Await(resumed)
		if err != nil {
			return ended
		}
		if ready && !c.serveNext(s) {
			return ended
		}
		resumed = false
		if s.begun >= inARow {
			c.slowDown(s)
		}
		if c.wake != nil && s.conn.Rest() {
			if !c.protocol.Concurrent {
				c.release(s)
			}
			c.stream.(engine.Rester).WhenReady(c.wake)
			return rested
		}
		if n++; n >= inARow && c.protocol.Concurrent {
			n = 0
			c.giveWay(s)
		}
	}
}

// serveNext serves the request that has begun, or starts a task for it if the protocol is
// concurrent. It reports whether another request may follow on the connection.
func (c *connection) serveNext(s *session) bool {
	if !c.begin() {
		return false
	}
	s.conn.Configure(c.proxy.settings.Load()) // which may be new since the connection was opened
	if c.protocol.Concurrent {
		if c.aged() {
			breakable{c}.Drain() // which lets this request pass
		}
		return c.startNext(s)
	}
	if s.exchange == nil {
		s.exchange = new(exchange.Exchange)
	}
	x := s.exchange
	err := s.conn.Next(&x.Request, x.Client())
	if c.protocol.Prior != nil && c.switches(s, err) {
		return true
	}
	if c.aged() && err == nil {
		x.Client().CloseAfter()
	}
	again := c.proxy.run(c.rt, x, &s.peer, err) && !s.conn.Last()
	c.since.Store(int64(c.rt.Now()))
	if again {
		c.end() // otherwise finish or linger does, so that a drain cannot interrupt the response
	}
	return again
}

// run answers the request in x; err is the error of reading its head, nil: there was none. It
// reports whether the request was answered.
func (p *Proxy) run(rt engine.Runtime, x *exchange.Exchange, peer *exchange.Peer, err error) bool {
	switch {
	case err == nil:
		x.Run(rt, p.table.Load(), peer)
	case refused(err):
		x.Refuse(rt, p.table.Load(), peer, err)
	default:
		return false // the client is gone
	}
	return true
}

// refused reports whether err refuses a request whose client can be answered.
func refused(err error) bool {
	var bad *http1.Error
	return errors.As(err, &bad)
}

// finish ends the connection. It waits for exchanges of a concurrent protocol that still run.
func (c *connection) finish(s *session, how outcome) {
	s.ending.Store(c.protocol.Concurrent) // before the first look: see request.done
	for c.protocol.Concurrent && c.busy() {
		s.idle.Wait(0)
	}
	c.bonds.Close()
	lingers := s.conn.Close()
	c.open.Store(nil)
	if how == broken {
		s.conn.Release() // and s is not used again, nor is c
		c.wake = nil
	} else {
		c.release(s)
	}
	if lingers {
		c.linger()
		return
	}
	c.left()
}

// linger reads and drops what the client is still sending, so that the client gets the response,
// and then closes the connection: see downstream.Linger. With an engine.Rester it returns at once,
// and neither a task nor a buffer exists between reads. A drain ends it like a wait for a request.
func (c *connection) linger() {
	if c.busy() {
		c.end()
	}
	r, ok := c.stream.(engine.Rester)
	if !ok {
		downstream.Linger(c.rt, c.stream)
		c.leave()
		return
	}
	by := c.rt.Now() + downstream.LingerTotal
	rest := func() { c.stream.SetReadDeadline(min(by, c.rt.Now()+downstream.LingerRead)) }
	var next func()
	next = func() {
		if !buffer.Discard(c.stream) || c.rt.Now() >= by {
			c.leave()
			return
		}
		rest()
		r.WhenReady(next)
	}
	rest()
	r.WhenReady(next)
}

// leave closes the connection and takes it off the list of clients.
func (c *connection) leave() {
	c.stream.Close()
	c.left()
}

// left takes the connection, which is closed, off the list of clients. It may serve another client
// from then on.
func (c *connection) left() {
	p := c.proxy.Proxy
	p.clients.leave(&c.client)
	p.recycle(c)
}

// An Owner is the caller of ServeExchange: it has the connection of the exchange.
type Owner interface {
	// Interrupt makes reads from and writes to the client fail. Any task may call it.
	Interrupt(error)
	// Linger reads and drops what the client is still sending, so that the client gets the
	// response. It is called once, when the exchange is over, and ends when interrupted.
	Linger()
}

// ServeExchange serves one exchange whose head the caller has read; c is the client's side of it.
// It is called by a task of the Proxy's own runtime, and returns when the exchange is over and
// o.Linger has returned. fill sets the head of the request, or returns why it is not accepted.
// Once Close was called the exchange is refused, since nothing says when the caller's last one comes.
func (p *Proxy) ServeExchange(peer exchange.Peer, c downstream.Client, o Owner, fill func(*message.Request) *http1.Error) {
	entry := new(client)
	p.clients.enter(entry, p.rt.Worker(), o)
	entry.begin()
	defer p.clients.leave(entry)
	x := exchanges.Get().(*exchange.Exchange)
	x.Request.Reset()
	*x.Client() = c
	bad := fill(&x.Request)
	if p.stopping.Load() { // read after enter: see clients.finish
		bad = &http1.Error{Status: 503, Reason: reason.Stopping}
	}
	var err error
	if bad != nil {
		err = bad
	}
	p.run(p.rt, x, &peer, err)
	exchanges.Put(x)
	entry.end() // a drain does not wait for what follows
	o.Linger()
}
