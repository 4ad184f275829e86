package h1

import (
	"net/netip"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/upstream"
)

// Probes have connections of their own: they are not counted against connections.max, and
// each is closed when its probe is over.

var _ upstream.Prober = (*Pool)(nil)

// Alone implements upstream.Prober.
func (p *Pool) Alone(rt engine.Runtime, port int, by time.Duration) (upstream.Call, error) {
	t := p.current.Load()
	s, err := t.at.DialPort(rt, port, t.announce(netip.AddrPort{}), by)
	if err == nil {
		err = t.spoken(s)
	}
	if err != nil {
		return nil, err
	}
	c := newConn(rt, p, s, t)
	c.stall = by - rt.Now()
	return &alone{c}, nil
}

// alone is a call on a connection that no pool has.
type alone struct{ *Conn }

func (a *alone) Done(bool) { a.close() }

// Connect implements upstream.Prober.
func (p *Pool) Connect(rt engine.Runtime, port int, by time.Duration) error {
	t := p.current.Load()
	s, err := t.at.DialPort(rt, port, t.announce(netip.AddrPort{}), by)
	if err != nil {
		return err
	}
	return s.Close()
}
