package core

// How a Proxy ends. The flags below are set one after the other and never taken back; each is read
// where its meaning is:
//
//	draining   every response is the last of its connection, and HTTP/2 has sent GOAWAY; new
//	           connections are still served
//	stopping   a mounted handler and Apply refuse; connections are allowed to finish
//	over       nothing is served any more; each service ends in a task of its own, so that one
//	           that hangs does not delay the others
//
// The end of a process with drain_delay 5 s and drain 30 s. Close is the one below; the server
// around it (internal/front) has the delay, and the caller's context becomes a call of Hurry:
//
//	 0 s     SIGTERM: Drain. Load balancers in front see Connection: close and stop sending
//	 5 s     listeners close; Close: stopping. An idle connection is closed 200 ms later, a busy
//	         one after its response
//	12 s     the last exchange ends: over; services end: drained true
//	35 s     or, if an exchange is still under way: the context ends: Hurry. What is left is
//	         interrupted and has 2 s (breakFor); drained false
//
// Services may take 10 s (endFor) to end, or 2 s after Hurry; those that take longer are left
// behind and named by Left.

import (
	"cmp"
	"slices"
	"time"
)

const (
	// breakFor is how long exchanges that were interrupted may take to end, and services and
	// observers of events after Hurry.
	breakFor = 2 * time.Second
	// endFor is how long services may take to end without Hurry: they wait for a probe that
	// is under way.
	endFor = 10 * time.Second
)

// Drain makes every response from now on the last of its connection; connections of a concurrent
// protocol are told at once (GOAWAY). It does not wait. Any goroutine may call it, more than once.
func (p *Proxy) Drain() {
	p.draining.Store(true) // first: a connection that is opened meanwhile looks at it
	p.clients.announce()
}

// Draining reports whether Drain or Close was called. Any goroutine may call it.
func (p *Proxy) Draining() bool { return p.draining.Load() }

// Hurry makes a Close under way, or a later one, interrupt the exchanges that have not ended. It
// does not wait. Any goroutine may call it, more than once.
func (p *Proxy) Hurry() {
	p.hurry.Store(true)
	p.clients.changed.Set()
	p.gone.Set()
}

// Close ends the Proxy. It stops taking requests, waits for the exchanges under way, without
// limit until Hurry is called, interrupts what is left then, and ends every task that the Proxy
// has started. drained: nothing had to be interrupted. Services that do not end in time, because a
// policy hangs for instance, are left behind: see Left. It must be called once, by a task of the
// Proxy's runtime.
func (p *Proxy) Close() (drained bool) {
	p.draining.Store(true)
	p.stopping.Store(true)
	drained = p.clients.drain(&p.hurry)
	p.wake.Set()
	p.rt.Fork(func() {
		defer p.gone.Set()
		defer p.kept.Store(true)
		p.keeper.Wait()
	})
	for _, r := range p.rest() {
		p.end(r)
	}
	p.awaitEnd()
	p.events.Close(p.rt.Now() + breakFor) // last, so that observers see every event
	return drained
}

// awaitEnd waits for the housekeeper and the services to end, within endFor and breakFor.
func (p *Proxy) awaitEnd() {
	began := p.rt.Now()
	hurried := time.Duration(0) // instant at which Hurry was seen; 0: it was not called
	for !p.ended() {
		now := p.rt.Now()
		if hurried == 0 && p.hurry.Load() {
			hurried = now
		}
		if now-began >= endFor || hurried != 0 && now-hurried >= breakFor {
			return
		}
		p.gone.Wait(now + 100*time.Millisecond)
	}
}

// ended reports whether the housekeeper and all services have ended.
func (p *Proxy) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live) == 0 && p.kept.Load()
}

// Left names the services that have not ended yet. Any goroutine may call it.
func (p *Proxy) Left() (names []string) {
	for _, r := range p.rest() {
		names = append(names, r.Name())
	}
	return names
}

// Connections is the number of client connections, and of exchanges of a mounted handler, that
// are open. Any goroutine may call it.
func (p *Proxy) Connections() int { return p.clients.count() }

// rest lists the services that have not ended yet, by name.
func (p *Proxy) rest() []*liveService {
	p.mu.Lock()
	all := make([]*liveService, 0, len(p.live))
	for r := range p.live {
		all = append(all, r)
	}
	p.mu.Unlock()
	slices.SortFunc(all, func(a, b *liveService) int { return cmp.Compare(a.Name(), b.Name()) })
	return all
}

// begin registers r, which has just been started, so that Close ends it. It returns false if Close
// has already listed what it ends: then the caller must end r.
func (p *Proxy) begin(r *liveService) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over.Load() {
		return false
	}
	p.live[r] = false
	return true
}

// end ends a service in a task of its own, because its source, its policy or a probe may take
// long. It does not wait. A second call for the same service does nothing.
func (p *Proxy) end(r *liveService) {
	p.mu.Lock()
	ending, there := p.live[r]
	if there {
		p.live[r] = true
	}
	p.mu.Unlock()
	if ending || !there {
		return
	}
	p.rt.Fork(func() {
		defer p.left(r)
		r.unfeed()
		r.stop()
	})
}

// left is deferred by the task that ends r: it records that r has ended, and logs a panic.
func (p *Proxy) left(r *liveService) {
	if v := recover(); v != nil {
		p.opts.Logger.Error("panic while a service ended", "service", r.Name(), "panic", v)
	}
	p.mu.Lock()
	delete(p.live, r)
	p.mu.Unlock()
	p.gone.Set()
}
