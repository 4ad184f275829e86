// Package operate serves the operator's side of a proxy: the admin API with its page, and the
// listener for probes and scrapers. Both follow the configuration: what a reload changes is opened
// before what it replaces is closed.
package operate

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/config"
)

// A Server holds the two listeners. Its methods may be called by several goroutines.
type Server struct {
	proxy  *poise.Proxy
	log    *slog.Logger
	origin string
	place  func(path string) string
	// Put puts a configuration in force that came over the API. It is set before Apply.
	Put func(config.Config) error
	// Given has listeners that are used before new ones are opened. It is set before Apply.
	Given *sockets.Set

	mu            sync.Mutex // held while listeners are opened and closed
	admin, status *listener  // nil: there is none
	closed        bool
}

// New returns a Server that listens nowhere. origin and place say where the configuration and its
// values are from: see admin.Options.
func New(p *poise.Proxy, log *slog.Logger, origin string, place func(path string) string) *Server {
	return &Server{proxy: p, log: log, origin: origin, place: place}
}

// a listener is one address with its server.
type listener struct {
	config any // the part of the configuration that it was made of
	net    net.Listener
	plain  net.Listener // what is below TLS
	server *http.Server
	socket string // path of a unix socket, which is removed at the end
}

// Apply opens what c wants and is not open yet, and closes what it does not want. If an address
// cannot be opened the error says so, and what was open stays.
func (s *Server) Apply(c *config.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	api, err := s.replace(s.admin, c.Admin, c.Admin.Address, c.Admin.TLS, s.Given.Take(sockets.Admin(c.Admin.Address)), func() http.Handler { return s.handler(&c.Admin) })
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	status, err := s.replace(s.status, c.Status, c.Status.Address, nil, s.Given.Take(sockets.Status(c.Status.Address)), func() http.Handler { return admin.Status(s.proxy) })
	if err != nil {
		if api != s.admin {
			api.close()
		}
		return fmt.Errorf("status: %w", err)
	}
	for _, change := range []struct{ old, now *listener }{{s.admin, api}, {s.status, status}} {
		if change.old != change.now {
			change.old.close()
			s.serve(change.now)
		}
	}
	s.admin, s.status = api, status
	return nil
}

// handler is the admin API of a configuration.
func (s *Server) handler(c *config.Admin) http.Handler {
	o := admin.Options{Hosts: c.Hosts, Profiles: c.Profiles, Origin: s.origin, Place: s.place, Apply: s.Put}
	if host, _, err := net.SplitHostPort(c.Address); err == nil && host != "" {
		o.Hosts = append(o.Hosts[:len(o.Hosts):len(o.Hosts)], host)
	}
	for _, t := range c.Tokens {
		o.Tokens = append(o.Tokens, admin.Token{Name: t.Name, Secret: t.Token, Role: admin.Role(t.Role)})
	}
	return admin.Handler(s.proxy, o)
}

// replace returns the listener for an address: old if its configuration is the same, nil if the
// address is empty.
func (s *Server) replace(old *listener, conf any, address string, t *config.TLS, given net.Listener, handler func() http.Handler) (*listener, error) {
	if old != nil && reflect.DeepEqual(old.config, conf) {
		return old, nil
	}
	if address == "" {
		return nil, nil
	}
	l := &listener{config: conf}
	var err error
	if l.net, err = l.open(address, old, given); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", address, sockets.Reason(err))
	}
	l.plain = l.net
	if t != nil {
		secure, err := s.proxy.TLSListener(l.net, *t)
		if err != nil {
			l.net.Close()
			return nil, err
		}
		l.net = secure
	}
	l.server = &http.Server{
		Handler: handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return l, nil
}

// open listens on an address, unless given does. One that the old listener has is shared with it.
func (l *listener) open(address string, old *listener, given net.Listener) (net.Listener, error) {
	socket, isUnix := strings.CutPrefix(address, "unix:")
	if given != nil {
		if isUnix {
			l.socket = socket
		}
		return given, nil
	}
	if !isUnix {
		made, err := net.Listen("tcp", address)
		if err == nil || old == nil {
			return made, err
		}
		old.close() // the same port with other settings: there is a moment without
		return net.Listen("tcp", address)
	}
	if old != nil {
		old.close()
	}
	if err := removeStale(socket); err != nil {
		return nil, err
	}
	made, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	l.socket = socket
	if err := os.Chmod(socket, 0o660); err != nil {
		made.Close()
		return nil, err
	}
	return made, nil
}

// removeStale removes a socket that nothing listens on any more: what a process left that was
// killed. Anything else at the path stays, and listening fails.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return errors.Join(err, fmt.Errorf("%s is there and is no socket", path))
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	return os.Remove(path)
}

func (s *Server) serve(l *listener) {
	if l == nil {
		return
	}
	go func() {
		if err := l.server.Serve(l.net); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.Error("the operator's listener ended", "address", l.net.Addr().String(), "error", err)
		}
	}()
}

func (l *listener) close() {
	if l == nil {
		return
	}
	l.net.Close()
	l.server.Close() // streams of the page last for ever: they are broken off
}

// Sockets are the listeners in use, with their addresses in the configuration.
func (s *Server) Sockets() (all []sockets.Named) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin != nil {
		all = append(all, sockets.Named{Name: sockets.Admin(s.admin.config.(config.Admin).Address), Listener: s.admin.plain})
	}
	if s.status != nil {
		all = append(all, sockets.Named{Name: sockets.Status(s.status.config.(config.StatusListener).Address), Listener: s.status.plain})
	}
	return all
}

// Close closes both listeners.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.admin.close()
	s.status.close()
}

// URL is where the admin API is, "" if it is nowhere.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin == nil {
		return ""
	}
	if s.admin.socket != "" {
		return "unix:" + s.admin.socket
	}
	scheme := "http://"
	if s.admin.config.(config.Admin).TLS != nil {
		scheme = "https://"
	}
	return scheme + s.admin.net.Addr().String()
}
