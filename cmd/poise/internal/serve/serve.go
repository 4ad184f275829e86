// Package serve binds the addresses of a configuration and serves a Proxy on them. On a
// reload it opens what is new before it closes what is not wanted any more, and a
// listener that stays keeps its socket, so that no connection is refused in between.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/config"
)

// An Engine is what reads and writes the clients' side.
type Engine string

// The engines. Auto is the best there is on this system.
const (
	Auto Engine = "auto"
	Std  Engine = "std" // net/http; the others are those of package poise
)

// Engines are all words for an Engine on this system.
func Engines() []string {
	return append(append([]string{string(Auto)}, poise.Engines()...), string(Std))
}

// Resolve makes Auto the engine it stands for, and refuses unknown words.
func (e Engine) Resolve() (Engine, error) {
	if e == Auto || e == "" {
		return Engine(poise.Engines()[0]), nil
	}
	if words := Engines(); !slices.Contains(words, string(e)) {
		return "", fmt.Errorf("unknown engine %s, it is one of %s", e, strings.Join(words, ", "))
	}
	return e, nil
}

// Own is the engine for what is not served by net/http: see poise.Config.Engine.
func (e Engine) Own() string {
	if e == Std {
		return "goroutine"
	}
	return string(e)
}

// A Proxy is what a Server needs of *poise.Proxy.
type Proxy interface {
	http.Handler
	Serve(net.Listener) error
	TLSListener(net.Listener, config.TLS) (net.Listener, error)
	ProxyListener(net.Listener, config.ProxyProtocol) (net.Listener, error)
	ProtocolListener(l net.Listener, protocol string) (net.Listener, error)
	NamedListener(l net.Listener, name string) net.Listener
	Tickets(*tls.Config)
}

// A Server holds the listeners of one process. One goroutine at a time prepares a Change;
// Stop may be called meanwhile.
type Server struct {
	proxy  Proxy
	engine Engine
	log    *slog.Logger
	failed chan error
	// Given has listeners that are used before new ones are opened. It is set before Prepare.
	Given *sockets.Set
	tasks sync.WaitGroup

	mu      sync.Mutex           // held for some instructions: Prepare may hang, and Stop may not
	open    map[string]*listener // by the address in the configuration; replaced, never modified
	old     []*stdServer         // retired ones that may have connections
	stopped bool
}

// New returns a Server that listens nowhere yet. The engine is a resolved one.
func New(p Proxy, e Engine, log *slog.Logger) *Server {
	return &Server{proxy: p, engine: e, log: log, open: map[string]*listener{}, failed: make(chan error, 1)}
}

// Failed delivers the error of a listener that ended by itself.
func (s *Server) Failed() <-chan error { return s.failed }

func (s *Server) serve(l *listener) {
	var err error
	switch {
	case l.std != nil:
		err = l.std.serve(l.socket)
	case l.around != nil:
		err = s.proxy.Serve(l.around)
	default:
		err = s.proxy.Serve(l.socket)
	}
	if l.ended.Load() || errors.Is(err, poise.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return
	}
	select {
	case s.failed <- fmt.Errorf("listening on %s: %w", l.listen.Address, err):
	default: // one is enough to end the process
	}
}

// listeners are those in use, by the address in the configuration.
func (s *Server) listeners() map[string]*listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Sockets are the listeners in use, with their addresses in the configuration.
func (s *Server) Sockets() (all []sockets.Named) {
	for address, l := range s.listeners() {
		all = append(all, sockets.Named{Name: address, Listener: l.socket})
	}
	return all
}

// Stop stops accepting everywhere and waits, until ctx is done, for the connections that
// net/http serves; those of the own codec end with the Proxy's Close, which is next. A
// Change that is committed later serves nothing.
func (s *Server) Stop(ctx context.Context) {
	s.mu.Lock()
	open, all := s.open, s.old
	s.open, s.old, s.stopped = map[string]*listener{}, nil, true
	s.mu.Unlock()
	var group sync.WaitGroup
	for _, l := range open {
		l.ended.Store(true)
		group.Go(l.close)
		if l.std != nil {
			all = append(all, l.std)
		}
	}
	for _, std := range all {
		group.Go(func() { std.shut(ctx) })
	}
	group.Wait()
}

// Wait returns when nothing of the Server runs any more: after Stop and the Proxy's Close.
func (s *Server) Wait() { s.tasks.Wait() }

// URLs are the addresses that are served, in the order of listen, with the real ports.
func (s *Server) URLs(listen []config.Listen) []string {
	var urls []string
	open := s.listeners()
	for _, want := range listen {
		if l := open[want.Address]; l != nil {
			scheme := "http://"
			if strings.HasPrefix(want.Address, "unix:") {
				urls = append(urls, want.Address)
				continue
			}
			if want.TLS != nil {
				scheme = "https://"
			}
			urls = append(urls, scheme+l.socket.Addr().String())
		}
	}
	return urls
}
