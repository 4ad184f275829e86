// Package event says what happens to endpoints, services and the configuration, to as many
// observers as want to know: the log is one, metrics and an admin side are others.
//
// What happened is a value of one of the types in kinds.go. Code that changes a state
// publishes it, also while it holds a lock: Publish queues the event and returns. Each
// observer has a task of its own that calls it for one event after the other.
//
//	service, core ─Publish─► Bus: one ring of events ─► task of the log      ─► slog
//	                         each observer has a place  ─► task of the metrics ─► counters
//	                         in it of its own
//
// An observer gets every event that is published between Observe and its end once, in the
// order of Event.Seq. One that is slow holds up neither the publisher nor the other
// observers: when the ring is full the oldest events are overwritten, and the observer that
// had not seen them gets a Lost with their number in their place. One that panics goes on
// with the next event, and all others get an ObserverFailed the first time.
package event

import (
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// An Event is one thing that happened. It is shared by all observers and must not be
// modified.
type Event struct {
	Seq     uint64        // its place among all events of the Bus, from 1
	At      time.Duration // instant of the Bus's runtime; never less than that of the one before
	Service string        // the service it is about; empty: the proxy as a whole
	Detail  Detail        // what happened; never nil
}

// A Detail is one of the types in kinds.go; an observer switches over those it cares for.
type Detail interface{ detail() }

// An Observer gets events. Observe is called by one task of the Bus's runtime, never
// while a lock of the proxy is held. It may take its time, and it may call the proxy.
type Observer interface {
	Observe(e Event)
}

// Func is an Observer that is a function.
type Func func(e Event)

// Observe calls f.
func (f Func) Observe(e Event) { f(e) }

const (
	// eventsMax bounds the events that the slowest observer is behind: a proxy with a
	// thousand services whose endpoints are ejected all at once stays below it. It is
	// about 4 MB, and the ring grows to that only when it must.
	eventsMax = 1 << 16
	// eventsMin is the size of the ring as long as observers keep up.
	eventsMin = 64
	// batchMax bounds how many events an observer's task takes at a time.
	batchMax = 64
)

// A Bus takes events from the proxy to its observers. A nil *Bus drops what is published.
type Bus struct {
	rt  engine.Runtime
	max int

	mu     sync.Mutex // guards what follows; held for some instructions, never while an observer runs
	last   uint64     // Seq of the latest event
	first  uint64     // Seq of the oldest event in the ring
	ring   []Event    // event n is at n % len; the length is a power of two
	lost   uint64     // events that some observer has not seen
	all    []*reader
	closed bool
	gone   engine.Signal // a reader has ended
}

// reader is an observer's place in the ring. It is guarded by Bus.mu, but for the first
// line, which never changes, and failed, which belongs to its task.
type reader struct {
	name   string
	to     Observer
	wake   engine.Signal
	join   engine.Join
	next   uint64 // Seq of the next event it gets
	stop   bool   // it wants no more
	ended  bool   // its task is about to return
	failed bool   // it has panicked before
}

// NewBus returns a Bus whose observers run as tasks of rt. It is called by such a task.
func NewBus(rt engine.Runtime) *Bus {
	return &Bus{rt: rt, max: eventsMax, first: 1, gone: rt.NewSignal()}
}

// Publish says that something happened to a service; empty: to the proxy. Any goroutine may
// call it, also with locks held: it never waits and calls no observer. After Close it does
// nothing.
func (b *Bus) Publish(service string, d Detail) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.last++
	if len(b.all) == 0 {
		b.first = b.last + 1
		return
	}
	b.makeRoom()
	b.ring[b.last%uint64(len(b.ring))] = Event{Seq: b.last, At: b.rt.Now(), Service: service, Detail: d}
	for _, r := range b.all {
		r.wake.Set()
	}
}

