package exchange

// The fields that tell the endpoint about the client: X-Real-IP, the X-Forwarded family, and
// Client-Cert of a client that has shown a certificate. A
// client can send these fields itself, so they are believed only if the peer of the connection
// is in trusted_proxies. With trusted_proxies: [10.0.0.0/8]:
//
//	from 198.51.100.7, with X-Forwarded-For: 203.0.113.9
//	    X-Real-IP: 198.51.100.7
//	    X-Forwarded-For: 198.51.100.7          what it sent is dropped
//
//	from 10.0.0.2, with X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.0.0.1
//	    X-Real-IP: 198.51.100.7                the last address that is not a trusted proxy's
//	    X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.0.0.1, 10.0.0.2
//
// The search goes from the end, where the nearest proxy has written: 10.0.0.1 is trusted, so it is
// believed that 198.51.100.7 connected to it. What that address claims (203.0.113.9) is not.

import (
	"bytes"
	"net/netip"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/rewrite"
	"github.com/poise-lb/poise/internal/route"
)

// forward has the buffers for what the proxy adds to a request. They are used again for the next
// request; fields of the request point into them until then.
type forward struct {
	norm   []byte // the path in normal form, as it was matched
	path   []byte // buffer for norm
	made   []byte // buffer for a rewritten path
	chain  []byte // buffer for X-Forwarded-For
	cookie []byte // buffer for the cookie of a sticky service
	ip     []byte // buffer for the address of a client behind other proxies
	login  bool   // the request has credentials that authenticate its connection
}

// Names of the fields that are set, and values of X-Forwarded-Proto.
var (
	nameRealIP = []byte("X-Real-IP")
	nameFor    = []byte("X-Forwarded-For")
	nameProto  = []byte("X-Forwarded-Proto")
	nameHost   = []byte("X-Forwarded-Host")

	nameClientCert      = []byte("Client-Cert")
	nameClientCertChain = []byte("Client-Cert-Chain")

	protoHTTP  = []byte("http")
	protoHTTPS = []byte("https")
)

// normalize sets and returns the normal form of a path, which is raw itself if that is normal.
// err, route.Backslash for instance, says why the path is dangerous; norm may be valid even so.
func (f *forward) normalize(raw []byte) (norm []byte, err error) {
	f.norm, err = route.Normalize(f.path[:0], raw)
	if len(f.norm) > 0 && (len(raw) == 0 || &f.norm[0] != &raw[0]) {
		f.path = f.norm // keep the buffer, which may have grown
	}
	return f.norm, err
}

// fields drops the fields of q that end at this hop and sets those about the client: from the
// connection, or, if the peer is a trusted proxy, from what that proxy has sent. It returns the
// client's address as text, empty for a unix socket; the slice is valid until the next call.
func (f *forward) fields(q *message.Request, peer *Peer, t *Table) (clientIP []byte) {
	message.DropHopByHop(q.Fields)
	f.login = false
	proto := protoHTTP
	if peer.Scheme == "https" {
		proto = protoHTTPS
	}
	host, ip, chain := q.Host, peer.IP, peer.IP
	trusted := len(t.Trusted) > 0 && t.trusts(peer.Addr)
	if trusted {
		ip, chain = f.believe(q.Fields, peer, t)
		if v, ok := message.GetKind(q.Fields, message.XForwardedProto); ok {
			proto = v
		}
		if v, ok := message.GetKind(q.Fields, message.XForwardedHost); ok {
			host = v
		}
	}
	for i := range q.Fields {
		switch q := &q.Fields[i]; q.Kind {
		case message.XRealIP, message.XForwardedFor, message.XForwardedProto, message.XForwardedHost:
			q.Drop = true
		case message.Forwarded, message.XForwardedPort, message.XForwardedPrefix:
			q.Drop = q.Drop || !trusted
		case message.ClientCert, message.ClientCertChain: // a proxy that has verified it may say so
			q.Drop = q.Drop || !trusted || peer.Cert != nil
		case message.Authorization:
			f.login = f.login || bindsConnection(q.Value)
		}
	}
	if len(ip) > 0 {
		q.Fields = message.Append(q.Fields, nameRealIP, ip, message.XRealIP)
		q.Fields = message.Append(q.Fields, nameFor, chain, message.XForwardedFor)
	}
	q.Fields = message.Append(q.Fields, nameProto, proto, message.XForwardedProto)
	if peer.Cert != nil {
		peer.Cert.fields(q)
	}
	if len(host) > 0 {
		q.Fields = message.Append(q.Fields, nameHost, host, message.XForwardedHost)
	}
	return ip
}

