// Package upstream is the proxy's own HTTP/1.1 client: bounded pools of connections to
// each endpoint, and on each connection one request and its response after the other.
package upstream

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
)

// ErrBusy says that an endpoint has as many connections as it may have.
var ErrBusy = errors.New("endpoint has no free connection")

// Settings bound the connections to each endpoint of a service. They are not modified
// after being given to a Pool.
type Settings struct {
	ConnectTimeout time.Duration
	IdleTimeout    time.Duration
	StallTimeout   time.Duration // without progress while content moves
	MaxIdle        int
	Max            int         // 0: no limit
	TLS            *tls.Config // for https endpoints; ServerName "": the endpoint's host
}

// A Pool holds the connections to one endpoint. It is safe for concurrent use.
type Pool struct {
	endpoint *endpoint.Endpoint
	current  atomic.Pointer[target]

	mu     sync.Mutex // never held across a call that can wait
	idle   []*Conn    // the one used last is reused first, so that surplus ones grow old
	open   int        // idle and in use
	closed bool
}

// target is Settings made concrete for one endpoint.
type target struct {
	Settings
	network, address string
	tls              *tls.Config
}

// NewPool returns the empty pool of e.
func NewPool(e *endpoint.Endpoint, s *Settings) *Pool {
	p := &Pool{endpoint: e}
	p.Configure(s)
	return p
}

// Configure changes the settings. Idle connections made under other TLS settings are
// not reused.
func (p *Pool) Configure(s *Settings) {
	t := &target{Settings: *s, network: "tcp", address: p.endpoint.ID().Address}
	if path, ok := strings.CutPrefix(t.address, "unix:"); ok {
		t.network, t.address = "unix", path
	}
	if p.endpoint.ID().Scheme == "https" {
		t.tls = clientTLS(s.TLS, p.endpoint.Spec().Host, t.address)
	}
	old := p.current.Swap(t)
	if old != nil && old.TLS != t.TLS {
		p.closeIdle(func(*Conn) bool { return true })
	}
}

func clientTLS(base *tls.Config, host, address string) *tls.Config {
	c := &tls.Config{}
	if base != nil {
		c = base.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(address)
	}
	c.NextProtos = []string{"http/1.1"}
	return c
}

// Get returns a connection to the endpoint: an idle one if there is one that is still
// good and fresh is false, else a new one. by bounds connecting, together with the
// pool's own timeout.
func (p *Pool) Get(rt engine.Runtime, by time.Duration, fresh bool) (*Conn, error) {
	t := p.current.Load()
	if !fresh {
		for c := p.take(); c != nil; c = p.take() {
			if rt.Now()-c.idleSince < t.IdleTimeout && c.Stream.Quiet() {
				c.reuse()
				return c, nil
			}
			p.drop(c)
		}
	}
	if !p.reserve(t.Max) {
		return nil, ErrBusy
	}
	limit := rt.Now() + t.ConnectTimeout
	if by == 0 || limit < by {
		by = limit
	}
	s, err := rt.Dial(&engine.Dial{Network: t.network, Address: t.address, TLS: t.tls, By: by})
	if err != nil {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
		return nil, err
	}
	return newConn(rt, p, s, t.StallTimeout), nil
}

func (p *Pool) take() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

func (p *Pool) reserve(limit int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit > 0 && p.open >= limit {
		return false
	}
	p.open++
	return true
}

// put takes back a connection that can carry another request.
func (p *Pool) put(c *Conn) {
	t := p.current.Load()
	c.idleSince = c.rt.Now()
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < t.MaxIdle
	if keep {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if !keep {
		p.drop(c)
	}
}

func (p *Pool) drop(c *Conn) {
	p.mu.Lock()
	p.open--
	p.mu.Unlock()
	c.Stream.Close()
	c.release()
}

// Sweep closes connections that have been idle for too long. Somebody calls it about
// once a second.
func (p *Pool) Sweep(now time.Duration) {
	limit := p.current.Load().IdleTimeout
	p.closeIdle(func(c *Conn) bool { return now-c.idleSince >= limit })
}

// Close closes idle connections now and those in use when they are done.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.closeIdle(func(*Conn) bool { return true })
}

// closeIdle closes the idle connections that old picks. They are closed outside the
// lock: closing a TLS connection writes.
func (p *Pool) closeIdle(old func(*Conn) bool) {
	p.mu.Lock()
	var gone []*Conn
	kept := p.idle[:0]
	for _, c := range p.idle {
		if old(c) {
			gone = append(gone, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.mu.Unlock()
	for _, c := range gone {
		p.drop(c)
	}
}

// Open is the number of connections, idle ones included.
func (p *Pool) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}