// makeRoom has the ring take event number last: it grows, or the oldest event goes. Called
// with mu held.
func (b *Bus) makeRoom() {
	n := uint64(len(b.ring))
	switch {
	case b.last-b.first < n:
		return
	case int(n) >= b.max:
		b.first++
		return
	}
	grown := make([]Event, max(2*n, eventsMin))
	for seq := b.first; seq < b.last; seq++ {
		grown[seq%uint64(len(grown))] = b.ring[seq%n]
	}
	b.ring = grown
}

// Observe passes every event from now on to o, until the returned function is called or
// the Bus is closed. The function does not wait, and an event under way ends. name stands in
// what is said about an observer that panics. It is called by a task of the runtime.
func (b *Bus) Observe(name string, o Observer) (stop func()) {
	r := &reader{name: name, to: o, wake: b.rt.NewSignal()}
	b.mu.Lock()
	r.next = b.last + 1
	r.ended = b.closed
	if !r.ended {
		b.all = append(b.all, r)
	}
	b.mu.Unlock()
	if !r.ended {
		join := b.rt.Fork(func() { b.run(r) })
		b.mu.Lock()
		r.join = join
		b.mu.Unlock()
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		r.stop = true
		r.wake.Set()
	}
}

// run is the task of one observer.
func (b *Bus) run(r *reader) {
	batch := make([]Event, 0, batchMax)
	for {
		var end bool
		if batch, end = b.take(r, batch[:0]); end {
			b.gone.Set()
			return
		}
		for _, e := range batch {
			b.call(r, e)
		}
		if len(batch) == 0 {
			r.wake.Wait(0)
		}
		clear(batch) // they may hold errors and stacks
	}
}

// take appends the next events for r, a Lost in front if some were overwritten. end: there
// will be no more, and r is not among the readers any longer.
func (b *Bus) take(r *reader, batch []Event) (_ []Event, end bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.stop || b.closed && r.next > b.last {
		r.ended = true
		b.all = slices.DeleteFunc(b.all, func(other *reader) bool { return other == r })
		b.trim()
		return batch, true
	}
	if n := b.first - r.next; r.next < b.first {
		b.lost += n
		r.next = b.first
		batch = append(batch, Event{Seq: b.first - 1, At: b.rt.Now(), Detail: Lost{Events: n}})
	}
	for ; r.next <= b.last && len(batch) < cap(batch); r.next++ {
		batch = append(batch, b.ring[r.next%uint64(len(b.ring))])
	}
	b.trim()
	return batch, false
}

// trim forgets the events that every observer has taken. Called with mu held.
func (b *Bus) trim() {
	oldest := b.last + 1
	for _, r := range b.all {
		oldest = min(oldest, max(r.next, b.first))
	}
	if oldest > b.last && len(b.ring) > eventsMin {
		b.ring = nil // a burst is over
	}
	for n := uint64(len(b.ring)); n > 0 && b.first < oldest; b.first++ {
		b.ring[b.first%n] = Event{}
	}
	b.first = oldest
}

// call passes one event to the observer.
func (b *Bus) call(r *reader, e Event) {
	defer func() {
		if v := recover(); v != nil && !r.failed {
			r.failed = true
			b.Publish("", ObserverFailed{Observer: r.name, Value: v, Stack: debug.Stack()})
		}
	}()
	r.to.Observe(e)
}

// Lost counts the events that some observer was too slow for, since NewBus. Any goroutine
// may call it.
func (b *Bus) Lost() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// Close takes no more events and waits until every observer has seen those it has, at most
// until by; it reports whether that is so. An observer that hangs is left behind. It is
// called once, by a task of the runtime.
func (b *Bus) Close(by time.Duration) bool {
	b.mu.Lock()
	b.closed = true
	all := slices.Clone(b.all)
	for _, r := range all {
		r.wake.Set()
	}
	b.mu.Unlock()
	left := func(r *reader) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return !r.ended
	}
	for slices.ContainsFunc(all, left) && b.rt.Now() < by {
		b.gone.Wait(by)
	}
	done := true
	for _, r := range all {
		if left(r) {
			done = false
			continue
		}
		r.join.Wait()
	}
	return done
}
