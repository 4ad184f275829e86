package core

// How a client's connection is served. The protocol is a downstream.Conn; what is done with
// it is the same for all:
//
//	sequential (HTTP/1.1)   the connection's task serves one exchange after the other; while
//	                        the connection rests there is neither a task nor a Conn
//	concurrent (HTTP/2)     the connection's task reads, each exchange has a task of its own,
//	                        and the Conn stays until the last of them has ended

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

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
	// Protocol is what the client speaks; nil: HTTP/1.1.
	Protocol *downstream.Protocol
}

// connection is a client's connection from its acceptance to its end. It is all that is left
// of one that rests, so it is small.
type connection struct {
	client
	proxy    *Proxy
	rt       engine.Runtime
	stream   engine.Stream
	addr     netip.Addr // of the client; the zero Addr for a unix socket
	protocol *downstream.Protocol
	open     atomic.Pointer[session] // of a concurrent protocol; nil: none is kept
	wake     func()                  // serves on after a rest; nil: the stream is no engine.Rester
	bonds    upstream.Bonds
}

// What serving a request takes is used again, for whatever connection comes next.
var (
	sessions  = sync.Pool{New: func() any { return new(session) }}
	exchanges = sync.Pool{New: func() any { return new(exchange.Exchange) }} // of ServeExchange
)

// A session is what a connection needs while it is served: of a sequential protocol from the
// first byte of a request until it rests, of a concurrent one from its first byte to its end.
// It is one object, with all that a request takes, since each visit to a pool costs as much
// as parsing a field.
type session struct {
	protocol *downstream.Protocol
	conn     downstream.Conn    // of that protocol; released while the session is in the pool
	exchange *exchange.Exchange // nil: a sequential protocol has not needed it yet
	peer     exchange.Peer
	text     [46]byte // room for the address: the longest text of an IPv6 address, with a zone's
	// idle is set when the last exchange of a concurrent connection ends; nil for others.
	idle engine.Signal
}

// session returns the one that is kept, or opens one.
func (c *connection) session() *session {
	if s := c.open.Load(); s != nil {
		return s
	}
	s := sessions.Get().(*session)
	if s.protocol != c.protocol {
		s.protocol, s.conn = c.protocol, nil
	}
	s.conn = c.protocol.Open(downstream.Opening{
		Runtime: c.rt, Stream: c.stream, Settings: c.proxy.settings.Load(), Draining: &c.proxy.draining,
	}, s.conn)
	s.identify(c.addr)
	if s.peer.Scheme = "http"; c.secure {
		s.peer.Scheme = "https"
	}
	if !c.protocol.Concurrent {
		s.peer.Bonds = &c.bonds
		return s
	}
	s.idle = c.rt.NewSignal()
	c.open.Store(s)
	return s
}

// identify has s.peer carry the client's address. Behind another proxy the next connection
// is often the same client's.
func (s *session) identify(addr netip.Addr) {
	if s.peer.Addr == addr {
		return
	}
	s.peer.Addr, s.peer.IP = addr, nil
	if addr.IsValid() {
		s.peer.IP = addr.WithZone("").AppendTo(s.text[:0]) // the zone means something on this machine only
	}
}

// release gives s back. Its Conn rests, or was closed.
func (s *session) release() {
	s.conn.Release()
	s.peer.Bonds = nil
	if s.protocol.Concurrent { // tasks of its requests may still know it, to drain it
		s.conn, s.idle = nil, nil
	}
	sessions.Put(s)
}

// ServeStream serves one client connection, exchange after exchange, and closes s. It is
// called by a task of rt. If s is an engine.Rester it returns at once, and tasks that are
// started when something arrives do the rest.
func (p *Proxy) ServeStream(rt engine.Runtime, s engine.Stream, who Peer) {
	c := &connection{proxy: p, rt: rt, stream: s, addr: who.Remote.Addr().Unmap(), protocol: who.Protocol}
	if c.protocol == nil {
		c.protocol = h1.Protocol
	}
	c.secure = who.TLS
	c.since.Store(int64(rt.Now()))
	if c.protocol.Concurrent {
		p.clients.enter(&c.client, rt.Worker(), concurrent{c})
	} else {
		p.clients.enter(&c.client, rt.Worker(), s)
	}
	if p.over.Load() {
		s.Close()
		p.clients.leave(&c.client)
		return
	}
	if r, ok := s.(engine.Rester); ok {
		c.wake = func() { c.serve(true) } // made once: it serves every request
		s.SetReadDeadline(rt.Now() + p.Config().Timeouts.Idle)
		r.WhenReady(c.wake)
		return
	}
	c.serve(false)
}

