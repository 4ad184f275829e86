package client

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"runtime/debug"
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

// newWatcher returns a watcher of what of says.
func newWatcher[T any](of T) *Watcher[T] {
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

func (w *Watcher[T]) signal() { Signal(w.ready) }

// Signal puts a token into a channel that has room for one, unless it is there already.
func Signal(ready chan<- struct{}) {
	select {
	case ready <- struct{}{}:
	default:
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

// Watchers are those of a hub, by the part of its sets that they watch. The hub's mutex guards
// them.
type Watchers[K comparable, T any] struct {
	of      map[K]map[*Watcher[T]]bool
	failure error // why sets may be stale; nil: they are not
}

// Add adds a watcher of a part, which has been offered its set if that is known. In an outage it
// learns of that, too.
func (s *Watchers[K, T]) Add(part K, w *Watcher[T]) {
	if s.of == nil {
		s.of = make(map[K]map[*Watcher[T]]bool)
	}
	if s.of[part] == nil {
		s.of[part] = make(map[*Watcher[T]]bool)
	}
	s.of[part][w] = true
	if s.failure != nil {
		w.Fail(s.failure)
	}
}

// Remove removes a watcher, and reports whether it was the last one of all.
func (s *Watchers[K, T]) Remove(part K, w *Watcher[T]) (last bool) {
	delete(s.of[part], w)
	if len(s.of[part]) == 0 {
		delete(s.of, part)
	}
	return len(s.of) == 0
}

// Of are the watchers of a part.
func (s *Watchers[K, T]) Of(part K) map[*Watcher[T]]bool { return s.of[part] }

// Parts are those that have watchers.
func (s *Watchers[K, T]) Parts() iter.Seq[K] { return maps.Keys(s.of) }

// Offer offers the watchers of a part their sets.
func (s *Watchers[K, T]) Offer(part K, set func(of T) discovery.Update) {
	for w := range s.of[part] {
		w.Offer(set(w.Of))
	}
}

// Fail tells all watchers that their sets may be stale, and those that are added until Recover.
func (s *Watchers[K, T]) Fail(err error) {
	s.failure = err
	for _, watchers := range s.of {
		for w := range watchers {
			w.Fail(err)
		}
	}
}

// Recover ends an outage, and reports whether there was one.
func (s *Watchers[K, T]) Recover() (failed bool) {
	failed, s.failure = s.failure != nil, nil
	return failed
}

// A Hub serves all watchers of a group by one connection, or one poll. Add, Remove and Run
// are called by different goroutines. It unlocks by defer, since a panic of Run's is survived.
type Hub[T any] interface {
	// Add offers w what is known now, and from then on what changes; in an outage the last
	// set, if there is one, and the reason.
	Add(w *Watcher[T])
	// Remove offers w nothing any more, and reports whether it was the last one.
	Remove(w *Watcher[T]) (last bool)
	// Run keeps the connection until ctx is done.
	Run(ctx context.Context)
}

// A Group runs hubs by a key, each while at least one of its watchers does, and holds no
// connection and no goroutine otherwise. It is safe for concurrent use.
type Group[K comparable, T any] struct {
	Open func(K) Hub[T] // makes a hub, which knows nothing

	mu   sync.Mutex
	runs map[K]*run[T] // those that have watchers
}

// A run is a hub at work.
type run[T any] struct {
	hub      Hub[T]
	cancel   context.CancelFunc
	done     chan struct{} // closed when hub.Run has returned, or panicked
	panicked error         // valid then; nil: it has returned
}

// Run publishes what the hub of the key offers to a new watcher of of, until ctx is done. The
// last watcher ends the hub and waits until it has ended. If the hub's Run panics, so does
// this: the owners of sources recover, and run them again.
func (g *Group[K, T]) Run(ctx context.Context, key K, of T, publish func(discovery.Update)) {
	w := newWatcher(of)
	r := g.join(key, w)
	defer g.leave(key, r, w)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.done: // too early, since this watcher has not left
			panic(r.panicked)
		case <-w.ready:
			w.publish(publish)
		}
	}
}

func (g *Group[K, T]) join(key K, w *Watcher[T]) *run[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.runs[key]; r != nil {
		r.hub.Add(w)
		return r
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run[T]{hub: g.Open(key), cancel: cancel, done: make(chan struct{})}
	r.hub.Add(w)
	if g.runs == nil {
		g.runs = make(map[K]*run[T])
	}
	g.runs[key] = r
	go func() { // ends in leave, which waits for it
		defer close(r.done)
		defer func() {
			if p := recover(); p != nil {
				r.panicked = fmt.Errorf("%v\n%s", p, debug.Stack())
			}
		}()
		r.hub.Run(ctx)
	}()
	return r
}

func (g *Group[K, T]) leave(key K, r *run[T], w *Watcher[T]) {
	g.mu.Lock()
	last := r.hub.Remove(w)
	if last {
		delete(g.runs, key) // a watcher that joins from here on has a new one
	}
	g.mu.Unlock()
	if last {
		r.cancel()
		<-r.done
	}
}
