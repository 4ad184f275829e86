package core

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/h1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/wire"
)

// A Peer is what a listener knows of a client.
type Peer struct {
	Remote netip.AddrPort // the zero value for a unix socket
	TLS    bool
}

func (p Peer) exchange() exchange.Peer {
	e := exchange.Peer{Addr: p.Remote.Addr().Unmap(), Scheme: "http", Proto: "HTTP/1.1"}
	if e.Addr.IsValid() {
		e.IP = e.Addr.AppendTo(nil)
	}
	if p.TLS {
		e.Scheme = "https"
	}
	return e
}

var exchanges = sync.Pool{New: func() any { return new(exchange.Exchange) }}

// ServeStream serves one client connection, exchange after exchange, on the calling task
// until it ends. It closes s.
func (p *Proxy) ServeStream(s engine.Stream, who Peer) {
	t := p.Config().Timeouts
	conn := wire.NewConn(p.rt, s, wire.Timeouts{Head: t.Head, Idle: t.Idle, Stall: t.Stall}, &p.stopping)
	entry := p.clients.enter(s)
	defer p.clients.leave(entry)
	defer conn.Close()
	if p.stopping.Load() {
		return
	}
	peer := who.exchange()
	for conn.Await() == nil && entry.begin() {
		x := exchanges.Get().(*exchange.Exchange)
		again := p.serveNext(x, &peer, conn)
		exchanges.Put(x)
		if !again || !entry.end() {
			return
		}
	}
}

// serveNext serves the request whose first byte has come, and reports whether another
// one may follow.
func (p *Proxy) serveNext(x *exchange.Exchange, peer *exchange.Peer, conn *wire.Conn) bool {
	if err := conn.Next(&x.Request); err != nil {
		p.refuse(x, peer, conn, err)
		return false
	}
	x.Run(p.rt, p.table.Load(), peer, conn)
	return !conn.Last()
}

// refuse answers a request that was not understood, if there is anybody to answer.
func (p *Proxy) refuse(x *exchange.Exchange, peer *exchange.Peer, conn *wire.Conn, err error) {
	var bad *h1.Error
	if errors.As(err, &bad) {
		x.Refuse(p.rt, p.table.Load(), peer, conn, bad)
	}
}

// A Client is an exchange.Client whose exchange can be broken off.
type Client interface {
	exchange.Client
	breaker
}

// breaker is what drain breaks off: a stream, or a Client.
type breaker interface{ Interrupt(error) }

// ServeExchange serves one exchange whose client's side somebody else reads and writes.
// fill makes the head of the request, or says why it is not accepted.
func (p *Proxy) ServeExchange(peer exchange.Peer, c Client, fill func(*message.Request) *h1.Error) {
	entry := p.clients.enter(c)
	entry.begin()
	defer p.clients.leave(entry)
	x := exchanges.Get().(*exchange.Exchange)
	defer exchanges.Put(x)
	x.Request.Reset()
	if err := fill(&x.Request); err != nil {
		x.Refuse(p.rt, p.table.Load(), &peer, c, err)
		return
	}
	x.Run(p.rt, p.table.Load(), &peer, c)
}

// clients are the connections that are open.
type clients struct {
	mu      sync.Mutex
	open    map[*client]struct{}
	number  uint64        // of the client that came last
	changed engine.Signal // somebody left
}

// client is one of them. Its state decides who may end it: the task that serves it, or
// drain while it waits for a request.
type client struct {
	breaker
	number uint64 // in the order of their coming
	state  atomic.Uint32
}

const (
	waiting uint32 = iota
	busy
	closing
)

func (c *client) begin() bool { return c.state.CompareAndSwap(waiting, busy) }
func (c *client) end() bool   { return c.state.CompareAndSwap(busy, waiting) }

func (c *clients) enter(b breaker) *client {
	e := &client{breaker: b}
	c.mu.Lock()
	if c.open == nil {
		c.open = make(map[*client]struct{})
	}
	c.number++
	e.number = c.number
	c.open[e] = struct{}{}
	c.mu.Unlock()
	return e
}

func (c *clients) leave(e *client) {
	c.mu.Lock()
	delete(c.open, e)
	c.mu.Unlock()
	c.changed.Set()
}

// snapshot is who is open now, in the order of their coming: a run can be repeated.
func (c *clients) snapshot() []*client {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*client, 0, len(c.open))
	for e := range c.open {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *client) int { return cmp.Compare(a.number, b.number) })
	return out
}

// breakFor is how long interrupted exchanges may take to end.
const breakFor = 2 * time.Second

// drain ends connections that wait for a request, and waits for the others until hurry
// is set; then it interrupts them.
func (c *clients) drain(rt engine.Runtime, hurry *atomic.Bool) bool {
	for !hurry.Load() {
		open := c.snapshot()
		if len(open) == 0 {
			return true
		}
		for _, e := range open {
			if e.state.CompareAndSwap(waiting, closing) {
				e.Interrupt(engine.ErrStopping)
			}
		}
		c.changed.Wait(rt.Now() + 100*time.Millisecond)
	}
	left := c.snapshot()
	for _, e := range left {
		e.Interrupt(engine.ErrStopping)
	}
	for end := rt.Now() + breakFor; rt.Now() < end && len(c.snapshot()) > 0; {
		c.changed.Wait(min(end, rt.Now()+100*time.Millisecond))
	}
	return len(left) == 0
}
