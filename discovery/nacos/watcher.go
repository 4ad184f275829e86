package nacos

import (
	"slices"
	"sync"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// A watcher hands the newest state of one service to the source that runs for it. The link
// writes, the source's goroutine takes; neither waits for the other.
type watcher struct {
	config ServiceConfig
	ready  chan struct{} // holds a token while there is something to take

	mu      sync.Mutex
	set     *discovery.Update // not yet taken
	failure *discovery.Update // not yet taken; it came after set
	last    discovery.Update  // the set that was offered last
	fresh   bool              // and no failure since
	said    map[string]bool   // the failures of this outage
}

// failuresMost bounds how many different errors one outage may publish.
const failuresMost = 4

func newWatcher(c ServiceConfig) *watcher {
	return &watcher{config: c, ready: make(chan struct{}, 1), said: make(map[string]bool)}
}

// offer takes over a set, unless it is what was offered last. A set after a failure is
// offered again, so that everybody sees that it is no longer stale.
func (w *watcher) offer(u discovery.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fresh && sameSet(w.last, u) {
		return
	}
	w.last, w.fresh = u, true
	clear(w.said)
	w.set, w.failure = &u, nil
	w.signal()
}

// fail notes that the set may be stale; what was said in this outage is not repeated.
func (w *watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = false
	text := err.Error()
	if w.said[text] || len(w.said) >= failuresMost {
		return
	}
	w.said[text] = true
	w.failure = &discovery.Update{Err: err}
	w.signal()
}

// take returns what there is to publish, in order.
func (w *watcher) take() []discovery.Update {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []discovery.Update
	for _, u := range []*discovery.Update{w.set, w.failure} {
		if u != nil {
			out = append(out, *u)
		}
	}
	w.set, w.failure = nil, nil
	return out
}

func (w *watcher) signal() {
	select {
	case w.ready <- struct{}{}:
	default: // the token is there
	}
}

func sameSet(a, b discovery.Update) bool {
	return slices.EqualFunc(a.Endpoints, b.Endpoints, endpoint.Spec.Equal) && slices.Equal(a.Rejected, b.Rejected)
}
