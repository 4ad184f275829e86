package core

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

// How room is made when there are as many connections as there may be: client connections
// that have waited for a request for long are closed, and idle connections to endpoints.

const (
	// idleLeast is how long a client connection must have waited to be closed for another
	// one. A new one has that long to send its first request.
	idleLeast = time.Second
	// crowdedEvery bounds how often room is made for clients, and how soon idle connections
	// to endpoints are looked for again where there were none.
	crowdedEvery = 5 * time.Millisecond
	// lookMost bounds how many connections of a worker are looked at in a row, evictMost how
	// many of them are closed, shedMost that of connections to endpoints.
	lookMost  = 64
	evictMost = 16
	shedMost  = 8
	// crowdedReport bounds how often that is published.
	crowdedReport = 10 * time.Second
)

// crowd is when room was last made.
type crowd struct {
	making   sync.Mutex   // taken by TryLock: one at a time is enough
	last     atomic.Int64 // for clients
	reported atomic.Int64
	barren   atomic.Int64 // when idle connections to endpoints were last looked for in vain
}

// Admission bounds connections and requests. The code that accepts client connections
// for the Proxy asks it.
func (p *Proxy) Admission() *admission.Control { return p.admission }

// crowded makes room for a client connection that waits. It does not wait itself, and may
// be called from anywhere.
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

// evict closes up to most connections of each worker that have waited for a request since
// before that instant.
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

// longIdle returns up to most clients that have waited since before that instant, those
// that have waited longest first. It looks at some clients only, and next time at others.
func (l *list) longIdle(before time.Duration, most int) []*client {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*client
	for range min(l.open, lookMost) {
		e := l.root.next
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

// Connect counts a connection to an endpoint, for which idle ones may have to go.
func (p *Proxy) Connect(worker int) bool {
	if p.admission.Connect() || p.Shed(worker) && p.admission.Connect() {
		return true
	}
	p.admission.Short()
	return false
}

// Disconnect takes back n times Connect.
func (p *Proxy) Disconnect(n int) { p.admission.Disconnect(n) }

// Shed closes some idle connections to endpoints, those of that worker last, and reports
// whether there were any.
func (p *Proxy) Shed(worker int) bool {
	now, barren := p.rt.Now(), &p.crowd.barren
	if at := time.Duration(barren.Load()); at != 0 && now-at < crowdedEvery {
		return false // looking costs time, and there are many who ask
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
		barren.Store(int64(now))
	}
	return n > 0
}

// alive are all services that have not ended, in no order.
func (p *Proxy) alive() []*liveService {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*liveService, 0, len(p.live))
	for r := range p.live {
		all = append(all, r)
	}
	return all
}
