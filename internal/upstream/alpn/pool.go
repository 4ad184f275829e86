// Package alpn is the pool of one endpoint whatever version of HTTP it speaks: that of h1 or
// that of h2. Which one follows from the endpoint's scheme and the setting Version and, where
// that is Negotiated, from what the endpoint has chosen last when TLS was negotiated:
//
//	h2c://                  HTTP/2
//	http://                 HTTP/2 if the setting says so
//	https://, Negotiated    HTTP/2 is tried; an endpoint that chooses HTTP/1.1 has its pool from
//	                        then on, until it chooses HTTP/2 for a new connection
//
// No connection is lost when an endpoint chooses HTTP/1.1: the pool of that takes it over.
package alpn

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/mux"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/internal/upstream/h1"
	"github.com/poise-lb/poise/internal/upstream/h2"
)

// A Pool holds the connections to one endpoint. It is safe for concurrent use.
type Pool struct {
	endpoint *endpoint.Endpoint
	workers  upstream.Workers
	spares   *mux.Spares

	now atomic.Pointer[way] // of the present version

	mu       sync.Mutex // guards what follows; held for some instructions
	settings *upstream.Settings
	closed   bool
	one, two *way // nil: not needed so far
}

var (
	_ upstream.Pool   = (*Pool)(nil)
	_ upstream.Prober = (*Pool)(nil)

	_ upstream.Announcer = (*Pool)(nil)
	_ upstream.Opener    = (*Pool)(nil)
)

// A way is the pool of one version of HTTP.
type way struct{ pool }

type pool interface {
	upstream.Pool
	upstream.Prober
	Configure(s *upstream.Settings)
	Sweep(now time.Duration)
	Close()
	Shed(worker int) bool
	Counts() (open, idle int64)
}

// NewPool returns the empty pool of e. workers nil: there is one, and any of its tasks may close
// the pool. spares belong to all pools of these workers.
func NewPool(e *endpoint.Endpoint, s *upstream.Settings, workers upstream.Workers, spares *mux.Spares) *Pool {
	p := &Pool{endpoint: e, workers: workers, spares: spares}
	p.Configure(s)
	return p
}

// Configure changes the settings. Connections that fit stay in use.
func (p *Pool) Configure(s *upstream.Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.settings
	p.settings = s
	for _, w := range [...]*way{p.one, p.two} {
		if w != nil {
			w.Configure(s)
		}
	}
	if old == nil || old.Version != s.Version || old.ProxyProtocol != s.ProxyProtocol {
		p.enter(s.ProxyProtocol == 0 && p.begins(s.Version))
	}
}

// begins reports whether HTTP/2 is what is spoken, or tried first.
func (p *Pool) begins(v upstream.Version) (two bool) {
	switch p.endpoint.ID().Scheme {
	case "h2c":
		return true
	case "https":
		return v != upstream.HTTP1
	}
	return v == upstream.HTTP2
}

// enter has calls opened by the pool of that version. The lock is held.
func (p *Pool) enter(two bool) { p.now.Store(p.way(two)) }

// way is the pool of that version, which is made if there is none. The lock is held.
func (p *Pool) way(two bool) *way {
	at := &p.one
	if two {
		at = &p.two
	}
	if *at == nil {
		*at = &way{p.make(two)}
	}
	return *at
}

func (p *Pool) make(two bool) (made pool) {
	if two {
		made = h2.NewPool(p.endpoint, p.settings, p.workers, p.spares, p.adopt)
	} else {
		made = h1.NewPool(p.endpoint, p.settings, p.workers)
	}
	if p.closed {
		made.Close()
	}
	return made
}

// adopt takes a connection whose endpoint has chosen HTTP/1.1.
func (p *Pool) adopt(rt engine.Runtime, s engine.Stream) {
	p.mu.Lock()
	p.enter(false)
	one := p.one.pool.(*h1.Pool)
	p.mu.Unlock()
	one.Adopt(rt, s)
}

// chose is called when the pool of from has found that the endpoint speaks the other version.
func (p *Pool) chose(from *way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settings.Version == upstream.Negotiated && p.now.Load() == from {
		p.enter(from != p.two)
	}
}

