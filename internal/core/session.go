package core

// What a connection borrows while it is served. A connection that rests is small; all that is
// needed to read and answer a request is a session, which comes from a pool with the first byte
// and goes back when the connection rests again:
//
//	accepted    connection
//	bytes       connection and session (Conn, Exchange, peer)
//	rests       connection                  the session serves another connection
//	bytes       connection and session      perhaps another one

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/exchange"
)

// Pools of what serving takes, for all connections. Event loops have sessions of their own too: see
// spare.go.
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

	// Of a concurrent connection; else nil.
	idle   engine.Signal // is set when an exchange ends and ending is set
	begun  int           // requests since its pace was asked for
	ending atomic.Bool   // the connection's task waits for its exchanges to end
}

// session returns the open session of a concurrent connection, or opens a new one.
func (c *connection) session() *session {
	if s := c.open.Load(); s != nil {
		return s
	}
	s := c.newSession()
	s.identify(c.addr)
	s.peer.TLS, s.peer.Cert, s.peer.Port, s.peer.Listener = c.tls, c.proxy.cert, c.proxy.port, c.proxy.listener
	if s.peer.Scheme = "http"; c.tls != 0 {
		s.peer.Scheme = "https"
	}
	c.enter(s, nil)
	return s
}

// enter opens s with the connection's protocol. early has been read already.
func (c *connection) enter(s *session, early []byte) {
	protocol := c.protocol
	if protocol.After != nil {
		protocol = protocol.After
	}
	if s.protocol != protocol {
		s.protocol, s.conn = protocol, nil
	}
	o := downstream.Opening{
		Runtime: c.rt, Stream: c.stream, Settings: c.proxy.settings.Load(), Latest: &c.proxy.settings,
		Draining: &c.proxy.draining, Early: early,
	}
	if a := c.proxy.age; a != nil {
		o.Age = &a.Age
	}
	s.conn = c.protocol.Open(o, s.conn)
	if s.peer.Bonds = &c.bonds; c.protocol.Concurrent {
		s.peer.Bonds = nil
		s.idle = c.rt.NewSignal()
		c.open.Store(s)
	}
}

// identify sets the client's address in s.peer. Its text is made only if the address is another
// one than before: behind another proxy most connections come from the same address.
func (s *session) identify(addr netip.Addr) {
	if s.peer.Addr == addr {
		return
	}
	s.peer.Addr, s.peer.IP = addr, nil
	if addr.IsValid() {
		s.peer.IP = addr.WithZone("").AppendTo(s.text[:0]) // the zone means something on this machine only
	}
}

// release gives s back, for another connection. Its Conn must be at rest, or closed. The session of a
// concurrent connection is left to the garbage collector as it is: a drain may have found it just
// before, and still use its Conn.
func (c *connection) release(s *session) {
	s.conn.Release()
	if s.protocol.Concurrent {
		return
	}
	s.peer.Bonds, s.peer.Cert = nil, nil
	c.recycleSession(s)
}
