package h2

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/mux"
	"github.com/poise-lb/poise/internal/upstream"
)

// A Pool holds the connections to one endpoint, those of each worker apart. It is safe for
// concurrent use.
type Pool struct {
	endpoint *endpoint.Endpoint
	workers  upstream.Workers // nil: one
	spares   *mux.Spares
	other    func(engine.Runtime, engine.Stream)
	current  atomic.Pointer[target]
	lists    []list // by worker

	connections atomic.Int64
	idle        atomic.Int64 // of the lists: those without a call
	closed      atomic.Bool
}

var (
	_ upstream.Pool   = (*Pool)(nil)
	_ upstream.Prober = (*Pool)(nil)
)

// target is Settings made concrete for one endpoint.
type target struct {
	upstream.Settings
	at upstream.Target
}

func (t *target) limits() *limits.Head {
	if t.Limits == (limits.Head{}) {
		return nil
	}
	return &t.Limits
}

// idle is how long a connection without a call is kept.
func (t *target) idle() time.Duration {
	if t.IdleHTTP2 > 0 {
		return t.IdleHTTP2
	}
	return t.IdleTimeout
}

// NewPool returns the empty pool of e. workers nil: there is one, and any of its tasks may
// close the pool. spares belong to all pools of these workers. other is given connections whose
// endpoint has chosen HTTP/1.1, where Settings.Version is Negotiated; Call returns
// upstream.ErrOther then.
func NewPool(e *endpoint.Endpoint, s *upstream.Settings, workers upstream.Workers, spares *mux.Spares, other func(engine.Runtime, engine.Stream)) *Pool {
	p := &Pool{endpoint: e, workers: workers, spares: spares, other: other}
	n := 1
	if workers != nil {
		n = workers.Count()
	}
	p.lists = make([]list, n)
	p.Configure(s)
	return p
}

// Configure changes the settings. Connections made under other TLS settings take no further
// call.
func (p *Pool) Configure(s *upstream.Settings) {
	t := &target{Settings: *s, at: upstream.NewTarget(p.endpoint, s)}
	if t.Streams <= 0 {
		t.Streams = mux.StreamsDefault
	}
	old := p.current.Swap(t)
	if old != nil && old.TLS != t.TLS {
		p.retire(func(c *conn) bool { return c.made.TLS != t.TLS })
	}
}

// Call implements upstream.Pool. No connection belongs to a client, so mine is not looked at.
func (p *Pool) Call(rt engine.Runtime, by time.Duration, fresh bool, _ *upstream.Bonds) (upstream.Call, error) {
	t := p.current.Load()
	if limit := rt.Now() + t.ConnectTimeout; by == 0 || limit < by {
		by = limit
	}
	l := &p.lists[rt.Worker()]
	l.mu.Lock()
	known, after := l.born, uint64(0)
	if fresh {
		after = known
	}
	for {
		c, err := p.find(rt, l, t, after, by)
		l.mu.Unlock()
		if err != nil {
			return nil, err
		}
		s, err := c.mux.Open(by)
		if err == nil {
			return newCall(c, s, t.StallTimeout, c.number <= known), nil
		}
		gone := c.mux.Draining()
		c.release()
		// It has ended meanwhile, or another call has taken the last room.
		if !gone && !errors.Is(err, mux.ErrFull) {
			return nil, err
		}
		l.mu.Lock()
	}
}

// find returns a connection with room for a call, which is counted there. It waits for one until
// by. The lock of l is held.
func (p *Pool) find(rt engine.Runtime, l *list, t *target, after uint64, by time.Duration) (*conn, error) {
	var w *waiter
	for {
		c, busy := l.take(p, rt, t, after)
		if c != nil {
			if busy && rt.Now() >= l.calm && !p.full(t) {
				p.dial(rt, l, t)
			}
			return c, nil
		}
		if w == nil {
			w = &waiter{wake: rt.NewWakeup()}
		}
		switch d := w.dial; {
		case d != nil && d.over && d.err != nil && !errors.Is(d.err, upstream.ErrBusy):
			return nil, d.err
		case l.dialing != nil || !p.full(t):
			w.dial = p.dial(rt, l, t)
		case len(l.open) == 0 || after > 0: // all connections are other workers'
			return nil, upstream.ErrBusy
		default:
			w.dial = nil // a call will end
		}
		if err := l.wait(w, by); err != nil {
			if w.dial == nil && errors.Is(err, engine.ErrTimeout) {
				err = upstream.ErrBusy
			}
			return nil, err
		}
	}
}

// full reports whether there are as many connections as there may be, and none can give way.
func (p *Pool) full(t *target) bool {
	return t.Max > 0 && p.connections.Load() >= int64(t.Max) && p.idle.Load() <= 0
}

// Counts are the open connections, and how many of them are idle. Any goroutine may call it.
func (p *Pool) Counts() (open, idle int64) {
	idle = max(p.idle.Load(), 0)
	return max(p.connections.Load(), idle), idle
}

// Open is the number of connections, idle ones included.
func (p *Pool) Open() int { return int(p.connections.Load()) }

// Shed closes an idle connection, one of that worker last of all; false: there is none.
func (p *Pool) Shed(worker int) bool { return p.idle.Load() > 0 && p.evict(worker) }

// evict takes an idle connection of any worker off the counts and has it end, the calling one's
// last of all.
func (p *Pool) evict(worker int) bool {
	for i := range p.lists {
		at := (worker + 1 + i) % len(p.lists)
		if c := p.lists[at].evict(); c != nil {
			p.gone(1)
			p.run(at, c.mux.Leave)
			return true
		}
	}
	return false
}

// evict takes out an idle connection; nil: there is none.
func (l *list) evict() *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		if c.calls == 0 {
			l.remove(c)
			c.uncounted = true
			return c
		}
	}
	return nil
}

// run has f run by a task of that worker.
func (p *Pool) run(worker int, f func()) {
	if p.workers == nil {
		f()
		return
	}
	p.workers.Run(worker, f)
}

// Sweep has connections leave that are too old. It is to be called about once a second. Idle
// ones end by themselves.
func (p *Pool) Sweep(now time.Duration) {
	t := p.current.Load()
	p.retire(func(c *conn) bool { return c.tired(t, now) })
}

// Close has all connections end with their last call. A call that comes later has a connection
// of its own.
func (p *Pool) Close() {
	p.closed.Store(true)
	p.retire(func(*conn) bool { return true })
}

// retire has the connections leave that old picks, by tasks of their workers.
func (p *Pool) retire(old func(*conn) bool) {
	for i := range p.lists {
		l := &p.lists[i]
		if l.many.Load() == 0 || !l.any(old) {
			continue
		}
		p.run(i, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			for at := 0; at < len(l.open); {
				if c := l.open[at]; old(c) {
					l.retire(c)
				} else {
					at++
				}
			}
		})
	}
}

// any reports whether old picks a connection.
func (l *list) any(old func(*conn) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		if old(c) {
			return true
		}
	}
	return false
}

// gone takes n connections off the counts.
func (p *Pool) gone(n int) {
	p.connections.Add(-int64(n))
	if p.workers != nil {
		p.workers.Disconnect(n)
	}
}
