package core

import (
	"errors"
	"net/netip"
	"sync"

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
}

// exchange is the peer as exchanges know it; the text of its address is written to room.
func (p Peer) exchange(room []byte) exchange.Peer {
	e := exchange.Peer{Addr: p.Remote.Addr().Unmap(), Scheme: "http", Proto: "HTTP/1.1"}
	if e.Addr.IsValid() {
		e.IP = e.Addr.WithZone("").AppendTo(room) // the zone means something on this machine only
	}
	if p.TLS {
		e.Scheme = "https"
	}
	return e
}

// connection is a client's connection as it is kept between exchanges.
type connection struct {
	client
	proxy  *Proxy
	rt     engine.Runtime
	stream engine.Stream
	who    Peer
	wake   func() // serves on after a rest; nil: the stream is no engine.Rester
	bonds  upstream.Bonds
}

// What serving a request takes is used again, for whatever connection comes next.
var (
	exchanges = sync.Pool{New: func() any { return new(exchange.Exchange) }}
	sittings  = sync.Pool{New: func() any { return new(sitting) }}
)

// A sitting is what a connection needs from the first byte of a request until it rests.
type sitting struct {
	conn h1.Conn
	peer exchange.Peer
	text [46]byte // room for the address: the longest text of an IPv6 address, with a zone's
}

func (s *sitting) open(c *connection) {
	s.conn.Open(c.rt, c.stream, c.proxy.wire.Load(), &c.proxy.draining)
	s.peer = c.who.exchange(s.text[:0])
	s.peer.Bonds = &c.bonds
}

// ServeStream serves one client connection, exchange after exchange, and closes s. It is
// called by a task of rt. If s is an engine.Rester it returns at once, and tasks that are
// started when something arrives do the rest.
func (p *Proxy) ServeStream(rt engine.Runtime, s engine.Stream, who Peer) {
	c := &connection{proxy: p, rt: rt, stream: s, who: who}
	c.since.Store(int64(rt.Now()))
	p.clients.enter(&c.client, rt.Worker(), s)
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

// serve serves exchanges until the connection ends, or rests until it is woken.
func (c *connection) serve(woken bool) {
	s := sittings.Get().(*sitting)
	s.open(c)
	resting := false
	defer func() {
		lingers := false
		if !resting {
			c.bonds.Close()
			lingers = s.conn.Close()
		}
		s.conn.Forget()
		sittings.Put(s)
		switch {
		case lingers:
			c.linger()
		case !resting:
			c.proxy.clients.leave(&c.client)
		}
	}()
	for c.await(&s.conn, woken) == nil && c.begin() {
		s.conn.Configure(c.proxy.wire.Load()) // which may be new since the connection was opened
		x := exchanges.Get().(*exchange.Exchange)
		again := c.proxy.serveNext(c.rt, x, &s.peer, &s.conn)
		exchanges.Put(x)
		c.since.Store(int64(c.rt.Now()))
		if !again || !c.end() {
			return
		}
		woken = false
		if c.wake != nil && s.conn.Rest() {
			resting = true
			c.stream.(engine.Rester).WhenReady(c.wake)
			return
		}
	}
}

// linger reads over what the client is still sending, for a while, so that it gets the
// answer; then it closes the connection. Between reads that takes neither a task nor a
// buffer where the stream is an engine.Rester. A drain ends it like a wait for a request.
func (c *connection) linger() {
	c.end()
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

// await waits for the first byte of a request; the time of one that was woken has begun
// when it went to rest.
func (c *connection) await(conn *h1.Conn, woken bool) error {
	if woken {
		return conn.Resume()
	}
	return conn.Await()
}

// serveNext serves the request whose first byte has come, and reports whether another
// one may follow.
func (p *Proxy) serveNext(rt engine.Runtime, x *exchange.Exchange, peer *exchange.Peer, conn *h1.Conn) bool {
	if err := conn.Next(&x.Request); err != nil {
		p.refuse(rt, x, peer, conn, err)
		return false
	}
	x.Run(rt, p.table.Load(), peer, conn)
	return !conn.Last()
}

// refuse answers a request that was not understood, if there is anybody to answer.
func (p *Proxy) refuse(rt engine.Runtime, x *exchange.Exchange, peer *exchange.Peer, conn *h1.Conn, err error) {
	var bad *http1.Error
	if errors.As(err, &bad) {
		x.Refuse(rt, p.table.Load(), peer, conn, bad)
	}
}

// A Client is an exchange.Client whose exchange can be broken off.
type Client interface {
	exchange.Client
	breaker
	// Linger reads over what the client is still sending, for a while, so that it gets the
	// answer. It is called when the exchange is over, and ends early when interrupted.
	Linger()
}

// breaker is what drain breaks off: a stream, or a Client.
type breaker interface{ Interrupt(error) }

// ServeExchange serves one exchange whose client's side the caller reads and writes, in
// a task of the Proxy's own runtime. fill makes the head of the request, or says why it is
// not accepted. It is refused once Close was called. If ours is set it came over a
// connection that Close lets end, and so is refused only when nothing is served any more.
func (p *Proxy) ServeExchange(peer exchange.Peer, c Client, ours bool, fill func(*message.Request) *http1.Error) {
	entry := new(client)
	p.clients.enter(entry, p.rt.Worker(), c)
	entry.begin()
	defer p.clients.leave(entry)
	x := exchanges.Get().(*exchange.Exchange)
	x.Request.Reset()
	err := fill(&x.Request)
	if p.over.Load() || p.stopping.Load() && !ours { // asked after enter: see finish
		err = &http1.Error{Status: 503, Reason: reason.Stopping}
	}
	if err != nil {
		x.Refuse(p.rt, p.table.Load(), &peer, c, err)
	} else {
		x.Run(p.rt, p.table.Load(), &peer, c)
	}
	exchanges.Put(x)
	entry.end() // a drain does not wait for what follows
	c.Linger()
}
