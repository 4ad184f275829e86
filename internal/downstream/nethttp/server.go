package nethttp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
)

// A Server serves connections that have agreed on HTTP/2, by net/http. What bounds a
// connection is fixed when an http.Server starts, so a change of the settings starts another
// one: the connections of the old one are asked to end (GOAWAY, RFC 9113 §6.8), and their
// clients come back to the new one without losing a request. Its methods may be called from
// any goroutine.
type Server struct {
	Handler http.Handler // answers the requests
	// Ended is called once for each connection that Serve has taken over, when it has ended.
	// Nil: nothing is. It is set before the first Serve.
	Ended    func(net.Conn)
	log      *slog.Logger
	settings func() *downstream.Settings

	mu      sync.Mutex
	current *generation              // nil before the first connection, and when closed
	all     map[*generation]struct{} // those that have not ended
	closed  bool
	done    chan struct{} // closed is set
	running sync.WaitGroup
}

// streamsMax is how many requests a client may have under way on one connection: as many
// as browsers and nginx take for usual. A client that wants more opens another connection.
const streamsMax = 128

// NewServer returns a Server of requests for h. settings returns those in force; log gets
// what clients do wrong, at level debug.
func NewServer(h http.Handler, settings func() *downstream.Settings, log *slog.Logger) *Server {
	return &Server{Handler: h, settings: settings, log: log, all: make(map[*generation]struct{}), done: make(chan struct{})}
}

// A generation is an http.Server with the settings it was started with.
type generation struct {
	http   http.Server
	bounds bounds
	handed *handedOver
}

// bounds are the settings that net/http takes at the start of a server.
type bounds struct {
	head, idle, stall time.Duration
	headBytes         int
}

// pingMin keeps a very short head timeout from making connections busy with pings.
const pingMin = time.Second

// perField is what the size of a field counts in HTTP/2 beside its name and value
// (RFC 9113 §6.5.2).
const perField = 32

func boundsOf(t *downstream.Settings) bounds {
	// Fields up to twice the limit are read and refused with a reason. What is longer
	// net/http refuses itself, by a bare 431.
	return bounds{t.Head, t.Idle, t.Stall, 2*t.Limits.Bytes + perField*t.Limits.Fields}
}

// Limit has s, which was not started yet, held to settings as far as net/http can do that:
// idle, head and the size of heads for connections, and stall for connections of HTTP/2 that take no byte. A connection of HTTP/2
// that sends no frame for the head timeout, be it in the middle of a head, is asked whether
// it is alive, and closed if it does not answer for as long.
func Limit(s *http.Server, t *downstream.Settings) { boundsOf(t).limit(s) }

func (b bounds) limit(s *http.Server) {
	s.ReadHeaderTimeout, s.IdleTimeout, s.MaxHeaderBytes = b.head, b.idle, b.headBytes
	ping := max(b.head, pingMin)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: streamsMax,
		SendPingTimeout:      ping,
		PingTimeout:          ping,
		WriteByteTimeout:     b.stall,
	}
}

// Run returns when the Server was shut down or closed, and everything it started has ended.
func (s *Server) Run() {
	<-s.done
	s.running.Wait()
}

// Serve takes over a connection, and closes it when it has ended. If it reports false the
// Server is closed, and so is the connection.
func (s *Server) Serve(conn net.Conn) bool {
	for {
		g := s.generation()
		if g == nil {
			conn.Close()
			return false
		}
		if g.handed.give(conn) {
			return true
		}
	}
}

// generation is the one that takes new connections; nil: the Server is closed.
func (s *Server) generation() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if b := boundsOf(s.settings()); s.current == nil || s.current.bounds != b {
		s.retire()
		s.start(b)
	}
	return s.current
}

// Configure looks whether the settings have changed, and if so has the connections end.
func (s *Server) Configure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.bounds != boundsOf(s.settings()) {
		s.retire()
	}
}

// start is called with mu held.
func (s *Server) start(b bounds) {
	g := &generation{bounds: b, handed: newHandedOver()}
	g.http.Handler = s.Handler
	g.http.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	b.limit(&g.http)
	g.http.ConnState = func(c net.Conn, state http.ConnState) {
		if s.Ended != nil && (state == http.StateClosed || state == http.StateHijacked) {
			s.Ended(c)
		}
	}
	s.current = g
	s.all[g] = struct{}{}
	s.running.Go(func() { g.http.Serve(g.handed) })
}

// retire is called with mu held.
func (s *Server) retire() {
	g := s.current
	if g == nil {
		return
	}
	s.current = nil
	g.handed.Close()
	s.running.Go(func() {
		g.http.Shutdown(context.Background()) // ends at the latest by Close
		s.mu.Lock()
		delete(s.all, g)
		s.mu.Unlock()
	})
}

// Shutdown takes no further connections, and waits for those that are open until ctx is
// done, whose error it then returns: Close is to follow.
func (s *Server) Shutdown(ctx context.Context) error {
	generations := s.end()
	errs := make([]error, len(generations))
	var all sync.WaitGroup
	for i, g := range generations {
		all.Go(func() { errs[i] = g.http.Shutdown(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Close ends all connections.
func (s *Server) Close() {
	for _, g := range s.end() {
		g.http.Close()
	}
}

// end closes the Server for new connections and returns what is still to end.
func (s *Server) end() []*generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		close(s.done)
	}
	s.closed, s.current = true, nil
	var all []*generation
	for g := range s.all {
		g.handed.Close()
		all = append(all, g)
	}
	return all
}

// handedOver is the listener from which net/http accepts the connections.
type handedOver struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandedOver() *handedOver {
	return &handedOver{conns: make(chan net.Conn), done: make(chan struct{})}
}

// give reports whether c was accepted; if not, the listener is closed.
func (h *handedOver) give(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

// Accept implements net.Listener.
func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handedOver) Addr() net.Addr { return &net.TCPAddr{} }
