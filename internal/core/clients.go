package core

// The connections of clients, as Close and the limit on connections see them. One number per
// connection decides between the task that serves it and a task that wants to close it:
//
//	-1  closing   it is being closed: no exchange may begin
//	 0  waiting   it waits for a request, and may be closed
//	 n            n exchanges are under way: HTTP/1.1 has one at most, HTTP/2 many
//
// Both sides change it by compare-and-swap, so exactly one of them wins:
//
//	begin   0 -> 1    the connection serves; drain must wait
//	end     1 -> 0    drain may close it
//	drain   0 -> -1   begin returns false. So that no request is lost, drain at first closes
//	                  only connections on which nothing has arrived (quieter)
//
// The last exchange of a connection leaves the number at 1 until its response has been sent.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// clients has the connections that are open, in one list per worker.
type clients struct {
	proxy    *Proxy
	changed  engine.Signal // set when a client leaves while draining, and by Hurry
	draining atomic.Bool   // drain has begun
	lists    []list        // index: the worker
}

// list is a ring of clients, in the order of entering, which longIdle rotates. It is no map, so
// that tests with a virtual clock repeat exactly. Markers of walk may be among them, which have no
// breaker.
type list struct {
	mu   sync.Mutex // guards the list; held for some instructions
	root client     // no client: its next and prev are the first and the last one
	open int        // length of the list, without markers
	_    [64]byte
}

// client is an open connection, or an exchange of a mounted handler, which has no connection.
type client struct {
	breaker
	next, prev *client
	worker     uint16
	tls        uint16       // version of TLS; 0: none; tlsUnknown
	state      atomic.Int32 // see above
	since      atomic.Int64 // instant since which it waits; not set for ServeExchange
}

// tlsUnknown is TLS of a version that the listener did not say.
const tlsUnknown = 1

// A breaker is what drain interrupts: a stream, or the Owner of an exchange.
type breaker interface{ Interrupt(error) }

// A quieter is a breaker that knows whether the client has sent data that was not read: all but
// the Owners of ServeExchange.
type quieter interface{ Quiet() bool }

// A drainer is a breaker that can announce the end of the connection to the client. While it is
// Sending, the connection is not closed: responses leave behind the end of their exchanges.
type drainer interface {
	Drain()
	Sending() bool
}

// States of a client. A state above waiting is the number of its exchanges.
const (
	closing int32 = iota - 1
	waiting
)

// begin counts an exchange that begins; false: the client is being closed. Any task of its worker
// may call it.
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

// end ends an exchange. It is called once for each begin that has returned true.
func (c *client) end() { c.state.Add(-1) }

// busy reports whether exchanges are under way.
func (c *client) busy() bool { return c.state.Load() > waiting }

// open prepares c, before the Proxy serves.
func (c *clients) open(p *Proxy) {
	c.proxy, c.changed = p, p.rt.NewSignal()
	c.lists = make([]list, p.Count())
	p.spare = make([]spare, p.Count())
	for i := range c.lists {
		l := &c.lists[i]
		l.root.next, l.root.prev = &l.root, &l.root
	}
}

// enter adds a client of that worker, which b interrupts. leave must follow.
func (c *clients) enter(e *client, worker int, b breaker) {
	e.breaker, e.worker = b, uint16(worker)
	l := &c.lists[worker]
	l.mu.Lock()
	l.add(e)
	l.mu.Unlock()
}

// add appends e to the list, remove takes it out. Both are called with mu held.

func (l *list) add(e *client) {
	e.before(&l.root)
	l.open++
}

func (l *list) remove(e *client) {
	e.unlink()
	l.open--
}

// before and unlink are add and remove at any place of a ring, without counting.

func (c *client) before(next *client) {
	c.prev, c.next = next.prev, next
	c.prev.next, next.prev = c, c
}

func (c *client) unlink() { c.prev.next, c.next.prev = c.next, c.prev }

// leave removes a client, whose connection is closed or whose exchange is over.
func (c *clients) leave(e *client) {
	l := &c.lists[e.worker]
	l.mu.Lock()
	l.remove(e)
	l.mu.Unlock()
	if c.draining.Load() {
		c.changed.Set()
	}
}

// count is the number of clients of all workers.
func (c *clients) count() (n int) {
	for i := range c.lists {
		l := &c.lists[i]
		l.mu.Lock()
		n += l.open
		l.mu.Unlock()
	}
	return n
}

// interrupt interrupts the clients for which pick returns true. It does not wait.
func (c *clients) interrupt(pick func(*client) bool) {
	c.each(pick, func(e *client) { e.Interrupt(engine.ErrStopping) })
}

// each calls do for the clients for which pick returns true, in a task of their worker. pick is
// called with the list's lock held, do without. For workers other than 0 it does not wait.
func (c *clients) each(pick func(*client) bool, do func(*client)) {
	for i := range c.lists {
		l := &c.lists[i]
		c.proxy.Run(i, func() {
			var picked []*client
			l.mu.Lock()
			for e := l.root.next; e != &l.root; e = e.next {
				if e.breaker != nil && pick(e) {
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

// announce has the clients that can be told be told that their connection ends. It does not wait.
func (c *clients) announce() {
	c.each(func(e *client) bool { _, ok := e.breaker.(drainer); return ok }, func(e *client) { e.breaker.(drainer).Drain() })
}

const (
	// idleGrace is how long a connection that waits for a request is kept when a drain
	// begins: a request that arrives meanwhile is answered, with Connection: close.
	idleGrace = 200 * time.Millisecond
	// unquietFor is how long after that a connection is kept on which data has arrived, part
	// of a request perhaps, but no exchange has begun.
	unquietFor = time.Second
)

// drain waits until all clients have ended: busy ones end after their exchange, and it closes
// those that wait for a request after idleGrace. Once hurry is set it interrupts what is left,
// waits for breakFor at most, and returns false. When it returns the proxy is over: nothing that
// comes later is served.
func (c *clients) drain(hurry *atomic.Bool) bool {
	rt := c.proxy.rt
	c.draining.Store(true) // before the first count: a client that leaves later sets changed
	c.announce()
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

// finish sets over, and reports whether there is still no client. A client enters the list before
// it looks at over, so either finish sees the client, or the client sees over and leaves.
func (c *clients) finish() bool {
	c.proxy.over.Store(true)
	return c.count() == 0
}

// idle reports whether a client waits for a request, and has all responses. look: a client whose
// next request has begun to arrive is not idle, since closing its connection would lose that request.
func (c *client) idle(look bool) bool {
	if c.state.Load() != waiting {
		return false
	}
	if d, ok := c.breaker.(drainer); ok && d.Sending() {
		return false
	}
	s, ok := c.breaker.(quieter)
	return !look || !ok || s.Quiet()
}
