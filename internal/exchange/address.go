package exchange

import (
	"net/netip"

	"github.com/poise-lb/poise/internal/message"
)

// ParseAddress reads the address that proxies write for a client, in every form that is in
// use: 192.0.2.1, 192.0.2.1:51001, 2001:db8::1, [2001:db8::1], [2001:db8::1]:443, also with
// a zone or within quotes (RFC 7239 §6). Zone and port are left out, and IPv4 within IPv6 is
// IPv4, so that one client has one text. ok is false for everything else: the word unknown,
// names that hide somebody (_hidden), and what is no address.
func ParseAddress(text []byte) (addr netip.Addr, ok bool) {
	text = message.TrimSpace(text)
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = message.TrimSpace(text[1 : n-1])
	}
	host, ok := withoutPort(text)
	if !ok || len(host) == 0 || len(host) > addressMax {
		return netip.Addr{}, false
	}
	if c := host[0]; c > 'f' || c == '_' { // unknown, _hidden: common, so without the garbage of an error
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(string(host))
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.WithZone("").Unmap(), true
}

// addressMax is the longest text of an address, with the name of an interface as its zone.
const addressMax = 64

// withoutPort cuts brackets and a port off. Two colons without brackets are IPv6.
func withoutPort(text []byte) (host []byte, ok bool) {
	if len(text) > 0 && text[0] == '[' {
		for i, c := range text {
			if c == ']' {
				return text[1:i], i+1 == len(text) || text[i+1] == ':' && isPort(text[i+2:])
			}
		}
		return nil, false
	}
	colon := -1
	for i, c := range text {
		if c != ':' {
			continue
		}
		if colon >= 0 {
			return text, true
		}
		colon = i
	}
	if colon < 0 {
		return text, true
	}
	return text[:colon], isPort(text[colon+1:])
}

// isPort accepts digits, and the hidden ports of RFC 7239 §6.3.
func isPort(text []byte) bool {
	if len(text) > 0 && text[0] == '_' {
		return message.ValidName(text)
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) <= 5
}
