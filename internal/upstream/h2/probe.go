package h2

import (
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/upstream"
)

// Probes have connections of their own: they are not counted against connections.max, and
// each ends with its probe.

// Alone implements upstream.Prober.
func (p *Pool) Alone(rt engine.Runtime, port int, by time.Duration) (upstream.Call, error) {
	t := p.current.Load()
	s, err := p.dialAlone(rt, t, port, by)
	if err != nil {
		return nil, err
	}
	stall := by - rt.Now()
	c := p.open(rt, s, t, stall)
	c.ended = func() {}
	c.start()
	stream, err := c.mux.Open(by)
	if err != nil {
		c.mux.Leave()
		c.mux.Interrupt(err)
		return nil, err
	}
	x := newCall(c, stream, stall, false)
	x.alone = true
	return x, nil
}

// Connect implements upstream.Prober.
func (p *Pool) Connect(rt engine.Runtime, port int, by time.Duration) error {
	s, err := p.dialAlone(rt, p.current.Load(), port, by)
	if err != nil {
		return err
	}
	return s.Close()
}

// dialAlone connects to a port of the endpoint's host; upstream.ErrOther: HTTP/1.1 is spoken
// there.
func (p *Pool) dialAlone(rt engine.Runtime, t *target, port int, by time.Duration) (engine.Stream, error) {
	s, err := t.at.DialPort(rt, port, nil, by)
	switch {
	case err != nil:
		return nil, err
	case t.at.TLS == nil || upstream.AgreedHTTP2(s):
		return s, nil
	}
	s.Close()
	if t.Version == upstream.Negotiated {
		return nil, upstream.ErrOther
	}
	return nil, errNotHTTP2
}
