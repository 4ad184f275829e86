package core

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// clients are the connections that are open, those of each worker apart.
type clients struct {
	proxy    *Proxy
	changed  engine.Signal // a client left; set while draining only
	draining atomic.Bool
	lists    []list // by worker
}

// list is a ring, in the order of coming, until longIdle turns it: a run can be repeated.
type list struct {
	mu   sync.Mutex // held for some instructions
	root client     // its next and prev are the first and the last
	open int
	_    [64]byte
}

// client is one of them. Its state decides who may end it: the tasks that serve it, or drain
// while it waits for a request.
type client struct {
	breaker
	next, prev *client
	worker     uint16
	secure     bool         // of a connection: it is under TLS
	state      atomic.Int32 // exchanges under way, or closing
	since      atomic.Int64 // when it began to wait, of those that are engine.Streams
}

// A breaker can be broken off by drain: a stream, or the Owner of an exchange.
type breaker interface{ Interrupt(error) }

// A quieter is a breaker that knows whether the client has sent what was not read: all but
// those of ServeExchange.
type quieter interface{ Quiet() bool }

// A drainer is a breaker that announces to the client that its connection will end.
type drainer interface{ Drain() }

// States of a client. Those above waiting count its exchanges.
const (
	closing int32 = iota - 1
	waiting
)

// begin counts an exchange that begins; false: the client is being closed.
func (c *client) begin() bool {
	for {
		n := c.state.Load()
		if n == closing {
			return false
		}
		if c.state.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// end is called once for each begin that has returned true.
func (c *client) end() { c.state.Add(-1) }

// busy reports whether exchanges are under way.
func (c *client) busy() bool { return c.state.Load() > waiting }

func (c *clients) open(p *Proxy) {
	c.proxy, c.changed = p, p.rt.NewSignal()
	c.lists = make([]list, p.Count())
	for i := range c.lists {
		l := &c.lists[i]
		l.root.next, l.root.prev = &l.root, &l.root
	}
}

// enter notes a client of that worker, which b breaks off.
func (c *clients) enter(e *client, worker int, b breaker) {
	e.breaker, e.worker = b, uint16(worker)
	l := &c.lists[worker]
	l.mu.Lock()
	l.add(e)
	l.mu.Unlock()
}

// add and remove are called with mu held.

func (l *list) add(e *client) {
	e.prev, e.next = l.root.prev, &l.root
	e.prev.next, l.root.prev = e, e
	l.open++
}

func (l *list) remove(e *client) {
	e.prev.next, e.next.prev = e.next, e.prev
	l.open--
}

func (c *clients) leave(e *client) {
	l := &c.lists[e.worker]
	l.mu.Lock()
	l.remove(e)
	l.mu.Unlock()
	if c.draining.Load() {
		c.changed.Set()
	}
}

// count is how many are open.
func (c *clients) count() (n int) {
	for i := range c.lists {
		l := &c.lists[i]
		l.mu.Lock()
		n += l.open
		l.mu.Unlock()
	}
	return n
}

// interrupt breaks off the clients that pick picks.
func (c *clients) interrupt(pick func(*client) bool) {
	c.each(pick, func(e *client) { e.Interrupt(engine.ErrStopping) })
}

// each calls do for the clients that pick picks, by a task of their worker. It does not wait.
func (c *clients) each(pick func(*client) bool, do func(*client)) {
	for i := range c.lists {
		l := &c.lists[i]
		c.proxy.Run(i, func() {
			var picked []*client
			l.mu.Lock()
			for e := l.root.next; e != &l.root; e = e.next {
				if pick(e) {
					picked = append(picked, e)
				}
			}
			l.mu.Unlock()
			for _, e := range picked {
				do(e)
			}
		})
	}
}

const (
	// idleGrace is how long a connection that waits for a request is kept when a drain
	// begins: a client that asks meanwhile is answered, and learns that it was the last time.
	idleGrace = 200 * time.Millisecond
	// unquietFor is how long after that one is kept whose next request seems to have come,
	// at least in part, and was not begun.
	unquietFor = time.Second
)

// drain lets connections end: those that are used after their exchange, those that wait
// for a request after idleGrace. Once hurry is set it interrupts what is left. When it
// returns the proxy is over: nothing that comes later is served.
func (c *clients) drain(hurry *atomic.Bool) bool {
	rt := c.proxy.rt
	c.draining.Store(true) // before the first look: whoever leaves later says so
	c.each(func(e *client) bool { _, ok := e.breaker.(drainer); return ok }, func(e *client) { e.breaker.(drainer).Drain() })
	quiet := rt.Now() + idleGrace
	for !hurry.Load() {
		if c.count() == 0 && c.finish() {
			return true
		}
		now := rt.Now()
		if now >= quiet {
			c.interrupt(func(e *client) bool {
				return e.idle(now < quiet+unquietFor) && e.state.CompareAndSwap(waiting, closing)
			})
		}
		c.changed.Wait(now + 50*time.Millisecond)
	}
	if c.count() == 0 && c.finish() {
		return true
	}
	c.proxy.over.Store(true)
	c.interrupt(func(*client) bool { return true })
	for end := rt.Now() + breakFor; rt.Now() < end && c.count() > 0; {
		c.changed.Wait(min(end, rt.Now()+100*time.Millisecond))
	}
	return false
}

// finish lets nothing more in, and reports whether nothing had come in meanwhile: what
// enters looks at over after it has been counted.
func (c *clients) finish() bool {
	c.proxy.over.Store(true)
	return c.count() == 0
}

// idle reports whether a client waits for a request, of which nothing has come yet if
// that is to be looked at: closing the connection would lose it.
func (c *client) idle(look bool) bool {
	if c.state.Load() != waiting {
		return false
	}
	s, ok := c.breaker.(quieter)
	return !look || !ok || s.Quiet()
}
