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
	changed  engine.Signal // somebody left; set while draining only
	draining atomic.Bool
	lists    []list // by worker
}

// list is a ring, in the order of coming: a run can be repeated.
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
	e.prev, e.next = l.root.prev, &l.root
	e.prev.next, l.root.prev = e, e
	l.open++
	l.mu.Unlock()
}

func (c *clients) leave(e *client) {
	l := &c.lists[e.worker]
	l.mu.Lock()
	e.prev.next, e.next.prev = e.next, e.prev
	l.open--
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

// breakFor is how long interrupted exchanges may take to end.
const breakFor = 2 * time.Second

// drain ends connections that wait for a request, and waits for the others until hurry
// is set; then it interrupts them.
func (c *clients) drain(hurry *atomic.Bool) bool {
	rt := c.proxy.rt
	c.draining.Store(true) // before the first look: whoever leaves later says so
	for !hurry.Load() {
		if c.count() == 0 {
			return true
		}
		c.interrupt(func(e *client) bool { return e.state.CompareAndSwap(waiting, closing) })
		c.changed.Wait(rt.Now() + 100*time.Millisecond)
	}
	if c.count() == 0 {
		return true
	}
	c.interrupt(func(*client) bool { return true })
	for end := rt.Now() + breakFor; rt.Now() < end && c.count() > 0; {
		c.changed.Wait(min(end, rt.Now()+100*time.Millisecond))
	}
	return false
}
