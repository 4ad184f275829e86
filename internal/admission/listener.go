package admission

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Client connections by listener. A connection comes and goes in these steps, which the one who
// accepts it calls:
//
//	Enter      there is room for one more; Cancel takes that back if none was there to accept
//	Welcome    accepted: its client may have one more, and it is counted
//	Leave      of the Guest that Welcome has returned: it is closed
//
// A connection costs a few atomic additions here, a request nothing. The counts belong to the
// name of a listener, so that one that is closed and opened again goes on from where it was.

// listenerKept is how long the counts of a listener are kept that nothing serves any more.
const listenerKept = 5 * time.Minute

// A Listener counts the client connections of one listener. Any goroutine may call its methods. A
// nil *Listener admits everything and counts nothing.
type Listener struct {
	control *Control
	name    string
	since   time.Duration // instant from which it counts
	anyone  Guest         // of clients that are not counted by address

	secure bool          // it has TLS; guarded by listeners.mu, as what follows
	served int           // Listen without Close
	until  time.Duration // instant at which it is forgotten

	proxies atomic.Pointer[[]netip.Prefix] // peers that say who their clients are; nil: none

	_          [64]byte // the counts below are written by all workers
	open       atomic.Int64
	accepted   atomic.Uint64
	refused    [Refusals]atomic.Uint64
	handshakes [Handshakes]atomic.Uint64
}

// A Guest is what a client connection counts as: one of its listener, and one of its client's
// address where these are limited.
type Guest struct {
	listener *Listener
	address  *address // nil: not counted
}

// A Refusal is why a connection was not accepted, or closed at once.
type Refusal uint8

const (
	PerClient   Refusal = iota // its client has as many as it may have: it is closed
	Full                       // there are as many as there may be: it waits to be accepted
	Descriptors                // the process can open no more files: it waits to be accepted

	Refusals = int(iota) // how many there are
)

// String is the value of the label cause.
func (r Refusal) String() string { return [...]string{"limit", "full", "emfile"}[r] }

// A Handshake is how a TLS handshake of a client ended.
type Handshake uint8

const (
	FullHandshake    Handshake = iota // with a certificate
	ResumedHandshake                  // with the session of an earlier one
	FailedHandshake                   // by an error of either side, or because it took too long
	RefusedHandshake                  // the client's certificate was not accepted, or there was none

	Handshakes = int(iota) // how many there are
)

// String is the value of the label result.
func (h Handshake) String() string { return [...]string{"full", "resumed", "failed", "refused"}[h] }

// Name is that of the listener in metrics.
func (l *Listener) Name() string { return l.name }

// Enter reports whether there may be one more client connection. If not, it is to wait where it
// is: in the queue of its listener. Cancel or Welcome must follow where it reports true.
func (l *Listener) Enter() bool {
	if l == nil || l.control.enter() {
		return true
	}
	l.refused[Full].Add(1)
	return false
}

// Cancel takes back Enter: no connection was there to be accepted.
func (l *Listener) Cancel() {
	if l != nil {
		l.control.clients.Add(-1)
	}
}

// Exhausted counts an accept that has failed for want of descriptors. Cancel is called beside it.
func (l *Listener) Exhausted() {
	if l != nil {
		l.refused[Descriptors].Add(1)
	}
}

// MakeRoom is called for a connection that waits.
func (l *Listener) MakeRoom() {
	if l != nil && l.control.Crowded != nil {
		l.control.Crowded()
	}
}

// Welcome counts a connection that was accepted after Enter. If it reports false its client has
// as many as it may have: it is to be closed, and Enter is taken back. remote may be invalid, as
// that of a unix socket is.
func (l *Listener) Welcome(remote netip.Addr) (*Guest, bool) {
	if l == nil {
		return nil, true
	}
	l.accepted.Add(1)
	guest, ok := l.guest(remote)
	if !ok {
		l.control.clients.Add(-1)
	}
	return guest, ok
}

// Behind says which peers say who their clients are, by a header in front of their connections.
// Those are not counted by the peer's address: see Guest.Move.
func (l *Listener) Behind(proxies []netip.Prefix) {
	if l != nil {
		l.proxies.Store(&proxies)
	}
}

