package exchange

import (
	"bytes"
	"net/netip"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/rewrite"
	"github.com/poise-lb/poise/internal/route"
)

// forward is what the proxy itself says of a request, and the room to write it.
type forward struct {
	norm  []byte // the path in normal form, as it was matched
	path  []byte // room for norm
	made  []byte // room for a rewritten path
	chain []byte // room for X-Forwarded-For
	ip    []byte // room for the address of a client behind other proxies
	login bool   // the request has credentials that authenticate its connection
}

// The fields a proxy tells the endpoint about the client with.
var (
	nameRealIP = []byte("X-Real-IP")
	nameFor    = []byte("X-Forwarded-For")
	nameProto  = []byte("X-Forwarded-Proto")
	nameHost   = []byte("X-Forwarded-Host")

	protoHTTP  = []byte("http")
	protoHTTPS = []byte("https")
)

func (f *forward) normalize(raw []byte) (norm []byte, err error) {
	f.norm, err = route.Normalize(f.path[:0], raw)
	if len(f.norm) > 0 && (len(raw) == 0 || &f.norm[0] != &raw[0]) {
		f.path = f.norm // the room it has made is of use again
	}
	return f.norm, err
}

// fields drops the fields that end at this hop and sets those that say who the client is:
// from what the connection shows, or, behind a trusted proxy, from what that proxy said.
// It returns the client's address as text.
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
		case message.Authorization:
			f.login = f.login || bindsConnection(q.Value)
		}
	}
	if len(ip) > 0 {
		q.Fields = append(q.Fields,
			message.Field{Name: nameRealIP, Value: ip, Kind: message.XRealIP},
			message.Field{Name: nameFor, Value: chain, Kind: message.XForwardedFor})
	}
	q.Fields = append(q.Fields, message.Field{Name: nameProto, Value: proto, Kind: message.XForwardedProto})
	if len(host) > 0 {
		q.Fields = append(q.Fields, message.Field{Name: nameHost, Value: host, Kind: message.XForwardedHost})
	}
	return ip
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

// lastUntrusted goes through a list of hops from its end, where the proxy next to us has
// written, and returns the first address that is not a trusted proxy's, or else the last one
// it could read, known if there is none. further says that all of them are trusted: what
// stands left of another proxy, or of a hop without an address, may be anybody's words.
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

// plainHop is an element of X-Forwarded-For.
func plainHop(hop []byte) []byte { return hop }

// forwardedHop is who an element of Forwarded says the request came from, as in
// for="[2001:db8::1]:443";proto=https (RFC 7239 §4); nil: it does not say.
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

// cutLast cuts the last element off a comma-separated list.
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
