package upstream

import (
	"github.com/poise-lb/poise/endpoint"
)

// boundMax is how many endpoint connections one client's connection may hold: one for each
// service that authenticates connections, and few clients use more than one.
const boundMax = 4

// Bonds are the connections to endpoints that belong to one client's connection, because
// their endpoints have authenticated the connection rather than each request (NTLM and
// Negotiate, RFC 4559 §6): every request on such a connection is that user's. They live as long
// as the client's connection, and no other client ever uses them. The zero value holds none.
// Bonds are used by the tasks of the client's connection, one at a time.
type Bonds struct {
	first *Conn // the one used last; the rest by bond.next
}

// bond is what a connection that belongs to one client's connection keeps of that.
type bond struct {
	in    *Bonds // nil: the client's connection is not known
	owner any
	next  *Conn // in the same Bonds
}

// Bind makes c belong to the client's connection that owns b, for good. owner is what
// Endpoint finds it by: one of each is kept. b nil: the client's connection is not known, so
// c is closed after this exchange.
func (c *Conn) Bind(b *Bonds, owner any) {
	if c.bond == nil {
		c.bond = &bond{in: b, owner: owner}
	}
}

// Endpoint is the endpoint that a connection bound for owner leads to; nil: there is none.
func (b *Bonds) Endpoint(owner any) *endpoint.Endpoint {
	if b == nil {
		return nil
	}
	for c := b.first; c != nil; c = c.bond.next {
		if c.bond.owner == owner {
			return c.pool.endpoint
		}
	}
	return nil
}

// Take takes the connection of pool p out of b, if there is one that is still good; nil:
// there is none. Only the endpoint ends it: an idle timeout would take the user's
// authentication with it.
func (b *Bonds) Take(p *Pool) *Conn {
	if b == nil {
		return nil
	}
	c := b.remove(func(c *Conn) bool { return c.pool == p })
	if c == nil {
		return nil
	}
	if !p.current.Load().fits(c) || p.closed.Load() || !c.Stream.Quiet() || c.overdue() {
		p.drop(c)
		return nil
	}
	c.reuse(p.current.Load())
	return c
}

// Close closes the connections: the client's connection has ended.
func (b *Bonds) Close() {
	for c := b.first; c != nil; c = b.first {
		b.first, c.bond.next = c.bond.next, nil
		c.pool.drop(c)
	}
}

// put takes back a connection that can carry another request of the same client. It
// replaces the one that was bound for the same owner.
func (b *Bonds) put(c *Conn) {
	c.idleSince = c.rt.Now()
	if old := b.remove(func(o *Conn) bool { return o.bond.owner == c.bond.owner }); old != nil {
		old.pool.drop(old)
	}
	c.bond.next, b.first = b.first, c
	n := 0
	for at := &b.first; *at != nil; at = &(*at).bond.next {
		if n++; n > boundMax {
			old := *at
			*at = nil
			old.pool.drop(old)
			return
		}
	}
}

// remove takes the first connection out that match picks; nil: there is none.
func (b *Bonds) remove(match func(*Conn) bool) *Conn {
	for at := &b.first; *at != nil; at = &(*at).bond.next {
		if c := *at; match(c) {
			*at, c.bond.next = c.bond.next, nil
			return c
		}
	}
	return nil
}

// overdue reports whether the endpoint has promised to keep c open for a time that is over.
func (c *Conn) overdue() bool {
	return c.idleMost > 0 && c.rt.Now() >= c.idleSince+c.idleMost
}

// fits reports whether a connection was made under the same TLS settings as new ones are.
func (t *target) fits(c *Conn) bool { return c.secure == t.TLS }