// guest counts a connection at l and by its address.
func (l *Listener) guest(remote netip.Addr) (*Guest, bool) {
	if p := l.proxies.Load(); p != nil && slices.ContainsFunc(*p, func(p netip.Prefix) bool { return p.Contains(remote.Unmap()) }) {
		remote = netip.Addr{}
	}
	g, ok := l.by(remote)
	if ok {
		l.open.Add(1)
	}
	return g, ok
}

// by counts a connection by its address alone.
func (l *Listener) by(remote netip.Addr) (*Guest, bool) {
	a, ok := l.control.arrive(remote)
	switch {
	case !ok:
		l.refused[PerClient].Add(1)
		l.control.refused.Add(1)
		return nil, false
	case a == nil:
		return &l.anyone, true
	}
	return &Guest{l, a}, true
}

// Move counts the connection by the address of its client, which was not known before, and
// returns what it counts as from now on. If ok is false that client has as many connections as it
// may have: the connection is to be closed, and g to leave. A nil Guest is not counted.
func (g *Guest) Move(client netip.Addr) (now *Guest, ok bool) {
	if g == nil {
		return nil, true
	}
	if now, ok = g.listener.by(client); ok {
		g.listener.control.addresses.leave(g.address)
	}
	return now, ok
}

// Leave takes a connection off the counts, that of its listener last: what metrics no longer show
// takes no room any more. A nil Guest was not counted.
func (g *Guest) Leave() {
	if g == nil {
		return
	}
	g.listener.control.addresses.leave(g.address)
	g.listener.control.clients.Add(-1)
	g.listener.open.Add(-1)
}

// Handshake counts a TLS handshake.
func (l *Listener) Handshake(how Handshake) {
	if l != nil {
		l.handshakes[how].Add(1)
	}
}

// listeners are those that are served, or were until lately, by name.
type listeners struct {
	mu  sync.Mutex // held for a moment
	all map[string]*Listener
}

// Listen returns the counts of a listener that is served from now on; two of one name share
// them. secure: its connections begin with a TLS handshake. Close must follow.
func (c *Control) Listen(name string, secure bool, now time.Duration) *Listener {
	s := &c.listeners
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(now)
	l := s.all[name]
	if l == nil {
		l = &Listener{control: c, name: name, since: now}
		l.anyone.listener = l
		if s.all == nil {
			s.all = make(map[string]*Listener)
		}
		s.all[name] = l
	}
	l.served++
	l.secure = l.secure || secure
	return l
}

// Close says that it is not served any more. Its connections may live on.
func (l *Listener) Close(now time.Duration) {
	s := &l.control.listeners
	s.mu.Lock()
	defer s.mu.Unlock()
	l.served--
	l.until = now + listenerKept
}

// drop forgets listeners whose time is over. Called with mu held.
func (s *listeners) drop(now time.Duration) {
	for name, l := range s.all {
		if l.served == 0 && now >= l.until && l.open.Load() == 0 {
			delete(s.all, name)
		}
	}
}

// ListenerCounts are what a Listener has counted.
type ListenerCounts struct {
	Name       string
	Since      time.Duration // instant from which they count
	Secure     bool          // it has TLS
	Open       int64
	Accepted   uint64 // those included that were closed at once, because of PerClient
	Refused    [Refusals]uint64
	Handshakes [Handshakes]uint64
}

// Listeners are the counts of all listeners that are served, or were less than some minutes ago,
// by name.
func (c *Control) Listeners(now time.Duration) []ListenerCounts {
	s := &c.listeners
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(now)
	all := make([]ListenerCounts, 0, len(s.all))
	for name, l := range s.all {
		one := ListenerCounts{Name: name, Since: l.since, Secure: l.secure, Open: max(l.open.Load(), 0), Accepted: l.accepted.Load()}
		for i := range l.refused {
			one.Refused[i] = l.refused[i].Load()
		}
		for i := range l.handshakes {
			one.Handshakes[i] = l.handshakes[i].Load()
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b ListenerCounts) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
