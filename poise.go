package poise

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/engine/std"
	"github.com/poise-lb/poise/internal/sources"
)

// ErrClosed is what Serve returns after Close.
var ErrClosed = errors.New("poise: proxy is closed")

// A Proxy balances requests over the endpoints of services. All methods may be called
// from any goroutine. Close ends every goroutine it has started.
type Proxy struct {
	rt      *goroutine.Runtime
	core    *core.Proxy
	handler std.Handler
	log     *slog.Logger
	access  *accessLog
	sources sources.Set

	serving sync.WaitGroup // connections and listeners
	loops   *loops         // nil: goroutines only
	h2      http.Server    // for connections that have agreed on HTTP/2
	handed  *handedOver    // where it takes them from

	done      chan struct{} // closed by Close
	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
}

// New checks the configuration and starts a Proxy; what Listen lists is not opened: that
// is the caller's, with Serve and ServeTLS, or by mounting the Proxy as a handler.
//
// If the configuration has mistakes the error names all of them and has a method
// Problems() []config.Problem.
func New(c Config) (*Proxy, error) {
	log := c.Logger
	if log == nil {
		log = slog.Default()
	}
	log = calm(log)
	if err := checkEngine(c.Engine, c.Workers); err != nil {
		return nil, err
	}
	p := &Proxy{
		rt: goroutine.New(), log: log, sources: sources.Set{Log: log},
		done: make(chan struct{}), listeners: make(map[net.Listener]struct{}),
	}
	p.rt.Log = log
	p.access = newAccessLog(log)
	o := core.Options{Logger: log, Sink: p.access.open, Feed: p.feed, Start: start}
	if c.Engine != engineGoroutine {
		if p.loops = newLoops(p.rt.Epoch(), c.Workers, log); p.loops != nil {
			o.Workers = p.loops
		}
	}
	var err error
	p.core, err = core.New(p.rt, c, o)
	if err != nil {
		p.access.close()
		p.rt.Close()
		return nil, err
	}
	p.handler = std.Handler{Core: p.core, Runtime: p.rt}
	p.handed = newHandedOver()
	p.h2.Handler = p
	p.h2.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	p.serving.Go(func() { p.h2.Serve(p.handed) })
	return p, nil
}

// ServeHTTP answers one request that net/http has read. It panics with
// http.ErrAbortHandler when a response cannot be completed, as net/http wants it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Apply replaces the configuration. Requests under way end under the one they began with;
// endpoints that are still named keep their state and connections. If c has mistakes the
// error is as New's and nothing changes. Listen is not looked at.
func (p *Proxy) Apply(c Config) error { return p.core.Apply(c) }

// Ready waits until every endpoint that is probed has had its first verdict, or ctx is
// done, and then returns ctx's error. Requests before that wait a little by themselves.
func (p *Proxy) Ready(ctx context.Context) error {
	for !p.core.AwaitReady(p.rt.Now() + 50*time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Close takes no further requests, waits for those under way until ctx is done, breaks
// off what is left, and ends everything the Proxy has started. It returns ctx's error if
// something had to be broken off. Calls after the first return nil at once.
func (p *Proxy) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	close(p.done)
	for l := range p.listeners {
		l.Close()
	}
	p.mu.Unlock()

	defer context.AfterFunc(ctx, p.core.Hurry)()
	h2 := make(chan struct{})
	go func() {
		defer close(h2)
		if p.h2.Shutdown(ctx) != nil {
			p.h2.Close()
		}
	}()
	drained := p.core.Close()
	<-h2
	p.serving.Wait()
	p.loops.close()
	p.rt.Close()
	p.access.close()
	if !drained {
		return ctx.Err()
	}
	return nil
}
