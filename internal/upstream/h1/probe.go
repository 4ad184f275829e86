package h1

import (
	"errors"
	"fmt"
	"net"
	"strconv"
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
	s, err := t.dialPort(rt, port, by)
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
	s, err := p.current.Load().dialPort(rt, port, by)
	if err != nil {
		return err
	}
	return s.Close()
}

// dialPort connects to a port of the endpoint's host; 0: the endpoint's own. That nothing
// listens there says nothing about the endpoint's own port, if it is another one.
func (t *target) dialPort(rt engine.Runtime, port int, by time.Duration) (engine.Stream, error) {
	address, elsewhere := t.address, false
	if host, own, err := net.SplitHostPort(address); err == nil && t.network == "tcp" && port != 0 {
		address = net.JoinHostPort(host, strconv.Itoa(port))
		elsewhere = own != strconv.Itoa(port)
	}
	s, err := rt.Dial(&engine.Dial{Network: t.network, Address: address, TLS: t.tls, By: by})
	if elsewhere && errors.Is(err, engine.ErrRefused) {
		return nil, fmt.Errorf("port %d: %s", port, err.Error())
	}
	return s, err
}
