package client

import (
	"context"
	"sync"

	"github.com/poise-lb/poise/discovery"
)

// A Watcher hands the newest state of one service from a hub to the source that runs for
// it. The hub's goroutines write, the source's goroutine takes; neither waits for the
// other. Of says what is watched.
type Watcher[T any] struct {
	Of T

	ready chan struct{} // holds a token while there is something to take

	mu      sync.Mutex
	history history           // of what was offered
	set     *discovery.Update // not yet taken
	failure *discovery.Update // not yet taken; it came after set
}

// NewWatcher returns a watcher of what of says.
func NewWatcher[T any](of T) *Watcher[T] {
	return &Watcher[T]{Of: of, ready: make(chan struct{}, 1)}
}

// Offer has the source publish a set, unless it is the one that was offered last. A set
// that the source has not taken yet is replaced.
func (w *Watcher[T]) Offer(u discovery.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.history.set(u) {
		w.set, w.failure = &u, nil
		w.signal()
	}
}

// Fail has the source publish that the set may be stale, unless this outage's error is
// known.
func (w *Watcher[T]) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.history.fail(err) {
		w.failure = &discovery.Update{Err: err}
		w.signal()
	}
}

func (w *Watcher[T]) signal() {
	select {
	case w.ready <- struct{}{}:
	default: // the token is there
	}
}

// publish publishes what there is, in order.
func (w *Watcher[T]) publish(publish func(discovery.Update)) {
	w.mu.Lock()
	set, failure := w.set, w.failure
	w.set, w.failure = nil, nil
	w.mu.Unlock()
	for _, u := range []*discovery.Update{set, failure} {
		if u != nil {
			publish(*u)
		}
	}
}

// A Hub serves all watchers of a group by one connection, or one poll. Add, Remove and Run
// are called by different goroutines.
type Hub[T any] interface {
	// Add offers w what is known now, and from then on what changes; in an outage the last
	// set, if there is one, and the reason.
	Add(w *Watcher[T])
	// Remove offers w nothing any more, and reports whether it was the last one.
	Remove(w *Watcher[T]) (last bool)
	// Run keeps the connection until ctx is done.
	Run(ctx context.Context)
}

// A Group runs a hub while at least one of its watchers does, and holds no connection and
// no goroutine otherwise. It is safe for concurrent use.
type Group[T any] struct {
	Open func() Hub[T] // makes a hub, which knows nothing

	mu     sync.Mutex
	hub    Hub[T] // nil: no watcher runs
	cancel context.CancelFunc
	done   chan struct{} // closed when hub.Run has returned
}

// Run publishes what the hub offers to a new watcher of of, until ctx is done. The last
// watcher ends the hub and waits until it has ended.
func (g *Group[T]) Run(ctx context.Context, of T, publish func(discovery.Update)) {
	w := NewWatcher(of)
	g.join(w)
	defer g.leave(w)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.ready:
			w.publish(publish)
		}
	}
}

func (g *Group[T]) join(w *Watcher[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hub != nil {
		g.hub.Add(w)
		return
	}
	hub, done := g.Open(), make(chan struct{})
	hub.Add(w)
	ctx, cancel := context.WithCancel(context.Background())
	g.hub, g.cancel, g.done = hub, cancel, done
	go func() { // ends in leave, which waits for it
		defer close(done)
		hub.Run(ctx)
	}()
}

func (g *Group[T]) leave(w *Watcher[T]) {
	g.mu.Lock()
	last := g.hub.Remove(w)
	cancel, done := g.cancel, g.done
	if last {
		g.hub = nil // a watcher that joins from here on has a new one
	}
	g.mu.Unlock()
	if last {
		cancel()
		<-done
	}
}
