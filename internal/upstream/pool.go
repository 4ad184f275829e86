// Package upstream is the proxy's own HTTP/1.1 client: bounded pools of connections to
// each endpoint, and on each connection one request and its response after the other.
package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/limits"
)

// ErrBusy says that an endpoint has as many connections as it may have.
var ErrBusy = errors.New("endpoint has no free connection")

// Settings bound the connections to each endpoint of a service. They are not modified
// after being given to a Pool.
type Settings struct {
	ConnectTimeout time.Duration
	IdleTimeout    time.Duration
	StallTimeout   time.Duration // without progress while content moves
	Limits         limits.Head   // of response heads
	MaxIdle        int
	Max            int         // 0: no limit
	TLS            *tls.Config // for https endpoints; ServerName "": the endpoint's host
}

// Workers are the tasks' places: every connection belongs to the worker that made it, and
// only tasks of that worker touch its stream.
type Workers interface {
	// Count is how many there may be: Runtime.Worker is below it.
	Count() int
	// Run runs f as a task of worker i, now or soon. It does not wait where waiting could
	// delay others; what belongs to a worker that has stopped has been closed.
	Run(i int, f func())
	// Connect counts a connection to be made for that worker; false: there is no descriptor
	// for it. Disconnect takes back n of them.
	Connect(worker int) bool
	Disconnect(n int)
	// Shed closes some idle connections, to whatever endpoint, those of that worker last;
	// false: there are none.
	Shed(worker int) bool
}

// A Pool holds the connections to one endpoint, those of each worker apart. It is safe
// for concurrent use.
type Pool struct {
	endpoint *endpoint.Endpoint
	workers  Workers // nil: one
	current  atomic.Pointer[target]
	shelves  []shelf // by worker

	open   atomic.Int64 // idle and in use
	idle   atomic.Int64
	closed atomic.Bool
}

// A shelf holds the idle connections of one worker. The lock is there for whoever closes
// connections, and for workers that are many goroutines; it is never held across a call
// that can wait.
type shelf struct {
	mu   sync.Mutex
	idle []*Conn // the one used last is reused first, so that surplus ones grow old
	_    [32]byte
}

// target is Settings made concrete for one endpoint.
type target struct {
	Settings
	network, address string
	tls              *tls.Config
}

// NewPool returns the empty pool of e. workers nil: there is one, and whoever closes a
// pool may do so from any of its tasks.
func NewPool(e *endpoint.Endpoint, s *Settings, workers Workers) *Pool {
	p := &Pool{endpoint: e, workers: workers}
	n := 1
	if workers != nil {
		n = workers.Count()
	}
	p.shelves = make([]shelf, n)
	p.Configure(s)
	return p
}

// Configure changes the settings. Connections made under other TLS settings are not
// reused: idle ones are closed now, those in use when they are done.
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
		p.closeIdle(func(c *Conn) bool { return !t.fits(c) })
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

// Get returns a connection to the endpoint: an idle one of the calling worker if there is
// one that is still good and fresh is false, else a new one. by bounds connecting, together
// with the pool's own timeout.
func (p *Pool) Get(rt engine.Runtime, by time.Duration, fresh bool) (*Conn, error) {
	t := p.current.Load()
	if !fresh {
		mine := &p.shelves[rt.Worker()]
		for c := p.take(mine); c != nil; c = p.take(mine) {
			if rt.Now() < c.idleUntil(t) && c.Stream.Quiet() {
				c.reuse(t)
				return c, nil
			}
			p.drop(c)
		}
	}
	if !p.reserve(rt.Worker(), t.Max) {
		return nil, ErrBusy
	}
	limit := rt.Now() + t.ConnectTimeout
	if by == 0 || limit < by {
		by = limit
	}
	if p.workers != nil && !p.workers.Connect(rt.Worker()) {
		p.open.Add(-1)
		return nil, errDescriptors
	}
	s, err := p.dial(rt, &engine.Dial{Network: t.network, Address: t.address, TLS: t.tls, By: by})
	if err != nil {
		p.ended(1)
		return nil, err
	}
	return newConn(rt, p, s, t), nil
}

var errDescriptors = fmt.Errorf("connections use up the descriptors of this process: %w", engine.ErrExhausted)

// shedPause is how long idle connections, which other workers may have to close, are given
// to make room.
const shedPause = time.Millisecond

