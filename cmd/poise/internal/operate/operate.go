// Package operate serves the operator's side of a proxy: the admin API with its page, and the
// listener for probes and scrapers. Both follow the configuration. What a reload changes is opened
// before what it replaces is closed, and an address that stays keeps its socket:
//
//	the same configuration   nothing happens
//	the same address         the socket stays, connections too; requests get the new handler
//	the same, but other TLS  another listener on the same socket
//	another address          opened first; the old one is closed when all of the new set is there
package operate

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/config"
)

// A Server holds the two listeners. Its methods may be called by several goroutines.
type Server struct {
	proxy *poise.Proxy
	log   *slog.Logger
	// Options are those of the admin API which the configuration does not have: where that is
	// from, and what the program does for a client. They are set before Apply.
	Options admin.Options
	// Given has listeners that are used before new ones are opened. It is set before Apply.
	Given *sockets.Set

	mu            sync.Mutex // held while listeners are opened and closed
	admin, status *listener  // nil: there is none
	closed        bool
}

// New returns a Server that listens nowhere.
func New(p *poise.Proxy, log *slog.Logger) *Server { return &Server{proxy: p, log: log} }

// A listener is one part of the configuration and what was made of it.
type listener struct {
	config any // config.Admin or config.StatusListener
	*socket
	handler http.Handler
}

// A Change is a set of listeners that are open but not served yet. Exactly one of Commit and Cancel is
// called, before the next one is prepared.
type Change struct {
	server        *Server
	admin, status *listener
}

// Apply is Prepare and Commit.
func (s *Server) Apply(c *config.Config) error {
	ch, err := s.Prepare(c)
	if err == nil {
		ch.Commit()
	}
	return err
}

// Prepare opens what c wants and is not open yet. If an address cannot be opened the error says so,
// and nothing has changed.
func (s *Server) Prepare(c *config.Config) (ch *Change, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch = &Change{server: s, admin: s.admin, status: s.status}
	if s.closed {
		return ch, nil
	}
	ch.admin, err = s.prepare(s.admin, c.Admin, c.Admin.Address, c.Admin.TLS, sockets.Admin, func() http.Handler { return s.api(&c.Admin) })
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	ch.status, err = s.prepare(s.status, c.Status, c.Status.Address, nil, sockets.Status, func() http.Handler { return admin.Status(s.proxy) })
	if err != nil {
		ch.status = s.status
		ch.cancel()
		return nil, fmt.Errorf("status: %w", err)
	}
	return ch, nil
}

// Cancel closes what Prepare opened.
func (ch *Change) Cancel() {
	ch.server.mu.Lock()
	defer ch.server.mu.Unlock()
	ch.cancel()
}

// cancel is Cancel. Called with mu of the Server held.
func (ch *Change) cancel() {
	for _, change := range ch.steps() {
		if now := change.now; now != nil && (change.old == nil || now.socket != change.old.socket) {
			now.plain.Close() // nothing was served there
			now.net.Close()
		}
	}
}

// A step is what is done to one of the two listeners; nil: there is none.
type step struct{ old, now *listener }

func (ch *Change) steps() [2]step {
	return [...]step{{ch.server.admin, ch.admin}, {ch.server.status, ch.status}}
}

// prepare returns the listener for a part of the configuration: old if that is the same, nil if the
// address is empty. It changes nothing that is in use.
func (s *Server) prepare(old *listener, conf any, address string, t *config.TLS, name func(string) string, handler func() http.Handler) (*listener, error) {
	if old != nil && reflect.DeepEqual(old.config, conf) {
		return old, nil
	}
	if address == "" {
		return nil, nil
	}
	var was *socket
	if old != nil && old.address == address {
		was = old.socket
	}
	if was != nil && reflect.DeepEqual(was.tls, t) {
		return &listener{conf, was, handler()}, nil
	}
	given := s.Given.Take(name(address))
	k, err := open(address, was, given)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w%s", address, sockets.Reason(err), s.holder(address))
	}
	if err := k.secure(s.proxy, t); err != nil {
		k.plain.Close()
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	k.server = s.newHTTP(k)
	return &listener{conf, k, handler()}, nil
}

// Commit serves what is new, and closes what is not wanted any more.
func (ch *Change) Commit() {
	s := ch.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		ch.cancel()
		return
	}
	for _, change := range ch.steps() {
		old, now := change.old, change.now
		if old == now {
			continue
		}
		if old != nil && (now == nil || now.socket != old.socket) {
			if now != nil && now.address == old.address {
				sockets.Keep(old.plain) // it is shared: its path stays
			}
			old.close()
		}
		if now != nil && now.answer(now.handler) {
			go s.serve(now.socket)
		}
	}
	s.admin, s.status = ch.admin, ch.status
}

// holder says for a message which listener of this Server has the port of an address.
func (s *Server) holder(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return ""
	}
	for _, l := range []*listener{s.admin, s.status} {
		if l == nil {
			continue
		}
		if _, taken, err := net.SplitHostPort(l.address); err == nil && taken == port {
			return fmt.Sprintf("; %s holds the port until a restart or an upgrade", l.address)
		}
	}
	return ""
}

// api is the admin API of a configuration.
func (s *Server) api(c *config.Admin) http.Handler {
	o := s.Options
	o.Profiles = c.Profiles
	o.Hosts = append(o.Hosts[:len(o.Hosts):len(o.Hosts)], c.Hosts...)
	if host, _, err := net.SplitHostPort(c.Address); err == nil && host != "" {
		o.Hosts = append(o.Hosts, host)
	}
	for _, t := range c.Tokens {
		o.Tokens = append(o.Tokens, admin.Token{Name: t.Name, Secret: t.Token, Role: admin.Role(t.Role)})
	}
	return admin.Handler(s.proxy, o)
}

// Sockets are the listeners in use, with their addresses in the configuration.
func (s *Server) Sockets() (all []sockets.Named) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin != nil {
		all = append(all, sockets.Named{Name: sockets.Admin(s.admin.address), Listener: s.admin.plain})
	}
	if s.status != nil {
		all = append(all, sockets.Named{Name: sockets.Status(s.status.address), Listener: s.status.plain})
	}
	return all
}

// Retire stops accepting and does not wait: streams end, and a request under way may end within a
// second.
func (s *Server) Retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, l := range []*listener{s.admin, s.status} {
		if l != nil {
			l.close()
		}
	}
}

// Close is Retire, and waits until nothing is under way: about a second at most.
func (s *Server) Close() {
	s.Retire()
	late := time.After(2 * graceFor)                   // the watch of certificates may be at a disk that hangs
	for _, l := range []*listener{s.admin, s.status} { // nothing replaces them any more
		if l == nil {
			continue
		}
		select {
		case <-l.ended:
		case <-late:
			return
		}
	}
}

// URL is where the admin API is, "" if it is nowhere.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin == nil {
		return ""
	}
	return s.admin.url()
}
