package h1

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/upstream"
)

// A Pool holds the connections to one endpoint, those of each worker apart. It is safe
// for concurrent use.
type Pool struct {
	endpoint *endpoint.Endpoint
	workers  upstream.Workers // nil: one
	current  atomic.Pointer[target]
	idleBy   []idleConns // by worker

	open   atomic.Int64 // idle and in use
	idle   atomic.Int64
	closed atomic.Bool
}

var _ upstream.Pool = (*Pool)(nil)

// idleConns are the idle connections of one worker. The lock is there for tasks of other
// workers that close connections, and for workers that are many goroutines; it is never held
// across a call that can wait.
type idleConns struct {
	mu   sync.Mutex
	list []*Conn // the one used last is reused first, so that surplus ones grow old
	_    [32]byte
}

// target is Settings made concrete for one endpoint.
type target struct {
	upstream.Settings
	at   upstream.Target
	only *target // that where HTTP/1.1 alone is offered; nil: this one is
}

// newTarget returns the target of e by these settings.
func newTarget(e *endpoint.Endpoint, s *upstream.Settings) *target {
	t := &target{Settings: *s, at: upstream.NewTarget(e, s)}
	if s.Version == upstream.Negotiated {
		one := *s
		one.Version = upstream.HTTP1
		t.only = newTarget(e, &one)
	}
	return t
}

// NewPool returns the empty pool of e. workers nil: there is one, and any
// of its tasks may close the pool.
func NewPool(e *endpoint.Endpoint, s *upstream.Settings, workers upstream.Workers) *Pool {
	p := &Pool{endpoint: e, workers: workers}
	n := 1
	if workers != nil {
		n = workers.Count()
	}
	p.idleBy = make([]idleConns, n)
	p.Configure(s)
	return p
}

// Configure changes the settings. Connections made under other TLS settings are not
// reused: idle ones are closed now, those in use when they are done.
func (p *Pool) Configure(s *upstream.Settings) {
	t := newTarget(p.endpoint, s)
	old := p.current.Swap(t)
	if old != nil && old.TLS != t.TLS {
		p.closeIdle(func(c *Conn) bool { return !t.fits(c) })
	}
}

// Call implements upstream.Pool: it opens a call on the connection that is bound to the
// client, an idle one or a new one.
func (p *Pool) Call(rt engine.Runtime, by time.Duration, fresh bool, mine *upstream.Bonds) (upstream.Call, error) {
	t := p.current.Load()
	if t.ProxyProtocol != 0 {
		return p.CallFor(rt, by, fresh, mine, netip.AddrPort{})
	}
	return p.call(rt, by, fresh, mine, t)
}

// CallHTTP1 is Call, except that an endpoint whose version is negotiated is offered HTTP/1.1 alone.
func (p *Pool) CallHTTP1(rt engine.Runtime, by time.Duration, fresh bool, mine *upstream.Bonds) (upstream.Call, error) {
	t := p.current.Load()
	if t.only != nil {
		t = t.only
	}
	return p.call(rt, by, fresh, mine, t)
}

func (p *Pool) call(rt engine.Runtime, by time.Duration, fresh bool, mine *upstream.Bonds, t *target) (upstream.Call, error) {
	if c := p.ofClient(mine, fresh); c != nil {
		return c, nil
	}
	c, err := p.get(rt, by, fresh, t)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Get returns a connection to the endpoint: an idle one of the calling worker if there is
// one that is still good and fresh is false, else a new one. by bounds connecting, together
// with the pool's own timeout.
func (p *Pool) Get(rt engine.Runtime, by time.Duration, fresh bool) (*Conn, error) {
	return p.get(rt, by, fresh, p.current.Load())
}

func (p *Pool) get(rt engine.Runtime, by time.Duration, fresh bool, t *target) (*Conn, error) {
	if !fresh {
		mine := &p.idleBy[rt.Worker()]
		for c := p.take(mine); c != nil; c = p.take(mine) {
			if rt.Now() < c.idleUntil(t) && c.stream.Quiet() {
				c.reuse(t)
				return c, nil
			}
			p.drop(c)
		}
	}
	return p.connect(rt, by, t, nil)
}

// connect makes a connection that begins with preface.
func (p *Pool) connect(rt engine.Runtime, by time.Duration, t *target, preface []byte) (*Conn, error) {
	if !p.reserve(rt.Worker(), t.Max) {
		return nil, upstream.ErrBusy
	}
	limit := rt.Now() + t.ConnectTimeout
	if by == 0 || limit < by {
		by = limit
	}
	if p.workers != nil && !p.workers.Connect(rt.Worker()) {
		p.open.Add(-1)
		return nil, upstream.ErrDescriptors
	}
	s, err := t.at.Dial(rt, p.workers, preface, by)
	if err == nil {
		err = t.spoken(s)
	}
	if err != nil {
		p.ended(1)
		return nil, err
	}
	return newConn(rt, p, s, t), nil
}

// spoken closes s and returns upstream.ErrOther if its endpoint has chosen HTTP/2.
func (t *target) spoken(s engine.Stream) error {
	if t.Version != upstream.Negotiated || t.at.TLS == nil || !upstream.AgreedHTTP2(s) {
		return nil
	}
	s.Close()
	return upstream.ErrOther
}

// Adopt takes over a connection of the calling worker that was made for another version of
// HTTP, and that upstream.Workers has counted. It is idle.
func (p *Pool) Adopt(rt engine.Runtime, s engine.Stream) {
	p.open.Add(1)
	p.put(newConn(rt, p, s, p.current.Load()))
}

// ended takes n connections off the counts.
func (p *Pool) ended(n int) {
	p.open.Add(-int64(n))
	if p.workers != nil {
		p.workers.Disconnect(n)
	}
}

// Counts are the open connections, and how many of them are idle. Any goroutine may call it.
func (p *Pool) Counts() (open, idle int64) {
	idle = p.idle.Load() // first: they may come to use meanwhile, but not be more than are open
	return max(p.open.Load(), idle), idle
}

// Shed closes an idle connection, one of that worker last of all; false: there is none.
func (p *Pool) Shed(worker int) bool { return p.idle.Load() > 0 && p.evict(worker) }

// take takes the connection that was put there last.
func (p *Pool) take(from *idleConns) *Conn {
	from.mu.Lock()
	n := len(from.list)
	if n == 0 {
		from.mu.Unlock()
		return nil
	}
	c := from.list[n-1]
	from.list[n-1] = nil
	from.list = from.list[:n-1]
	p.idle.Add(-1)
	from.mu.Unlock()
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
	for i := range p.idleBy {
		at := (worker + 1 + i) % len(p.idleBy)
		if c := p.take(&p.idleBy[at]); c != nil {
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
	mine := &p.idleBy[c.rt.Worker()]
	mine.mu.Lock()
	// Below the lock: what Close and Configure have changed before they came here is seen.
	keep := !p.closed.Load() && p.current.Load().fits(c) && p.idle.Load() < int64(t.MaxIdle)
	if keep {
		mine.list = append(mine.list, c)
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
	c.stream.Close()
	c.release()
}

// Sweep closes connections that have been idle for too long. It is to be
// called about once a second.
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
	for i := range p.idleBy {
		gone := p.idleBy[i].pick(old)
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
func (s *idleConns) pick(old func(*Conn) bool) (gone []*Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.list[:0]
	for _, c := range s.list {
		if old(c) {
			gone = append(gone, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(s.list[len(kept):])
	s.list = kept
	return gone
}

// Open is the number of connections, idle ones included.
func (p *Pool) Open() int { return int(p.open.Load()) }
