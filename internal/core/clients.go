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

// client is one of them. Its state decides who may end it: the task that serves it, or
// drain while it waits for a request.
type client struct {
	breaker
	next, prev *client
	worker     int32
	state      atomic.Uint32
	since      atomic.Int64 // when it began to wait, of those that are engine.Streams
}

const (
	waiting uint32 = iota
	busy
	closing
)

func (c *client) begin() bool { return c.state.CompareAndSwap(waiting, busy) }
func (c *client) end() bool   { return c.state.CompareAndSwap(busy, waiting) }

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
	e.breaker, e.worker = b, int32(worker)
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

// interrupt breaks off the clients that pick picks, each by a task of its worker.
func (c *clients) interrupt(pick func(*client) bool) {
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
				e.Interrupt(engine.ErrStopping)
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
	s, ok := c.breaker.(engine.Stream)
	return !look || !ok || s.Quiet()
}
