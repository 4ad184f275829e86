package upstream

import (
	"github.com/poise-lb/poise/endpoint"
)

// bondsMax is how many endpoint connections one client's connection may hold: one for each
// service that authenticates connections, and few clients use more than one.
const bondsMax = 4

// Bonds are the connections to endpoints that belong to one client's connection, because
// their endpoints have authenticated the connection rather than each request (NTLM and
// Negotiate, RFC 4559 §6): every request on such a connection is that user's. They live as long
// as the client's connection, and no other client ever uses them. The zero value holds none.
// Bonds are used by the tasks of the client's connection, one at a time.
type Bonds struct{ all *bonds } // nil: there has been none

// bonds are what a Bond refers to, and not the Bonds: those may serve another client before the
// last exchange with a bound connection has ended.
type bonds struct {
	first  *Bond // of the connection used last; the rest by Bond.next
	closed bool  // the client's connection has ended
}

// A Bond ties a connection to an endpoint to a client's connection. It is listed in the Bonds
// of that while its connection is idle.
type Bond struct {
	in    *bonds // nil: the client's connection is not known
	owner any
	conn  Bound
	next  *Bond
}

// A Bound is a connection to an endpoint that has a Bond.
type Bound interface {
	// Endpoint is where the connection leads.
	Endpoint() *endpoint.Endpoint
	// Drop closes the connection. A task of its worker calls it.
	Drop()
}

// NewBond ties c to the client's connection that owns b; nil: that is not known.
func NewBond(b *Bonds, owner any, c Bound) *Bond {
	if b == nil {
		return &Bond{owner: owner, conn: c}
	}
	if b.all == nil {
		b.all = new(bonds)
	}
	return &Bond{in: b.all, owner: owner, conn: c}
}

// Known reports whether the client's connection is known and has not ended, so that Keep may be called.
func (t *Bond) Known() bool { return t.in != nil && !t.in.closed }

// Keep lists an idle connection, which can carry another request of the same client. It
// replaces the one of the same owner.
func (t *Bond) Keep() {
	b := t.in
	if old := b.remove(func(o *Bond) bool { return o.owner == t.owner }); old != nil {
		old.conn.Drop()
	}
	t.next, b.first = b.first, t
	n := 0
	for at := &b.first; *at != nil; at = &(*at).next {
		if n++; n > bondsMax {
			old := *at
			*at = nil
			old.conn.Drop()
			return
		}
	}
}

// Endpoint is the endpoint that a connection bound for owner leads to; nil: there is none.
func (b *Bonds) Endpoint(owner any) *endpoint.Endpoint {
	if b.Empty() {
		return nil
	}
	for t := b.all.first; t != nil; t = t.next {
		if t.owner == owner {
			return t.conn.Endpoint()
		}
	}
	return nil
}

// Empty reports whether no connection is listed: b may be nil.
func (b *Bonds) Empty() bool { return b == nil || b.all == nil || b.all.first == nil }

// Take takes out the first connection that match picks; nil: there is none.
func (b *Bonds) Take(match func(Bound) bool) Bound {
	if b.Empty() {
		return nil
	}
	if t := b.all.remove(func(t *Bond) bool { return match(t.conn) }); t != nil {
		return t.conn
	}
	return nil
}

// Close closes the connections: the client's connection has ended.
func (b *Bonds) Close() {
	all := b.all
	if all == nil {
		return
	}
	b.all, all.closed = nil, true
	for t := all.first; t != nil; t = all.first {
		all.first, t.next = t.next, nil
		t.conn.Drop()
	}
}

// remove takes the first bond out that match picks; nil: there is none.
func (b *bonds) remove(match func(*Bond) bool) *Bond {
	for at := &b.first; *at != nil; at = &(*at).next {
		if t := *at; match(t) {
			*at, t.next = t.next, nil
			return t
		}
	}
	return nil
}