// serve serves requests until the connection ends, or rests until bytes wake it. resumed says
// that they have.
func (c *connection) serve(resumed bool) {
	s := c.session()
	rests := false
	defer func() { // also when something panics
		if !rests {
			c.finish(s)
		}
	}()
	for {
		ready, err := s.conn.Await(resumed)
		if err != nil {
			return
		}
		if ready && !c.serveNext(s) {
			return
		}
		resumed = false
		if c.wake != nil && s.conn.Rest() {
			rests = true
			if !c.protocol.Concurrent {
				s.release()
			}
			c.stream.(engine.Rester).WhenReady(c.wake)
			return
		}
	}
}

// serveNext serves the request that has begun, or has it served by a task of its own, and
// reports whether another one may follow.
func (c *connection) serveNext(s *session) bool {
	if !c.begin() {
		return false
	}
	s.conn.Configure(c.proxy.settings.Load()) // which may be new since the connection was opened
	if c.protocol.Concurrent {
		return c.startNext(s)
	}
	if s.exchange == nil {
		s.exchange = new(exchange.Exchange)
	}
	x := s.exchange
	client, err := s.conn.Next(&x.Request)
	again := c.proxy.run(c.rt, x, &s.peer, client, err) && !s.conn.Last()
	c.since.Store(int64(c.rt.Now()))
	if again {
		c.end() // else finish or linger does: nothing may break off what is still being sent
	}
	return again
}

// run answers the request in x, whose head was read if err is nil. It reports whether it was
// answered.
func (p *Proxy) run(rt engine.Runtime, x *exchange.Exchange, peer *exchange.Peer, client downstream.Client, err error) bool {
	switch {
	case err == nil:
		x.Run(rt, p.table.Load(), peer, client)
	case refused(err):
		x.Refuse(rt, p.table.Load(), peer, client, err)
	default:
		return false // the client is gone
	}
	return true
}

// refused reports whether err refuses a request that can be answered.
func refused(err error) bool {
	var bad *http1.Error
	return errors.As(err, &bad)
}

// finish ends the connection once no exchange runs any more.
func (c *connection) finish(s *session) {
	for c.protocol.Concurrent && c.busy() {
		s.idle.Wait(0)
	}
	c.bonds.Close()
	lingers := s.conn.Close()
	c.open.Store(nil)
	s.release()
	if lingers {
		c.linger()
		return
	}
	c.proxy.clients.leave(&c.client)
}

// linger reads what the client is still sending, for a while, so that it gets the answer;
// then it closes the connection. Between reads that takes neither a task nor a buffer where
// the stream is an engine.Rester. A drain ends it like a wait for a request.
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

func (c *connection) leave() {
	c.stream.Close()
	c.proxy.clients.leave(&c.client)
}

// An Owner is the caller of ServeExchange, as the Proxy sees it.
type Owner interface {
	// Interrupt breaks the exchange off.
	Interrupt(error)
	// Linger reads what the client is still sending, for a while, so that it gets the answer.
	// It is called when the exchange is over, and ends early when interrupted.
	Linger()
}

// ServeExchange serves one exchange whose client's side the caller reads and writes, in
// a task of the Proxy's own runtime. fill makes the head of the request, or says why it is
// not accepted. It is refused once Close was called. If ours is set it came over a
// connection that Close lets end, and so is refused only when nothing is served any more.
func (p *Proxy) ServeExchange(peer exchange.Peer, c downstream.Client, o Owner, ours bool, fill func(*message.Request) *http1.Error) {
	entry := new(client)
	p.clients.enter(entry, p.rt.Worker(), o)
	entry.begin()
	defer p.clients.leave(entry)
	x := exchanges.Get().(*exchange.Exchange)
	x.Request.Reset()
	bad := fill(&x.Request)
	if p.over.Load() || p.stopping.Load() && !ours { // asked after enter: see finish
		bad = &http1.Error{Status: 503, Reason: reason.Stopping}
	}
	var err error
	if bad != nil {
		err = bad
	}
	p.run(p.rt, x, &peer, c, err)
	exchanges.Put(x)
	entry.end() // a drain does not wait for what follows
	o.Linger()
}
