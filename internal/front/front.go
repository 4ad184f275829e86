// Package front runs a proxy: it joins core, which knows requests and services, with what
// surrounds it in a process. That is listeners, TLS, the engines that serve connections,
// the log, files that are followed, and the end of all of them. The root package is its
// face.
//
// A connection takes one of three ways:
//
//	Serve, event loops    on Linux, for TCP and unix listeners
//	Serve, goroutines     for every other listener
//	ServeHTTP             net/http's server of the embedder
//
// Connections that come by Serve speak HTTP/1.1, or HTTP/2 if they have agreed on that in the TLS
// handshake: internal/downstream has both.
package front

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/accesslog"
	"github.com/poise-lb/poise/internal/asynclog"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/downstream/nethttp"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/internal/sources"
	"github.com/poise-lb/poise/internal/spans"
	"github.com/poise-lb/poise/internal/tickets"
)

// ErrClosed is what Serve, Apply and Ready return after Close.
var ErrClosed = errors.New("poise: proxy is closed")

// ErrDraining is what Ready returns between Drain and the end of its delay.
var ErrDraining = errors.New("poise: proxy is draining")

// A Server runs a proxy. What its methods promise is said at those of poise.Proxy, which
// have the same names.
type Server struct {
	rt      *goroutine.Runtime
	core    *core.Proxy
	handler nethttp.Handler // for ServeHTTP
	log     *slog.Logger
	queue   *asynclog.Handler // behind log, if New has made it; else nil
	access  *accesslog.Log
	spans   *spans.Spans
	events  chronicle
	sources sources.Set
	files   *followed
	tickets *tickets.Ring

	serving        sync.WaitGroup       // connections and listeners
	loops          *loops               // nil: goroutines only
	protocols      sync.Once            // sets http1 and http2, for Serve: a program that only mounts has no HTTP/2 of ours
	http1          *downstream.Protocol // without TLS: or HTTP/2, by prior knowledge
	http2          *downstream.Protocol
	handshakes     context.Context // of TLS handshakes under way
	stopHandshakes context.CancelFunc
	entering       atomic.Int64 // connections that were accepted and are not core's yet

	done      chan struct{} // closed when nothing is accepted any more
	mu        sync.Mutex    // held for some instructions
	closed    bool          // as done
	listeners map[net.Listener]struct{}
	closing   closing
}

// New checks the configuration and starts a Server without listeners.
func New(c config.Config) (*Server, error) {
	if err := checkEngine(c.Engine, c.Workers); err != nil {
		return nil, err
	}
	srv := &Server{rt: goroutine.New(), done: make(chan struct{}), listeners: make(map[net.Listener]struct{})}
	srv.closing.init()
	srv.handshakes, srv.stopHandshakes = context.WithCancel(context.Background())
	srv.openLog(c.Logger)
	log := srv.log
	srv.rt.Log = log
	srv.sources.Log, srv.sources.Kinds = log, c.Sources
	srv.access = accesslog.New(log)
	srv.spans = spans.New(c.Spans, log)
	srv.files = newFollowed(srv.reread)
	o := core.Options{
		Saved:  srv.takeOverFrom(c.Handover),
		Logger: log, Sink: srv.access.Open, Spans: srv.spans.Open, Feed: srv.feed, Start: srv.sources.Start, Files: srv.files.watcher.Follow, Descriptors: openFiles(),
		Observers: []event.Observer{&srv.events},
	}
	if c.Engine != engineGoroutine {
		if srv.loops = newLoops(srv.rt.Epoch(), c.Workers, log); srv.loops != nil {
			o.Workers = srv.loops
		}
	}
	var err error
	srv.core, err = core.New(srv.rt, c, o)
	if err != nil {
		srv.abandon()
		return nil, err
	}
	srv.files.start()
	srv.handler = nethttp.Handler{Core: srv.core, Runtime: srv.rt}
	return srv, nil
}

// openLog puts a queue in front of the logger; nil stands for slog.Default().
func (srv *Server) openLog(log *slog.Logger) {
	if log == nil {
		log = slog.Default()
	}
	if srv.log = log; asynclog.Is(log.Handler()) {
		return // its owner closes it
	}
	srv.queue = asynclog.New(asynclog.Calm(log.Handler()))
	srv.log = slog.New(srv.queue)
}

// feed says where a service's endpoints come from.
func (srv *Server) feed(path string, s config.Service) (core.Feed, error) {
	static, source, err := srv.sources.Of(path, s)
	return core.Feed{Static: static, Source: source}, err
}

// ServeHTTP answers one request that net/http has read.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { srv.handler.ServeHTTP(w, r) }

// Apply replaces the configuration.
func (srv *Server) Apply(c config.Config) error {
	err := srv.core.Apply(c)
	if errors.Is(err, engine.ErrStopping) {
		return ErrClosed
	}
	return err
}

// Ready waits for the first verdict on every endpoint that is probed.
func (srv *Server) Ready(ctx context.Context) error {
	for {
		switch {
		case srv.isClosed():
			return ErrClosed
		case srv.core.Draining():
			return ErrDraining
		case srv.core.AwaitReady(srv.rt.Now() + 50*time.Millisecond):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// Core is the proxy that is run, for its status.
func (srv *Server) Core() *core.Proxy { return srv.core }

// ReopenLogs has the file of the access log opened again.
func (srv *Server) ReopenLogs() { srv.access.Reopen() }

// AccessLogLost counts the lines of the access log that were lost.
func (srv *Server) AccessLogLost() uint64 { return srv.access.Lost() }