// fields adds what the client has proved.
func (c *ClientCert) fields(q *message.Request) {
	if len(c.Leaf) > 0 {
		q.Fields = message.Append(q.Fields, nameClientCert, c.Leaf, message.ClientCert)
	}
	if len(c.Chain) > 0 {
		q.Fields = message.Append(q.Fields, nameClientCertChain, c.Chain, message.ClientCertChain)
	}
}

// believe appends the peer to the chain of X-Forwarded-For and finds the client in it: the
// last address that is not a trusted proxy's. Where no proxy has written that field,
// X-Real-IP names the client, or else Forwarded.
func (f *forward) believe(fields []message.Field, peer *Peer, t *Table) (ip, chain []byte) {
	f.chain = f.chain[:0]
	for i := range fields {
		if fields[i].Kind == message.XForwardedFor && len(fields[i].Value) > 0 {
			f.chain = append(f.chain, fields[i].Value...)
			f.chain = append(f.chain, ", "...)
		}
	}
	received := len(f.chain)
	f.chain = append(f.chain, peer.IP...)
	var client netip.Addr
	if received > 0 {
		client, _ = t.lastUntrusted(client, f.chain[:received], plainHop)
	} else if v, ok := message.GetKind(fields, message.XRealIP); ok && len(v) > 0 {
		client, _ = ParseAddress(v)
	} else {
		further := true
		for i := len(fields) - 1; i >= 0 && further; i-- {
			if fields[i].Kind == message.Forwarded {
				client, further = t.lastUntrusted(client, fields[i].Value, forwardedHop)
			}
		}
	}
	if !client.IsValid() {
		return peer.IP, f.chain
	}
	f.ip = client.AppendTo(f.ip[:0])
	return f.ip, f.chain
}

// lastUntrusted searches a comma-separated list of hops from its end and returns the first
// address that is not a trusted proxy's. If there is none it returns the last address that it
// has read, or known if there was none. further: all hops are trusted, so an earlier list may be
// searched as well. A hop without an address ends the search: what is left of it is not
// trustworthy. address cuts the address out of a hop.
func (t *Table) lastUntrusted(known netip.Addr, list []byte, address func(hop []byte) []byte) (addr netip.Addr, further bool) {
	for len(list) > 0 {
		var hop []byte
		if list, hop = cutLast(list); len(hop) == 0 {
			continue
		}
		addr, ok := ParseAddress(address(hop))
		if !ok {
			return known, false
		}
		if known = addr; !t.trusts(addr) {
			return known, false
		}
	}
	return known, true
}

// plainHop is the address of an element of X-Forwarded-For: the element itself.
func plainHop(hop []byte) []byte { return hop }

// forwardedHop is the for parameter of an element of Forwarded, as in
// for="[2001:db8::1]:443";proto=https (RFC 7239 §4); nil: there is none.
func forwardedHop(hop []byte) []byte {
	for more := true; more; {
		var pair []byte
		pair, hop, more = bytes.Cut(hop, []byte(";"))
		name, value, _ := bytes.Cut(pair, []byte("="))
		if message.EqualFold(message.TrimSpace(name), "for") {
			return value
		}
	}
	return nil
}

// cutLast cuts the last element, trimmed, off a comma-separated list. rest is nil when the
// element was the only one.
func cutLast(list []byte) (rest, last []byte) {
	i := len(list) - 1
	for i >= 0 && list[i] != ',' {
		i--
	}
	last = message.TrimSpace(list[i+1:])
	if i < 0 {
		return nil, last
	}
	return list[:i], last
}

// rules applies the route's edits of the request.
func (f *forward) rules(q *message.Request, r *rewrite.Rules) {
	f.made = r.Request(q, f.norm, f.made[:0])
}
