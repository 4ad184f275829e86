package exchange

import (
	"net/netip"

	"github.com/poise-lb/poise/internal/message"
)

// ParseAddress parses the address that a proxy has written for a client, in every form that is
// in use (RFC 7239 §6):
//
//	192.0.2.1   192.0.2.1:51001   2001:db8::1   [2001:db8::1]   [2001:db8::1]:443
//	"[2001:db8::1]:443"           fe80::1%eth0  ::ffff:192.0.2.1 (is 192.0.2.1)
//
// It drops zone and port, so that one client always has the same text. ok is false for all else,
// such as unknown, an obfuscated name (_hidden), or a host name. It does not allocate for the
// usual ones of these.
func ParseAddress(text []byte) (addr netip.Addr, ok bool) {
	text = message.TrimSpace(text)
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = message.TrimSpace(text[1 : n-1])
	}
	host, ok := withoutPort(text)
	if !ok || len(host) == 0 || len(host) > addressMax {
		return netip.Addr{}, false
	}
	if c := host[0]; c > 'f' || c == '_' { // unknown, _hidden: frequent, so no error is allocated
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

// withoutPort cuts brackets and a port off; ok false: the text is malformed. Without brackets,
// two colons mean an IPv6 address, which has no port then.
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

// isPort reports whether text can be a port: up to five digits, none included, or an obfuscated
// port such as _http (RFC 7239 §6.3).
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
