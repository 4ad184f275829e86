package core

// Making room when there are as many connections as there may be (limits.connections, or the
// descriptors of the process: package admission). Two kinds of connections can be closed without
// a loss:
//
//	client connections that wait for a request since a second or more, longest first
//	idle connections to endpoints
//
// Example: 1000 of 1000 client connections are open, and another client connects. admission
// calls crowded. Each worker looks at 64 of its connections (next time at others) and closes up
// to 15 of them (1000/64) that have waited for a second. The new connection is accepted as soon
// as one has ended. A second call within 5 ms does nothing: many clients may be waiting at once.

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
)

const (
	// idleLeast is how long a client connection must have waited for a request before it may
	// be closed. So a new one has at least that long to send its first request.
	idleLeast = time.Second
	// crowdedEvery is the shortest interval of making room for clients, and of searches for
	// idle connections to endpoints after one that has found none.
	crowdedEvery = 5 * time.Millisecond
	// lookMost bounds how many client connections of a worker are looked at in a row,
	// evictMost how many of them are closed, and shedMost how many connections to endpoints
	// are closed at once.
	lookMost  = 64
	evictMost = 16
	shedMost  = 8
	// crowdedReport is the shortest interval of the event ConnectionsFull.
	crowdedReport = 10 * time.Second
)

// crowd has the instants at which room was last made; 0: never.
type crowd struct {
	making   sync.Mutex   // taken by TryLock: one task at a time is enough
	last     atomic.Int64 // room was made for clients
	reported atomic.Int64 // ConnectionsFull was published
	noneIdle atomic.Int64 // a search has found no idle connection to an endpoint
}

// Admission bounds connections and requests. Code that accepts client connections for the Proxy
// must ask a Listener of it first. Any goroutine may call it.
func (p *Proxy) Admission() *admission.Control { return p.admission }

// crowded makes room for a client connection that waits to be accepted. It does not wait, and any
// goroutine may call it. admission calls it.
func (p *Proxy) crowded() {
	c := &p.crowd
	if p.draining.Load() || !c.making.TryLock() {
		return
	}
	defer c.making.Unlock()
	now := p.rt.Now()
	if now-time.Duration(c.last.Load()) < crowdedEvery {
		return
	}
	c.last.Store(int64(now))
	if p.admission.Tight() {
		p.Shed(0)
	}
	counts := p.admission.Counts()
	p.clients.evict(now-idleLeast, int(min(max(counts.Clients/64, 1), evictMost)))
	if last := time.Duration(c.reported.Load()); last == 0 || now-last > crowdedReport {
		c.reported.Store(int64(now))
		p.events.Publish("", event.ConnectionsFull{Open: counts.Clients, Limit: counts.Most})
	}
}

// evict closes, in each worker, up to most client connections that have waited for a request since
// the instant before or longer.
func (c *clients) evict(before time.Duration, most int) {
	for i := range c.lists {
		l := &c.lists[i]
		c.proxy.Run(i, func() {
			for _, e := range l.longIdle(before, most) {
				if e.idle(true) && e.state.CompareAndSwap(waiting, closing) {
					e.Interrupt(engine.ErrStopping)
				}
			}
		})
	}
}

// longIdle returns up to most clients that have waited since the instant before or longer, those
// that have waited longest first. It looks at lookMost clients only, and rotates the list, so that
// the next call looks at others.
func (l *list) longIdle(before time.Duration, most int) []*client {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*client
	for range min(l.open, lookMost) {
		e := l.root.next
		for e.breaker == nil { // a marker, which stays where it is
			e = e.next
		}
		l.remove(e)
		l.add(e)
		if _, stream := e.breaker.(quieter); stream && e.state.Load() == waiting && e.since.Load() <= int64(before) {
			found = append(found, e)
		}
	}
	slices.SortStableFunc(found, func(a, b *client) int { return cmp.Compare(a.since.Load(), b.since.Load()) })
	return found[:min(most, len(found))]
}

// Connect, Disconnect and Shed make the Proxy the upstream.Workers of its pools, too.

// Connect counts a connection of that worker to an endpoint, and closes idle ones if there is no
// descriptor for it; false: there is still none.
func (p *Proxy) Connect(worker int) bool {
	if p.admission.Connect() || p.Shed(worker) && p.admission.Connect() {
		return true
	}
	p.admission.Short()
	return false
}

// Disconnect takes n connections off the count of Connect.
func (p *Proxy) Disconnect(n int) { p.admission.Disconnect(n) }

// Shed closes up to shedMost idle connections to endpoints, of whatever service, those of that
// worker last. It reports whether there were any.
func (p *Proxy) Shed(worker int) bool {
	now, noneIdle := p.rt.Now(), &p.crowd.noneIdle
	if at := time.Duration(noneIdle.Load()); at != 0 && now-at < crowdedEvery {
		return false // a search takes time, and many callers may ask at once
	}
	n := 0
	for _, r := range p.alive() {
		for _, pool := range r.all() {
			for n < shedMost && pool.Shed(worker) {
				n++
			}
		}
		if n == shedMost {
			break
		}
	}
	if n == 0 {
		noneIdle.Store(int64(now))
	}
	return n > 0
}

// alive lists the services that have not ended, in no particular order.
func (p *Proxy) alive() []*liveService {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*liveService, 0, len(p.live))
	for r := range p.live {
		all = append(all, r)
	}
	return all
}
