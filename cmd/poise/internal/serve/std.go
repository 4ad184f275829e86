package serve

// The std engine of the command: net/http in front of the proxy.

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/certs"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/downstream/nethttp"
)

// A stdServer is net/http in front of the Proxy on one listener.
type stdServer struct {
	http    *http.Server
	retired atomic.Bool  // its listener is served by another, or not any more
	served  atomic.Bool  // accepts no more
	open    atomic.Int64 // connections

	certs  *certs.Store // nil without TLS
	log    *slog.Logger
	cancel context.CancelFunc
	ctx    context.Context // ends the watching of certificates
}

func newStd(p Proxy, t *config.TLS, bounds times, log *slog.Logger) (*stdServer, error) {
	s := &stdServer{log: log}
	s.http = &http.Server{
		Handler:   s.handler(p),
		ConnState: s.count,
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients' mistakes
	}
	nethttp.Limit(s.http, &downstream.Settings{Head: bounds.head, Idle: bounds.idle, Stall: bounds.stall})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if t == nil {
		return s, nil
	}
	store, err := certs.Open(*t)
	if err != nil {
		return nil, err
	}
	s.certs = store
	s.http.TLSConfig = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	p.Tickets(s.http.TLSConfig)
	store.Secure(s.http.TLSConfig)
	return s, nil
}

// handler is p, which after retirement ends connections with the response: Shutdown would
// drop requests that have just arrived, and idle connections that are just being used.
func (s *stdServer) handler(p http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.retired.Load() {
			w.Header().Set("Connection", "close") // in HTTP/2 this is GOAWAY
		}
		p.ServeHTTP(w, r)
	})
}

func (s *stdServer) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

// serve returns when the listener is closed or the server is shut.
func (s *stdServer) serve(l net.Listener) error {
	defer s.served.Store(true)
	defer s.cancel()
	if s.certs == nil {
		return s.http.Serve(l)
	}
	for _, w := range s.certs.Warnings(time.Now()) {
		s.log.Warn("certificate", "problem", w)
	}
	watched := make(chan struct{})
	go func() { // ends with serve
		defer close(watched)
		s.certs.Watch(s.ctx, s.reloaded)
	}()
	err := s.http.ServeTLS(l, "", "") // offers h2 by ALPN
	s.cancel()
	<-watched
	return err
}

func (s *stdServer) reloaded(err error) {
	if err != nil {
		s.log.Error("certificates stay as they are", "error", err)
		return
	}
	s.log.Info("certificates reloaded")
	for _, w := range s.certs.Warnings(time.Now()) {
		s.log.Warn("certificate", "problem", w)
	}
}

// idleGrace is how long idle connections are kept when a server is shut: a client that asks
// meanwhile is answered, and learns that it was the last time. Shutdown closes them at once.
const idleGrace = 200 * time.Millisecond

// shut lets open exchanges end, until ctx is done. Its listener is closed already.
func (s *stdServer) shut(ctx context.Context) {
	s.retired.Store(true)
	for end := time.Now().Add(idleGrace); s.open.Load() > 0 && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(5 * time.Millisecond)
	}
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}
