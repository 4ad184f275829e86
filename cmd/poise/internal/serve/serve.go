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
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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

// A listener is one bound address and what serves it.
type listener struct {
	listen config.Listen
	times  times
	socket *net.TCPListener
	secure net.Listener // socket with TLS terminated; nil without, and with std
	std    *stdServer   // nil with the own codec
	ended  atomic.Bool
}

// times are the settings that net/http takes only at the start of a server.
type times struct{ head, idle, stall time.Duration }

// A Change is a set of listeners that are bound but not served yet. Exactly one of
// Commit and Cancel is called.
type Change struct {
	server  *Server
	next    map[string]*listener
	started []*listener // of next: new ones, to be served
	stopped []*listener // of the server: not in next
}

// Prepare binds what c wants and is not open yet, and looks certificates over. If it
// fails, the error names the address and nothing has changed.
func (s *Server) Prepare(c config.Config) (*Change, error) {
	ch := &Change{server: s, next: map[string]*listener{}}
	open := s.listeners()
	for _, want := range c.Listen {
		t := times{c.Timeouts.Head, c.Timeouts.Idle, c.Timeouts.Stall}
		old := open[want.Address]
		if old != nil && reflect.DeepEqual(old.listen.TLS, want.TLS) && (s.engine != Std || old.times == t) {
			ch.next[want.Address] = old
			continue
		}
		l, err := s.bind(want, t, old)
		if err != nil {
			ch.Cancel()
			return nil, err
		}
		ch.next[want.Address] = l
		ch.started = append(ch.started, l)
	}
	for address, l := range open {
		if ch.next[address] != l {
			ch.stopped = append(ch.stopped, l)
		}
	}
	return ch, nil
}

// bind opens a new listener. Where there is an old one for the same address it shares
// its socket: connections in the queue are accepted by the one or the other.
func (s *Server) bind(want config.Listen, t times, old *listener) (_ *listener, err error) {
	l := &listener{listen: want, times: t}
	if old != nil {
		l.socket, err = share(old.socket)
	} else {
		l.socket, err = s.listen(want.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", want.Address, sockets.Reason(err))
	}
	if s.engine == Std {
		l.std, err = newStd(s.proxy, want.TLS, t, s.log)
	} else if want.TLS != nil {
		l.secure, err = s.proxy.TLSListener(l.socket, *want.TLS)
	}
	if err != nil {
		l.socket.Close()
		return nil, fmt.Errorf("cannot listen on %s: %w", want.Address, err)
	}
	return l, nil
}

func (s *Server) listen(address string) (*net.TCPListener, error) {
	l := s.Given.Take(address)
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", address); err != nil {
			return nil, err
		}
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("the socket that was passed to this process is a %s, not TCP", l.Addr().Network())
	}
	return tcp, nil
}

func share(l *net.TCPListener) (*net.TCPListener, error) {
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	again, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return again.(*net.TCPListener), nil
}

// Cancel closes what Prepare bound.
func (ch *Change) Cancel() {
	for _, l := range ch.started {
		l.close()
	}
}

// close accepts no more.
func (l *listener) close() {
	if l.secure != nil {
		l.secure.Close()
		return
	}
	l.socket.Close()
}

// Commit serves what is new and stops accepting on what is not wanted any more.
// Connections that are open there live on until their exchange ends.
func (ch *Change) Commit() {
	s := ch.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		ch.Cancel()
		return
	}
	for _, l := range ch.started {
		s.tasks.Go(func() { s.serve(l) })
	}
	for _, l := range ch.stopped {
		l.ended.Store(true)
		if l.secure != nil {
			go l.close() // the watch of its certificates may be at a disk that hangs
		} else {
			l.close()
		}
		if l.std != nil {
			l.std.retired.Store(true)
			s.old = append(s.old, l.std)
		}
	}
	s.open = ch.next
	// Once served is set nothing is accepted any more and every connection is counted.
	s.old = slices.DeleteFunc(s.old, func(o *stdServer) bool { return o.served.Load() && o.open.Load() == 0 })
}

func (s *Server) serve(l *listener) {
	var err error
	switch {
	case l.std != nil:
		err = l.std.serve(l.socket)
	case l.secure != nil:
		err = s.proxy.Serve(l.secure)
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
			if want.TLS != nil {
				scheme = "https://"
			}
			urls = append(urls, scheme+l.socket.Addr().String())
		}
	}
	return urls
}

func minVersion(t config.TLS) uint16 {
	if t.MinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}