// dial connects. Where the kernel says that something has run out, idle connections to
// other endpoints give way, once.
func (p *Pool) dial(rt engine.Runtime, d *engine.Dial) (engine.Stream, error) {
	s, err := rt.Dial(d)
	if err == nil || p.workers == nil || !engine.Exhausted(err) || !p.workers.Shed(rt.Worker()) {
		return s, err
	}
	if err := rt.Sleep(rt.Now() + shedPause); err != nil {
		return nil, err
	}
	return rt.Dial(d)
}

// ended takes n connections off the counts.
func (p *Pool) ended(n int) {
	p.open.Add(-int64(n))
	if p.workers != nil {
		p.workers.Disconnect(n)
	}
}

// Shed closes an idle connection, one of that worker last of all; false: there is none.
func (p *Pool) Shed(worker int) bool { return p.idle.Load() > 0 && p.evict(worker) }

// take takes the connection that was put there last.
func (p *Pool) take(from *shelf) *Conn {
	from.mu.Lock()
	defer from.mu.Unlock()
	n := len(from.idle)
	if n == 0 {
		return nil
	}
	c := from.idle[n-1]
	from.idle[n-1] = nil
	from.idle = from.idle[:n-1]
	p.idle.Add(-1)
	return c
}

// reserve makes room for a new connection of that worker. Where there are as many as there
// may be, idle ones give way: those of other workers are of no use here.
func (p *Pool) reserve(worker, limit int) bool {
	for {
		n := p.open.Load()
		if limit <= 0 || n < int64(limit) {
			if p.open.CompareAndSwap(n, n+1) {
				return true
			}
			continue
		}
		if p.idle.Load() <= 0 || !p.evict(worker) {
			return false
		}
	}
}

// evict closes an idle connection of any worker, the calling one's last of all.
func (p *Pool) evict(worker int) bool {
	for i := range p.shelves {
		at := (worker + 1 + i) % len(p.shelves)
		if c := p.take(&p.shelves[at]); c != nil {
			p.ended(1)
			p.run(at, c.close)
			return true
		}
	}
	return false
}

// run has f run by a task of that worker.
func (p *Pool) run(worker int, f func()) {
	if p.workers == nil {
		f()
		return
	}
	p.workers.Run(worker, f)
}

// put takes back a connection that can carry another request.
func (p *Pool) put(c *Conn) {
	t := p.current.Load()
	c.idleSince = c.rt.Now()
	mine := &p.shelves[c.rt.Worker()]
	mine.mu.Lock()
	// Below the lock: what Close and Configure have changed before they came here is seen.
	keep := !p.closed.Load() && p.current.Load().fits(c) && p.idle.Load() < int64(t.MaxIdle)
	if keep {
		mine.idle = append(mine.idle, c)
		p.idle.Add(1)
	}
	mine.mu.Unlock()
	if !keep {
		p.drop(c)
	}
}

// drop ends a connection of the calling worker.
func (p *Pool) drop(c *Conn) {
	p.ended(1)
	c.close()
}

func (c *Conn) close() {
	c.Stream.Close()
	c.release()
}

// Sweep closes connections that have been idle for too long. Somebody calls it about
// once a second.
func (p *Pool) Sweep(now time.Duration) {
	t := p.current.Load()
	p.closeIdle(func(c *Conn) bool { return now >= c.idleUntil(t) })
}

// Close closes idle connections now and those in use when they are done.
func (p *Pool) Close() {
	p.closed.Store(true)
	p.closeIdle(func(*Conn) bool { return true })
}

// closeIdle closes the idle connections that old picks: outside the locks, since closing a
// TLS connection writes, and where they belong.
func (p *Pool) closeIdle(old func(*Conn) bool) {
	if p.idle.Load() == 0 && !p.closed.Load() {
		return
	}
	for i := range p.shelves {
		gone := p.shelves[i].pick(old)
		if len(gone) == 0 {
			continue
		}
		p.idle.Add(-int64(len(gone)))
		p.ended(len(gone))
		p.run(i, func() {
			for _, c := range gone {
				c.close()
			}
		})
	}
}

// pick removes the connections that old picks.
func (s *shelf) pick(old func(*Conn) bool) (gone []*Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.idle[:0]
	for _, c := range s.idle {
		if old(c) {
			gone = append(gone, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(s.idle[len(kept):])
	s.idle = kept
	return gone
}

// Open is the number of connections, idle ones included.
func (p *Pool) Open() int { return int(p.open.Load()) }
