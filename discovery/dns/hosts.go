package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// Registries may name hosts in place of addresses. Resolve makes addresses of them, around
// any source:
//
//	inner ─set─► names ─► a Source for each name ─addresses─┐
//	               └───────────────────────────────────────► set of addresses ─► publish
//
// A host that several instances have is asked for once. It is asked again as the answer's
// time to live says, as long as the inner source names it.

const (
	// hostsMax bounds how many different names of one source are resolved.
	hostsMax = 256
	// hostsPatience is how long a set waits for names that were not answered for yet.
	hostsPatience = 2 * time.Second
)

// errTooMany is why a name beyond hostsMax is not resolved.
var errTooMany = fmt.Errorf("more than %d host names are not resolved", hostsMax)

// Resolve returns a source whose set is inner's with addresses in place of host names. An
// endpoint whose Address has a name becomes one for each address of that name; they share
// its weight, and Host is the name. A name that was never answered for is rejected with the
// reason; one that fails later keeps its addresses. Server is as in Config. A set without
// names is published as it is.
func Resolve(inner discovery.Source, server string) discovery.Source {
	return &resolved{inner: inner, server: server}
}

type resolved struct {
	inner  discovery.Source
	server string
	files  Config // Hosts and Resolv, for tests
}

// Run runs inner on the calling goroutine, so that its panics are the caller's, and one
// source for each name, and the publishing, on goroutines of its own. It returns when inner
// and all of those have.
func (r *resolved) Run(ctx context.Context, publish func(discovery.Update)) error {
	h := &hosts{wake: make(chan struct{}, 1), known: make(map[string]*host)}
	ended := make(chan struct{})
	var running sync.WaitGroup
	defer running.Wait()
	defer close(ended)
	running.Go(func() { r.publish(ctx, h, ended, publish) })
	return r.inner.Run(ctx, h.update)
}

// publish publishes what h has until inner has ended, and then the rest, but nothing once
// ctx is done.
func (r *resolved) publish(ctx context.Context, h *hosts, ended <-chan struct{}, publish func(discovery.Update)) {
	names, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	patience := time.NewTimer(hostsPatience)
	defer patience.Stop()
	for last := false; !last; {
		select {
		case <-ended:
			last = true
		case <-patience.C:
			h.impatient()
		case <-h.wake:
		}
		for _, one := range h.adopt() {
			running.Go(func() { r.follow(names, h, one) })
			patience.Reset(hostsPatience)
		}
		for _, u := range h.take(last) {
			if ctx.Err() == nil {
				publish(u)
			}
		}
	}
}

// follow resolves a name until the set does not have it any more.
func (r *resolved) follow(ctx context.Context, h *hosts, one *host) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(one.ctx, cancel)()
	s := New(Config{Host: one.name, Port: 1, Server: r.server, Hosts: r.files.Hosts, Resolv: r.files.Resolv})
	if err := s.Run(ctx, func(u discovery.Update) { h.answer(one, u) }); err != nil {
		h.answer(one, discovery.Update{Err: err})
	}
}

// A host is one name and what is known of it.
type host struct {
	name  string
	ctx   context.Context // ends when no set has the name any more
	end   context.CancelFunc
	heard bool // answered or failed at least once
	known bool // answered at least once
	addrs []netip.Addr
	err   error // why it is not known
}

// hosts are the newest set of the inner source and the names in it.
type hosts struct {
	wake chan struct{} // holds a token while there is something to do

	mu      sync.Mutex
	set     *discovery.Update // the newest one
	failure error             // came after set, and was not published yet
	known   map[string]*host
	fresh   []*host // to be resolved
	changed bool    // set or addresses, since the last publication
	hurry   bool    // names that were not heard of are not waited for
}

func (h *hosts) signal() {
	select {
	case h.wake <- struct{}{}:
	default: // the token is there
	}
}