// Call implements upstream.Pool.
func (p *Pool) Call(rt engine.Runtime, by time.Duration, fresh bool, mine *upstream.Bonds) (upstream.Call, error) {
	for tries := 0; ; tries++ {
		w := p.now.Load()
		c, err := w.Call(rt, by, fresh, mine)
		if err != upstream.ErrOther || tries == triesMax {
			return c, err
		}
		p.chose(w)
		fresh = false // what there is of the other version was opened just now
	}
}

// CallFor implements upstream.Announcer. Where the PROXY protocol is spoken, HTTP/1.1 follows: a
// connection that several clients share cannot say who they are.
func (p *Pool) CallFor(rt engine.Runtime, by time.Duration, fresh bool, mine *upstream.Bonds, client netip.AddrPort) (upstream.Call, error) {
	if a, ok := p.now.Load().pool.(upstream.Announcer); ok {
		return a.CallFor(rt, by, fresh, mine, client)
	}
	return p.Call(rt, by, fresh, mine) // a reload came in between
}

// CallTunnel implements upstream.Opener. An endpoint with HTTP/2 says in its SETTINGS whether it takes
// WebSockets there. Where it does not, and the version is negotiated, this call has a connection
// on which HTTP/1.1 alone was offered; other calls stay with HTTP/2:
//
//	SETTINGS_ENABLE_CONNECT_PROTOCOL = 1   a stream
//	not sent, https, Negotiated            a connection with HTTP/1.1
//	not sent, HTTP2 or h2c                 upstream.ErrNoTunnel
func (p *Pool) CallTunnel(rt engine.Runtime, by time.Duration, fresh bool, mine *upstream.Bonds) (upstream.Call, error) {
	c, err := p.Call(rt, by, fresh, mine)
	if err != nil {
		return nil, err
	}
	if t, ok := c.(interface{ Tunnels() bool }); !ok || t.Tunnels() {
		return c, nil
	}
	c.Done(false) // nothing was sent on it
	p.mu.Lock()
	if p.settings.Version != upstream.Negotiated || p.endpoint.ID().Scheme != "https" {
		p.mu.Unlock()
		return nil, upstream.ErrNoTunnel
	}
	one := p.way(false).pool.(*h1.Pool)
	p.mu.Unlock()
	return one.CallHTTP1(rt, by, fresh, mine)
}

// triesMax is how often an endpoint may choose another version during one call: several
// programs may stand behind its address.
const triesMax = 3

// Alone implements upstream.Prober.
func (p *Pool) Alone(rt engine.Runtime, port int, by time.Duration) (c upstream.Call, err error) {
	err = p.probe(func(w *way) error { c, err = w.Alone(rt, port, by); return err })
	return c, err
}

// Connect implements upstream.Prober.
func (p *Pool) Connect(rt engine.Runtime, port int, by time.Duration) error {
	return p.probe(func(w *way) error { return w.Connect(rt, port, by) })
}

// probe has f probe by the pool of the version that the endpoint speaks.
func (p *Pool) probe(f func(*way) error) error {
	for tries := 0; ; tries++ {
		w := p.now.Load()
		if err := f(w); err != upstream.ErrOther || tries == triesMax {
			return err
		}
		p.chose(w)
	}
}

// all returns the pools of both versions, those that there are.
func (p *Pool) all() (ways [2]*way, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range [...]*way{p.one, p.two} {
		if w != nil {
			ways[n] = w
			n++
		}
	}
	return ways, n
}

// Sweep closes connections that are too old. It is to be called about once a second.
func (p *Pool) Sweep(now time.Duration) {
	ways, n := p.all()
	for _, w := range ways[:n] {
		w.Sweep(now)
	}
}

// Close closes idle connections now and those in use when they are done.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	ways, n := p.all()
	for _, w := range ways[:n] {
		w.Close()
	}
}

// Shed closes an idle connection, one of that worker last of all; false: there is none.
func (p *Pool) Shed(worker int) bool {
	ways, n := p.all()
	for _, w := range ways[:n] {
		if w.Shed(worker) {
			return true
		}
	}
	return false
}

// Counts are the open connections, and how many of them are idle. Any goroutine may call it.
func (p *Pool) Counts() (open, idle int64) {
	ways, n := p.all()
	for _, w := range ways[:n] {
		o, i := w.Counts()
		open, idle = open+o, idle+i
	}
	return open, idle
}
