package h1

import (
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/upstream"
)

// A connection whose endpoint has authenticated it belongs to one client's connection. The
// list of such connections is upstream.Bonds; here is what they are to this pool.

var (
	_ upstream.Binder = (*Conn)(nil)
	_ upstream.Bound  = (*Conn)(nil)
)

// Bind implements upstream.Binder.
func (c *Conn) Bind(b *upstream.Bonds, owner any) {
	if c.bond == nil || c.announced {
		c.announced = false
		c.bond = upstream.NewBond(b, owner, c)
	}
}

// Endpoint implements upstream.Bound.
func (c *Conn) Endpoint() *endpoint.Endpoint { return c.pool.endpoint }

// Drop implements upstream.Bound.
func (c *Conn) Drop() { c.pool.drop(c) }

// ofClient takes a connection of this pool out of mine; nil: there is none. If fresh is set none
// will do, and those that there are end.
func (p *Pool) ofClient(mine *upstream.Bonds, fresh bool) *Conn {
	for !mine.Empty() {
		c := p.takeBound(mine)
		if c == nil || !fresh {
			return c
		}
		p.drop(c)
	}
	return nil
}

// takeBound takes the connection of this pool out of mine, if there is one that is still
// good; nil: there is none. Only the endpoint ends it: an idle timeout would take the user's
// authentication with it.
func (p *Pool) takeBound(mine *upstream.Bonds) *Conn {
	c, _ := mine.Take(func(b upstream.Bound) bool {
		c, ok := b.(*Conn)
		return ok && c.pool == p
	}).(*Conn)
	if c == nil {
		return nil
	}
	if !p.current.Load().fits(c) || p.closed.Load() || !c.stream.Quiet() || c.overdue() {
		p.drop(c)
		return nil
	}
	c.reuse(p.current.Load())
	return c
}

// overdue reports whether the endpoint has promised to keep c open for a time that is over.
func (c *Conn) overdue() bool {
	return c.idleMost > 0 && c.rt.Now() >= c.idleSince+c.idleMost
}

// fits reports whether a connection was made under the same TLS settings as new ones are.
func (t *target) fits(c *Conn) bool { return c.secure == t.TLS }
