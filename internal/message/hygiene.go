package message

// What ends at this hop (RFC 9110 §7.6.1): Connection and what it names, Upgrade, TE,
// Keep-Alive and the like are read, acted upon and dropped.

import "github.com/poise-lb/poise/internal/limits"

// Derive sets the flags of r that follow from Minor and Fields and do not depend on the
// framing: KeepAlive, ExpectContinue, TrailersOK and Upgrade. The code that fills a Request
// calls it once, before anything is dropped; h1 does so itself.
//
// Expect means nothing in HTTP/1.0 (RFC 9110 §10.1.1): there it is dropped. Upgrade is
// nil when the client offers h2c: with it a client could open a connection past the
// routes, so the offer is ignored as RFC 9110 §7.8 allows.
func (r *Request) Derive() {
	c := readControls(r.Fields)
	r.KeepAlive = c.persists(r.Minor)
	r.ExpectContinue = r.Minor > 0 && HasToken(c.expect, "100-continue")
	r.TrailersOK = c.trailers
	r.Upgrade = nil
	if r.Minor > 0 && !HasToken(c.upgradeTo, "h2c") {
		r.Upgrade = c.upgrade()
	}
	if r.Minor == 0 && c.expect != nil {
		Drop(r.Fields, Expect)
	}
}

// Derive sets KeepAlive and Upgrade of r from Minor and Fields, as for a Request. That
// content until the end of the connection ends it is not regarded here.
func (r *Response) Derive() {
	c := readControls(r.Fields)
	r.KeepAlive = c.persists(r.Minor)
	r.Upgrade = c.upgrade()
}

// controls is what the connection's own fields say.
type controls struct {
	close, keepAlive, upgradeOption bool // options of Connection
	trailers                        bool // TE: trailers
	upgradeTo, expect               []byte
}

func readControls(fields []Field) (c controls) {
	for i := range fields {
		switch f := &fields[i]; f.Kind {
		case Connection:
			if ends, goesOn := usual(f.Value); ends || goesOn {
				c.close, c.keepAlive = c.close || ends, c.keepAlive || goesOn
				continue
			}
			for t, rest := NextToken(f.Value); t != nil; t, rest = NextToken(rest) {
				c.close = c.close || EqualFold(t, "close")
				c.keepAlive = c.keepAlive || EqualFold(t, "keep-alive")
				c.upgradeOption = c.upgradeOption || EqualFold(t, "upgrade")
			}
		case TE:
			c.trailers = c.trailers || HasToken(f.Value, "trailers")
		case Upgrade: // of several fields, the first: the client's favourite
			if c.upgradeTo == nil && len(f.Value) > 0 {
				c.upgradeTo = f.Value
			}
		case Expect:
			if c.expect == nil {
				c.expect = f.Value
			}
		}
	}
	return c
}

// usual recognizes the values that Connection nearly always has: to read a list costs ten times as
// much. Keep-Alive, which one of them nominates, goes on in no case.
func usual(value []byte) (ends, goesOn bool) {
	switch string(value) { // which costs a third of what folding does
	case "close":
		return true, false
	case "keep-alive":
		return false, true
	}
	return EqualFold(value, "close"), EqualFold(value, "keep-alive")
}

// persists is RFC 9112 §9.3, with "close" stronger than anything else.
func (c *controls) persists(minor uint8) bool {
	return !c.close && (minor > 0 || c.keepAlive)
}

func (c *controls) upgrade() []byte {
	if !c.upgradeOption {
		return nil
	}
	return c.upgradeTo
}

// What becomes of a known field when a message is forwarded.
var (
	// hopByHop never goes on (RFC 9110 §7.6.1): where the next connection needs such a
	// field, the codec writes its own from the flags of the head. Host and the framing
	// are not here: they are written anew, too, but are not the connection's alone.
	// The Proxy- fields speak to a proxy, which is us (RFC 9110 §11.7). Trailer is not
	// here either, because trailers go on; the codec writes it with chunked content only.
	hopByHop = [kinds]bool{
		TransferEncoding: true, Connection: true, KeepAlive: true, ProxyConnection: true, TE: true,
		Upgrade: true, ProxyAuthenticate: true, ProxyAuthorization: true,
	}

	// notNominable stays although Connection nominates it: a peer must not
	// be able to take away what we, or a proxy before us, said about him, nor what the
	// message needs to be understood.
	notNominable = [kinds]bool{
		Host: true, ContentLength: true, Forwarded: true, XForwardedFor: true, XForwardedProto: true,
		XForwardedHost: true, XForwardedPort: true, XForwardedPrefix: true, XRealIP: true, Via: true,
		ClientCert: true, ClientCertChain: true, MaxForwards: true, Expect: true, Date: true, ContentType: true, ContentEncoding: true,
		CacheControl: true, SetCookie: true, Trailer: true,
	}
)

// OptionsMax is how many options of Connection are obeyed: more is no use of the field, but
// an attack on the time that looking for the nominated fields takes. What comes after
// them is ignored (h1 rejects such a message).
const OptionsMax = limits.OptionsMax

// DropHopByHop marks as dropped the fields that end at this hop, in requests and in
// responses: those of RFC 9110 §7.6.1, the Proxy- fields, and every field nominated by
// Connection, except those that may not be nominated (the X-Forwarded family, X-Real-IP, Host,
// the framing and the like). Call it before fields are added.
func DropHopByHop(fields []Field) {
	options := 0
	for i := range fields {
		f := &fields[i]
		if !hopByHop[f.Kind] {
			continue
		}
		f.Drop = true
		if f.Kind != Connection {
			continue
		}
		if ends, goesOn := usual(f.Value); ends || goesOn {
			if options++; ends && options <= OptionsMax {
				dropNamed(fields, f.Value)
			}
			continue
		}
		for t, rest := NextToken(f.Value); t != nil && options < OptionsMax; t, rest = NextToken(rest) {
			options++
			dropNominated(fields, t)
		}
	}
}

// dropNominated drops the fields that option names, unless it is one that names none.
func dropNominated(fields []Field, option []byte) {
	kind := KindOf(option)
	if kind != Other {
		if !notNominable[kind] && !hopByHop[kind] {
			Drop(fields, kind)
		}
		return
	}
	dropNamed(fields, option)
}

// dropNamed drops the fields of a name that is no known one.
func dropNamed(fields []Field, option []byte) {
	for i := range fields {
		f := &fields[i]
		if f.Kind == Other && len(f.Name) == len(option) && equalFoldBytes(f.Name, option) {
			f.Drop = true
		}
	}
}

func equalFoldBytes(a, b []byte) bool {
	for i, c := range a {
		if lower[c] != lower[b[i]] {
			return false
		}
	}
	return true
}

// TrailerAllowed reports whether name may stand in a trailer section that is forwarded.
// RFC 9110 §6.5.1 forbids framing, routing, request modifiers, authentication and
// content format there, because a recipient may merge trailers into the head. Every
// name the proxy knows is of that sort; the rest are listed.
func TrailerAllowed(name []byte) bool {
	if KindOf(name) != Other {
		return false
	}
	if len(name) >= 3 && EqualFold(name[:3], "if-") {
		return false
	}
	for _, no := range notTrailers {
		if EqualFold(name, no) {
			return false
		}
	}
	return true
}

var notTrailers = [...]string{
	"Age", "Content-Disposition", "Content-Location", "Content-Range", "Expires", "HTTP2-Settings", "Pragma",
	"Proxy-Authentication-Info", "Proxy-Status", "Range", "Vary", "Warning", "WWW-Authenticate",
}
