package upstream

import (
	"fmt"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// A Probe is an active health check: one request on a connection of its own, so that it
// also tells whether the endpoint still accepts connections.
type Probe struct {
	Method string
	Path   string // and query
	Host   string // ""; the endpoint's
	Expect func(status int) bool
}

// Do probes e, whose connections are pool's, and returns by the given instant. nil: it
// passed.
func (p *Probe) Do(rt engine.Runtime, pool *Pool, e *endpoint.Endpoint, by time.Duration) error {
	t := pool.current.Load()
	s, err := rt.Dial(&engine.Dial{Network: t.network, Address: t.address, TLS: t.tls, By: by})
	if err != nil {
		return err
	}
	c := newConn(rt, pool, s, t)
	defer c.release()
	defer s.Close()
	c.Head(p.request(e))
	s.SetWriteDeadline(by)
	if err := c.out.Flush(); err != nil {
		return err
	}
	var r message.Response
	for r.Status < 200 {
		r.Reset()
		if err := c.ReadHead(&r, []byte(p.Method), by); err != nil {
			return err
		}
	}
	if !p.Expect(r.Status) {
		return fmt.Errorf("status %d", r.Status)
	}
	return nil
}

// Connect tells whether anything listens at the endpoint: it connects, with TLS where that
// is spoken, and closes again. It returns by the given instant; nil: something does.
func (p *Pool) Connect(rt engine.Runtime, by time.Duration) error {
	t := p.current.Load()
	s, err := rt.Dial(&engine.Dial{Network: t.network, Address: t.address, TLS: t.tls, By: by})
	if err != nil {
		return err
	}
	return s.Close()
}

func (p *Probe) request(e *endpoint.Endpoint) *message.Request {
	host := p.Host
	if host == "" {
		host = e.Spec().Authority()
	}
	return &message.Request{
		Method: []byte(p.Method),
		Path:   []byte(p.Path),
		Host:   []byte(host),
		Fields: []message.Field{message.NewField("User-Agent", "poise-probe")},
		Minor:  1,
	}
}
