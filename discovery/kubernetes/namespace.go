package kubernetes

// A namespace is the hub of the sources of one namespace: it keeps the slices by the Service
// they belong to. Its own goroutine (watch.go) writes the index and offers each source whose
// Service's part changes its endpoints. Slices of Services that have no source are kept too, in
// their compact form: a source that comes later, as those of discover routes do for any name
// that clients make up, is answered from memory and costs no request.

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

type namespace struct {
	name string
	api  *apiServer

	mu       sync.Mutex
	slices   map[string]*slice                      // by name
	services map[string][]*slice                    // by Service, in the order of names
	watchers client.Watchers[string, ServiceConfig] // by Service
	known    bool                                   // there was a list
}

func newNamespace(name string, api *apiServer) *namespace {
	return &namespace{name: name, api: api, slices: make(map[string]*slice), services: make(map[string][]*slice)}
}

// Run is part of client.Hub.
func (n *namespace) Run(ctx context.Context) {
	w := watcher{space: n, api: n.api}
	w.run(ctx)
}

// Add is part of client.Hub.
func (n *namespace) Add(w *client.Watcher[ServiceConfig]) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known {
		w.Offer(n.set(w.Of))
	}
	n.watchers.Add(w.Of.Service, w)
}

// Remove is part of client.Hub.
func (n *namespace) Remove(w *client.Watcher[ServiceConfig]) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.watchers.Remove(w.Of.Service, w)
}

// set is what a source has to know. Called with mu held.
func (n *namespace) set(of ServiceConfig) discovery.Update {
	return set(n.services[of.Service], of, n.name)
}

// replace makes all the index, after a list. The index is not stale then.
func (n *namespace) replace(all map[string]*slice) {
	services := make(map[string][]*slice)
	for _, s := range all {
		services[s.service] = append(services[s.service], s)
	}
	for _, list := range services {
		slices.SortFunc(list, byName)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slices, n.services, n.known = all, services, true
	n.watchers.Recover()
	n.offerAll()
}

// A change is one event of a watch: a slice is new or another one, or gone.
type change struct {
	name  string
	slice *slice // nil: gone
}

// apply makes changes in one step, and offers the sources of the Services concerned their sets.
func (n *namespace) apply(changes []change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	touched := make(map[string]bool)
	for _, c := range changes {
		if old := n.slices[c.name]; old != nil {
			touched[old.service] = true
			n.remove(old)
		}
		if c.slice != nil {
			touched[c.slice.service] = true
			n.insert(c.slice)
		}
	}
	for service := range touched {
		n.watchers.Offer(service, n.set)
	}
}

func (n *namespace) insert(s *slice) {
	list := n.services[s.service]
	i, _ := slices.BinarySearchFunc(list, s, byName)
	n.services[s.service] = slices.Insert(list, i, s)
	n.slices[s.name] = s
}

func (n *namespace) remove(s *slice) {
	list := n.services[s.service]
	i, _ := slices.BinarySearchFunc(list, s, byName)
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(n.services, s.service)
	} else {
		n.services[s.service] = list
	}
	delete(n.slices, s.name)
}

func byName(a, b *slice) int { return strings.Compare(a.name, b.name) }

// fail says that the index may be stale.
func (n *namespace) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchers.Fail(err)
}

// recovered says that the index is not stale, or not any more.
func (n *namespace) recovered() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.watchers.Recover() {
		n.offerAll()
	}
}

// offerAll offers all sources their sets. Called with mu held.
func (n *namespace) offerAll() {
	for service := range n.watchers.Parts() {
		n.watchers.Offer(service, n.set)
	}
}
