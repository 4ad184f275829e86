package kubernetes

// A namespace keeps the slices of one namespace, by the Service they belong to. Its own
// goroutine (watch.go) writes the index; sources read their Service's part of it and are
// signalled when that part changes. Slices of Services that have no subscriber are kept
// too, in their compact form: a source that subscribes later, as those of discover routes
// do for any name that clients make up, is answered from memory and costs no request.

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

type namespace struct {
	name  string
	api   *apiServer
	users int // guarded by the registry's mu

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned

	mu          sync.Mutex
	slices      map[string]*slice        // by name
	services    map[string][]*slice      // by Service, in the order of names
	subscribers map[string][]*subscriber // by Service
	version     int                      // counts the steps of the index; 0: there was no list
	failure     error                    // why the index may be stale; nil: it is not
	panicked    error                    // the goroutine panicked with this, and has ended
}

// A subscriber is a source that runs.
type subscriber struct {
	service string
	changed chan struct{} // capacity 1: there is something new to read
}

func newNamespace(name string, api *apiServer) *namespace {
	n := &namespace{
		name: name, api: api, done: make(chan struct{}),
		slices: make(map[string]*slice), services: make(map[string][]*slice), subscribers: make(map[string][]*subscriber),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// run follows the namespace until stop is called. A panic is passed on to the subscribers,
// whose owners know what to do with it.
func (n *namespace) run() {
	defer close(n.done)
	defer func() {
		if p := recover(); p != nil {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.panicked = fmt.Errorf("kubernetes: %v\n%s", p, debug.Stack())
			n.signalAll()
		}
	}()
	w := watcher{space: n, api: n.api}
	w.run(n.ctx)
}

func (n *namespace) stop() {
	n.cancel()
	<-n.done
}

// subscribe adds a subscriber, which is signalled at once if there is something to read.
func (n *namespace) subscribe(service string) *subscriber {
	sub := &subscriber{service: service, changed: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subscribers[service] = append(n.subscribers[service], sub)
	if n.version != 0 || n.failure != nil || n.panicked != nil {
		sub.signal()
	}
	return sub
}

func (n *namespace) unsubscribe(sub *subscriber) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rest := slices.DeleteFunc(n.subscribers[sub.service], func(s *subscriber) bool { return s == sub })
	if n.subscribers[sub.service] = rest; len(rest) == 0 {
		delete(n.subscribers, sub.service)
	}
}

// A part is what a subscriber reads of the index.
type part struct {
	slices  []*slice // of its Service
	version int      // of the index; 0: it is not known
	failure error    // why it may be stale; nil: it is not
}

// read returns the subscriber's part. It panics if the namespace's goroutine has.
func (n *namespace) read(sub *subscriber) part {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.panicked != nil {
		panic(n.panicked)
	}
	return part{slices: slices.Clone(n.services[sub.service]), version: n.version, failure: n.failure}
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
	n.slices, n.services, n.failure = all, services, nil
	n.version++
	n.signalAll()
}

// A change is one event of a watch: a slice is new or another one, or gone.
type change struct {
	name  string
	slice *slice // nil: gone
}

// apply makes changes in one step, and signals the subscribers of the Services concerned.
func (n *namespace) apply(changes []change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.version++
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
		for _, sub := range n.subscribers[service] {
			sub.signal()
		}
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

// fail says why the index may be stale; nil: it is not, or not any more.
func (n *namespace) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && n.failure == nil {
		return
	}
	n.failure = err
	n.signalAll()
}

func (n *namespace) signalAll() { // with mu held
	for _, list := range n.subscribers {
		for _, sub := range list {
			sub.signal()
		}
	}
}

// signal does not wait: a subscriber that is signalled already reads what is new then.
func (s *subscriber) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
