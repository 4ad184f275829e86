package core

import (
	"cmp"
	"slices"
	"time"
)

// How a Proxy ends, in four steps, of which each is seen by those that look:
//
//	draining   every response is the last of its connection; all else is as before
//	stopping   a mounted handler and Apply refuse; connections are let end
//	over       nothing is served any more, and the services end
//	           each service ends by a task of its own: one that cannot holds up no other

const (
	// breakFor is how long what was broken off, or asked to end after that, may take.
	breakFor = 2 * time.Second
	// endFor is how long services may take to end without Hurry: a probe under way
	// ends first.
	endFor = 10 * time.Second
)

// Drain makes every response from now on the last of its connection. Any goroutine may
// call it, more than once.
func (p *Proxy) Drain() { p.draining.Store(true) }

// Draining reports whether Drain or Close was called.
func (p *Proxy) Draining() bool { return p.draining.Load() }

// Hurry makes a Close under way, or the next one, break off what is not finished. Any
// goroutine may call it.
func (p *Proxy) Hurry() {
	p.hurry.Store(true)
	p.clients.changed.Set()
	p.gone.Set()
}

// Close stops taking requests, waits for exchanges under way until Hurry is called,
// breaks off what is left then, and ends every task the Proxy has started. It reports
// whether nothing had to be broken off. What does not end although it was asked to (a
// policy that hangs, say) is left behind after endFor, or breakFor with Hurry: see Left.
// It must be called once, by a task of the Proxy's runtime.
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

// awaitEnd waits for the housekeeper and for the services that are being ended.
func (p *Proxy) awaitEnd() {
	began := p.rt.Now()
	hurried := time.Duration(0) // since when
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

// Connections is how many connections of clients, and exchanges of a mounted handler, are
// open. Any goroutine may call it.
func (p *Proxy) Connections() int { return p.clients.count() }

// rest are the services that have not ended yet, in an order that repeats.
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

// begin takes r, which has just been started, into what Close ends. It reports false if
// Close has already taken stock: then the caller ends it.
func (p *Proxy) begin(r *liveService) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over.Load() {
		return false
	}
	p.live[r] = false
	return true
}

// end ends a service by a task of its own, because its source, its policy or a probe may
// take their time. The second call does nothing.
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

// left notes that r has ended; how, if it panicked, is said.
func (p *Proxy) left(r *liveService) {
	if v := recover(); v != nil {
		p.opts.Logger.Error("panic while a service ended", "service", r.Name(), "panic", v)
	}
	p.mu.Lock()
	delete(p.live, r)
	p.mu.Unlock()
	p.gone.Set()
}