// update is inner's publish.
func (h *hosts) update(u discovery.Update) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.signal()
	if u.Err != nil {
		h.failure = u.Err
		return
	}
	h.set, h.failure, h.changed = &u, nil, true
	names := make(map[string]bool)
	for _, s := range u.Endpoints {
		name, _ := hostOf(s)
		if name == "" || names[name] || len(names) >= hostsMax {
			continue
		}
		names[name] = true
		if h.known[name] == nil {
			one := &host{name: name}
			one.ctx, one.end = context.WithCancel(context.Background())
			h.known[name] = one
			h.fresh, h.hurry = append(h.fresh, one), false
		}
	}
	for name, one := range h.known {
		if !names[name] {
			one.end()
			delete(h.known, name)
		}
	}
}

// answer is what the source of a name publishes.
func (h *hosts) answer(one *host, u discovery.Update) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one.heard, one.err, h.changed = true, u.Err, true
	if u.Err == nil {
		one.known, one.addrs = true, nil
		for _, s := range u.Endpoints {
			if ap, err := netip.ParseAddrPort(s.Address); err == nil {
				one.addrs = append(one.addrs, ap.Addr())
			}
		}
	}
	h.signal()
}

// adopt returns the names that nobody resolves yet.
func (h *hosts) adopt() []*host {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.fresh
	h.fresh = nil
	return out
}

func (h *hosts) impatient() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hurry = true
}

// take returns what there is to publish, in order.
func (h *hosts) take(last bool) (out []discovery.Update) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.set != nil && h.changed && (last || h.hurry || h.complete()) {
		out = append(out, h.addresses())
		h.changed = false
	}
	if h.failure != nil {
		out = append(out, discovery.Update{Err: h.failure})
		h.failure = nil
	}
	return out
}

// complete reports whether every name was heard of. Called with mu held.
func (h *hosts) complete() bool {
	for _, one := range h.known {
		if !one.heard {
			return false
		}
	}
	return true
}

// addresses is the set with addresses in place of names. Called with mu held.
func (h *hosts) addresses() discovery.Update {
	out := discovery.Update{Rejected: slices.Clone(h.set.Rejected)}
	out.Endpoints = make([]endpoint.Spec, 0, len(h.set.Endpoints))
	seen := make(map[endpoint.ID]bool, len(h.set.Endpoints))
	add := func(s endpoint.Spec) {
		if !seen[s.ID] {
			seen[s.ID] = true
			out.Endpoints = append(out.Endpoints, s)
		}
	}
	for _, s := range h.set.Endpoints {
		name, port := hostOf(s)
		one := h.known[name]
		switch {
		case name == "":
			add(s)
			continue
		case one == nil:
			out.Rejected = append(out.Rejected, discovery.Reject{ID: s.Address, Reason: errTooMany.Error()})
			continue
		case !one.known:
			out.Rejected = append(out.Rejected, discovery.Reject{ID: s.Address, Reason: "its host name is not resolved: " + one.why()})
			continue
		}
		s.Host = name
		if n := len(one.addrs); n > 1 {
			s.Weight = max(s.Weight, 0) / float64(n)
			if s.Weight == 0 {
				s.Weight = 1 / float64(n)
			}
		}
		for _, a := range one.addrs {
			s.Address = netip.AddrPortFrom(a, port).String()
			add(s)
		}
	}
	return out
}

// why says why a name is not known.
func (h *host) why() string {
	if h.err == nil {
		return "no name server has answered yet"
	}
	return h.err.Error()
}

// hostOf is the name in the address of a spec, as a resolver wants it, and the port; "" if
// there is none.
func hostOf(s endpoint.Spec) (name string, port uint16) {
	if _, err := netip.ParseAddrPort(s.Address); err == nil || strings.HasPrefix(s.Address, "unix:") {
		return "", 0
	}
	name, text, err := net.SplitHostPort(s.Address)
	n, bad := strconv.ParseUint(text, 10, 16)
	if err != nil || bad != nil || n == 0 || checkHost(name) != nil {
		return "", 0
	}
	return strings.ToLower(name), uint16(n)
}
