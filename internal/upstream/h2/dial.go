package h2

// Opening a connection, in a task of its own, since several calls may wait for it: each of them
// until its own bound.

import (
	"errors"
	"io"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/upstream"
)

var (
	errPanic    = errors.New("h2: the task that connects has panicked")
	errNotHTTP2 = errors.New("the endpoint has not agreed on HTTP/2 (ALPN); protocol: auto would use HTTP/1.1")
)

// dial begins to open a connection, unless that has begun already. The lock of l is held.
func (p *Pool) dial(rt engine.Runtime, l *list, t *target) *dialing {
	if l.dialing != nil {
		return l.dialing
	}
	d := &dialing{}
	l.dialing = d
	rt.Start(func() {
		var c *conn
		err := errPanic
		defer func() { l.dialed(p, rt, t, d, c, err) }()
		c, err = p.connect(rt, l, t)
	})
	return d
}

// dialed ends d: c is the connection, or err says why there is none.
func (l *list) dialed(p *Pool, rt engine.Runtime, t *target, d *dialing, c *conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.over, d.err, l.dialing = true, err, nil
	switch {
	case err != nil:
		l.calm = rt.Now() + t.ConnectTimeout
	case !c.gone: // it has not ended again already
		l.born++
		c.number = l.born
		l.add(c)
		if p.closed.Load() && len(l.waiting) == 0 {
			l.retire(c)
		}
	}
	l.wakeAll()
}

// connect opens a connection, and waits for the endpoint's SETTINGS.
func (p *Pool) connect(rt engine.Runtime, l *list, t *target) (*conn, error) {
	by := rt.Now() + t.ConnectTimeout
	if !p.reserve(rt.Worker(), t.Max) {
		return nil, upstream.ErrBusy
	}
	if p.workers != nil && !p.workers.Connect(rt.Worker()) {
		p.connections.Add(-1)
		return nil, upstream.ErrDescriptors
	}
	s, err := t.at.Dial(rt, p.workers, nil, by)
	if err == nil {
		err = p.spoken(rt, s, t)
	}
	if err != nil {
		if err != upstream.ErrOther || p.other == nil {
			p.gone(1)
		}
		return nil, err
	}
	c := p.open(rt, s, t, t.StallTimeout)
	c.list = l
	c.ended = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.remove(c)
		c.gone = true
		if !c.uncounted {
			p.gone(1)
		}
		l.wakeAll() // there may be none left to wait for
	}
	if t.MaxAge > 0 {
		c.until = rt.Now() + jittered(rt, t.MaxAge)
	}
	c.start()
	if err := c.settle(by); err != nil {
		c.mux.Leave()
		c.mux.Interrupt(err)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return c, nil
}

// spoken returns why HTTP/2 is not spoken on s, which is not the caller's then any more; nil: it
// is.
func (p *Pool) spoken(rt engine.Runtime, s engine.Stream, t *target) error {
	switch {
	case t.at.TLS == nil || upstream.AgreedHTTP2(s):
		return nil
	case t.Version == upstream.Negotiated && p.other != nil:
		p.connections.Add(-1)
		p.other(rt, s)
		return upstream.ErrOther
	}
	s.Close()
	return errNotHTTP2
}

// jittered is d, a tenth more or less, so that connections that were opened together do not end
// together.
func jittered(rt engine.Runtime, d time.Duration) time.Duration {
	tenth := d / 10
	if tenth <= 0 {
		return d
	}
	return d - tenth + time.Duration(rt.Rand()%uint64(2*tenth))
}

// reserve makes room for a new connection. Where there are as many as there may be, idle ones
// give way: those of other workers are of no use here.
func (p *Pool) reserve(worker, limit int) bool {
	for {
		n := p.connections.Load()
		if limit <= 0 || n < int64(limit) {
			if p.connections.CompareAndSwap(n, n+1) {
				return true
			}
			continue
		}
		if p.idle.Load() <= 0 || !p.evict(worker) {
			return false
		}
	}
}
