package front

// Listeners behind another proxy that speaks the PROXY protocol. The header comes before anything
// else, TLS included, and is read by the task that serves the connection:
//
//	accepted    counted at the listener, not by address: the peer's would be the proxy's
//	header      within timeouts.head; from here on the client's address is that of the header
//	Move        counted by that address: limits.connections_per_client
//	handshake, requests

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/proxyproto"
)

// ProxyListener has the connections of a listener begin with a header of the PROXY protocol, for
// Serve.
func (srv *Server) ProxyListener(l net.Listener, c config.ProxyProtocol) (net.Listener, error) {
	trusted, err := c.Prefixes()
	if err != nil {
		return nil, err
	}
	return &proxyListener{Listener: l, trusted: trusted, refuses: c.Others != "serve"}, nil
}

// A proxyListener is one whose peers may be proxies. Its Accept does not read the header: only
// Serve does.
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
	refuses bool         // other peers
	told    atomic.Int64 // Unix time of the latest line about a refusal
}

// layered is what a listener is made of: the one below everything, and what is around it; nil: that
// is not there.
type layered struct {
	plain    net.Listener
	secure   *tlsListener
	proxied  *proxyListener
	protocol string // that clients may speak: a word of config.Listen.Protocol
}

// layers takes l apart.
func layers(l net.Listener) layered {
	of := layered{plain: l, protocol: bothProtocols}
	if t, ok := of.plain.(*tlsListener); ok {
		of.plain, of.secure = t.plain, t
	}
	if p, ok := of.plain.(*proxyListener); ok {
		of.plain, of.proxied = p.Listener, p
	}
	if p, ok := of.plain.(*protocolListener); ok {
		of.plain, of.protocol = p.Listener, p.protocol
	}
	return of
}

// trusts reports whether a peer sends the header; the zero Addr is one at a unix socket.
func (l *proxyListener) trusts(peer netip.Addr) bool {
	peer = peer.Unmap().WithZone("")
	return !peer.IsValid() || slices.ContainsFunc(l.trusted, func(p netip.Prefix) bool { return p.Contains(peer) })
}

var errUntrusted = errors.New("the peer is not in proxy_protocol.trusted")

// client reads the header of a connection that peer has opened, and returns the client's address.
// It is the peer's where the header names none, and where the peer sends no header.
func (l *proxyListener) client(r io.Reader, peer netip.AddrPort) (netip.AddrPort, error) {
	if !l.trusts(peer.Addr()) {
		if l.refuses {
			return peer, errUntrusted
		}
		return peer, nil
	}
	h, err := proxyproto.Read(r)
	if err != nil || !h.Source.IsValid() {
		return peer, err
	}
	return h.Source, nil
}

// announced is client for a connection that goroutines serve.
func (srv *Server) announced(l *proxyListener, conn net.Conn, peer netip.AddrPort) (netip.AddrPort, error) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	conn.SetReadDeadline(time.Now().Add(srv.core.Config().Timeouts.Head))
	stop := context.AfterFunc(srv.handshakes, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	client, err := l.client(conn, peer)
	if err == nil && stop() {
		conn.SetReadDeadline(time.Time{})
	}
	return client, err
}

// toldEvery bounds how often a listener says that it has refused a peer: anyone can connect.
const toldEvery = 10 // seconds

// refused says that a connection of peer was closed before its first request; err nil: its client
// has as many as it may have, which is counted.
func (l *proxyListener) refused(log *slog.Logger, peer netip.AddrPort, err error) {
	now, last := time.Now().Unix(), l.told.Load()
	if err == nil || errors.Is(err, io.EOF) || now-last < toldEvery || !l.told.CompareAndSwap(last, now) {
		return
	}
	log.Warn("connection closed: PROXY protocol", "address", l.Addr().String(), "peer", peer.String(), "error", err)
}
