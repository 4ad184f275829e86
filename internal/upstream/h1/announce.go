package h1

// The PROXY protocol towards endpoints: a connection begins with a header that says who the client
// is, so it can only be used for that client. It is bound to the client's connection, as one that
// the endpoint has authenticated is, and ends with it:
//
//	client 1   GET /a   connects, header of client 1, GET /a
//	           GET /b   the same connection
//	client 2   GET /a   connects, header of client 2, GET /a
//	a probe             connects, header without an address (LOCAL or UNKNOWN)

import (
	"net/netip"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/proxyproto"
	"github.com/poise-lb/poise/internal/upstream"
)

var _ upstream.Announcer = (*Pool)(nil)

// CallFor implements upstream.Announcer.
func (p *Pool) CallFor(rt engine.Runtime, by time.Duration, fresh bool, mine *upstream.Bonds, client netip.AddrPort) (upstream.Call, error) {
	t := p.current.Load()
	if t.ProxyProtocol == 0 { // a reload came in between
		return p.Call(rt, by, fresh, mine)
	}
	if c := p.ofClient(mine, fresh); c != nil {
		return c, nil
	}
	c, err := p.connect(rt, by, t, t.announce(client))
	if err != nil {
		return nil, err
	}
	c.Bind(mine, p) // not the service: the next request of the client may go to another endpoint
	c.announced = true
	return c, nil
}

// announce is the header for a client; nil: there is none to be sent. The destination in it is the
// endpoint; of a unix endpoint it is the unspecified address.
func (t *target) announce(client netip.AddrPort) []byte {
	if t.ProxyProtocol == 0 {
		return nil
	}
	var h proxyproto.Header
	if client.IsValid() {
		h.Source = client
		if h.Destination, _ = netip.ParseAddrPort(t.at.Address); !h.Destination.IsValid() {
			h.Destination = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
			if client.Addr().Unmap().Is4() {
				h.Destination = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
			}
		}
	}
	if t.ProxyProtocol == 1 {
		return proxyproto.Append1(nil, h)
	}
	return proxyproto.Append2(nil, h)
}
