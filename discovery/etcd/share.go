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
	"slices"
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

// A hub serves all sources whose prefixes have one parent.
type hub struct {
	registry *Registry
	parent   string

	mu       sync.Mutex
	watchers client.Watchers[string, string] // by prefix
	prefix   string                          // that the session is about; "": there was none
	end      func()                          // ends the session, so that the next begins
	sets     map[string]discovery.Update     // by prefix, as the session last had them
	known    bool                            // sets has all below prefix
}

func newHub(r *Registry, parent string) *hub {
	return &hub{registry: r, parent: parent, sets: make(map[string]discovery.Update)}
}

// Add is part of client.Hub.
func (h *hub) Add(w *client.Watcher[string]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	covered := strings.HasPrefix(w.Of, h.prefix)
	switch {
	case h.known && covered:
		w.Offer(h.sets[w.Of])
	case !covered: // by a session of another prefix alone
		h.end()
	}
	h.watchers.Add(w.Of, w)
}

// Remove is part of client.Hub.
func (h *hub) Remove(w *client.Watcher[string]) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watchers.Remove(w.Of, w)
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
	if prefixes := slices.Collect(h.watchers.Parts()); len(prefixes) == 1 {
		h.prefix = prefixes[0]
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
	h.watchers.Recover()
	if prefixes == nil {
		h.known = true
		clear(h.sets)
		prefixes = make(map[string]bool)
		for prefix := range v.groups {
			prefixes[prefix] = true
		}
		for prefix := range h.watchers.Parts() {
			prefixes[prefix] = strings.HasPrefix(prefix, h.prefix)
		}
	}
	for prefix, covered := range prefixes {
		if !covered {
			continue // its watcher is newer than the session
		}
		u := v.set(prefix)
		h.sets[prefix] = u
		h.watchers.Offer(prefix, func(string) discovery.Update { return u })
	}
}

// fail tells all watchers that their sets may be stale. It has sources go apart that
// cannot share.
func (h *hub) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.prefix == h.parent && (client.Status(err) == http.StatusForbidden || errors.Is(err, client.ErrLong)) {
		h.registry.part()
	}
	h.watchers.Fail(err)
}
