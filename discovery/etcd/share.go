package etcd

// Services of one registry usually have prefixes side by side:
//
//	/services/orders/
//	/services/users/        parent: /services/
//
// A hub watches for all of them: the prefix of the only service as long as there is one,
// and the parent as soon as there are two. The keys below the parent are grouped by the
// service that they belong to, so that a change concerns the watchers of one service.
//
// A user may be allowed to read each prefix and not the parent, and a parent may hold more
// than fits into one answer. Then the sources go apart: each has a session of its own.

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// gather is how long a hub waits for further services before it begins: those of one
// configuration start at once.
const gather = 10 * time.Millisecond

// parent is what a prefix has in common with its neighbours, or "" if it does not end with
// a slash, or lies directly below the root, where everything lies.
func parent(prefix string) string {
	name, ok := strings.CutSuffix(prefix, "/")
	if !ok {
		return ""
	}
	p := name[:strings.LastIndexByte(name, '/')+1]
	if strings.Trim(p, "/") == "" {
		return ""
	}
	return p
}

// group is what the source of a prefix shares, nil: nothing.
func (r *Registry) group(prefix string) *client.Group[string] {
	p := parent(prefix)
	if p == "" || r.together.Err() != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[p]
	if g == nil {
		g = &client.Group[string]{Open: func() client.Hub[string] {
			return &hub{
				registry: r, parent: p,
				watchers: make(map[string]map[*client.Watcher[string]]bool),
				sets:     make(map[string]discovery.Update),
			}
		}}
		r.groups[p] = g
	}
	return g
}

// A hub serves all sources whose prefixes have one parent.
type hub struct {
	registry *Registry
	parent   string

	mu       sync.Mutex
	watchers map[string]map[*client.Watcher[string]]bool // by prefix
	prefix   string                                      // that the session is about; "": there was none
	end      func()                                      // ends the session, so that the next begins
	sets     map[string]discovery.Update                 // by prefix, as the session last had them
	known    bool                                        // sets has all below prefix
	failure  error                                       // why sets may be stale
}

// Add is part of client.Hub.
func (h *hub) Add(w *client.Watcher[string]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers[w.Of] == nil {
		h.watchers[w.Of] = make(map[*client.Watcher[string]]bool)
	}
	h.watchers[w.Of][w] = true
	covered := strings.HasPrefix(w.Of, h.prefix)
	switch {
	case h.known && covered:
		w.Offer(h.sets[w.Of])
	case !covered: // by a session of another prefix alone
		h.end()
	}
	if h.failure != nil {
		w.Fail(h.failure)
	}
}

// Remove is part of client.Hub.
func (h *hub) Remove(w *client.Watcher[string]) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers[w.Of], w)
	if len(h.watchers[w.Of]) == 0 {
		delete(h.watchers, w.Of)
	}
	return len(h.watchers) == 0
}

// Run is part of client.Hub.
func (h *hub) Run(ctx context.Context) {
	if client.Sleep(ctx, gather) {
		h.registry.run(ctx, h.prepare, h.fail)
	}
}

// prepare makes a session of all prefixes there are now. end ends it.
func (h *hub) prepare(s *session, end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.prefix
	h.prefix, h.end = h.parent, end
	if len(h.watchers) == 1 {
		for only := range h.watchers {
			h.prefix = only
		}
	}
	h.known = h.known && h.prefix == last
	s.prefix, s.group, s.changed = h.prefix, h.groupOf, h.changed
}

// groupOf is the prefix of the service that a key belongs to, or the parent if it belongs
// to none.
func (h *hub) groupOf(key string) string {
	rest, _ := strings.CutPrefix(key, h.parent)
	return key[:len(h.parent)+strings.IndexByte(rest, '/')+1]
}

// changed offers the sets of prefixes that have changed; nil: of all.
func (h *hub) changed(v *view, prefixes map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failure = nil
	if prefixes == nil {
		h.known = true
		clear(h.sets)
		prefixes = make(map[string]bool)
		for prefix := range v.groups {
			prefixes[prefix] = true
		}
		for prefix := range h.watchers {
			prefixes[prefix] = strings.HasPrefix(prefix, h.prefix)
		}
	}
	for prefix, covered := range prefixes {
		if !covered {
			continue // its watcher is newer than the session
		}
		var u discovery.Update
		u.Endpoints, u.Rejected = v.set(prefix)
		h.sets[prefix] = u
		for w := range h.watchers[prefix] {
			w.Offer(u)
		}
	}
}

// fail tells all watchers that their sets may be stale. It has sources go apart that
// cannot share.
func (h *hub) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	status, ok := errors.AsType[*client.StatusError](err)
	denied := ok && status.Status == http.StatusForbidden
	if h.prefix == h.parent && (denied || errors.Is(err, client.ErrLong)) {
		h.registry.part()
	}
	h.failure = err
	for _, watchers := range h.watchers {
		for w := range watchers {
			w.Fail(err)
		}
	}
}
