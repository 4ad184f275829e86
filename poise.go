package poise

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/accesslog"
	"github.com/poise-lb/poise/internal/asynclog"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream/nethttp"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/sources"
)

// ErrClosed is what Serve, Apply and Ready return after Close.
var ErrClosed = errors.New("poise: proxy is closed")

// ErrDraining is what Ready returns between Drain and the end of its delay.
var ErrDraining = errors.New("poise: proxy is draining")

// A Proxy balances requests over the endpoints of services. All methods may be called
// from any goroutine. Close ends every goroutine it has started.
type Proxy struct {
	rt      *goroutine.Runtime
	core    *core.Proxy
	handler nethttp.Handler // for ServeHTTP
	log     *slog.Logger
	queue   *asynclog.Handler // behind log, if New has made it; else nil
	access  *accesslog.Log
	sources sources.Set
	files   *followed
	strays  atomic.Int64 // sources that were asked to end and have not

	serving sync.WaitGroup  // connections and listeners
	loops   *loops          // nil: goroutines only
	h2      *nethttp.Server // for connections that have agreed on HTTP/2
	guests  sync.Map        // of those connections: *admission.Guest by net.Conn
	shaking context.Context
	unshake context.CancelFunc // breaks off TLS handshakes

	done      chan struct{} // closed when nothing is accepted any more
	mu        sync.Mutex    // held for some instructions
	closed    bool          // as done
	listeners map[net.Listener]struct{}
	closing   closing
}

// New checks the configuration and starts a Proxy; what Listen lists is not opened: that
// is the caller's, with Serve and ServeTLS, or by mounting the Proxy as a handler.
//
// If the configuration has mistakes the error names all of them and has a method
// Problems() []config.Problem.
//
// Nothing in the Proxy waits for Config.Logger: records go to its handler from a goroutine
// of their own, by way of a bounded queue, and what does not fit is dropped and counted.
func New(c Config) (*Proxy, error) {
	if err := checkEngine(c.Engine, c.Workers); err != nil {
		return nil, err
	}
	p := &Proxy{rt: goroutine.New(), done: make(chan struct{}), listeners: make(map[net.Listener]struct{})}
	p.closing.init()
	p.shaking, p.unshake = context.WithCancel(context.Background())
	p.openLog(c.Logger)
	log := p.log
	p.rt.Log = log
	p.sources = sources.Set{Log: log, Kinds: c.Sources}
	p.access = accesslog.New(log)
	p.files = newFollowed(p.reread)
	o := core.Options{Logger: log, Sink: p.access.Open, Feed: p.feed, Start: p.start, Files: p.files.watcher.Follow, Descriptors: openFiles()}
	if c.Engine != engineGoroutine {
		if p.loops = newLoops(p.rt.Epoch(), c.Workers, log); p.loops != nil {
			o.Workers = p.loops
		}
	}
	var err error
	p.core, err = core.New(p.rt, c, o)
	if err != nil {
		p.abandon()
		return nil, err
	}
	p.files.start()
	p.handler = nethttp.Handler{Core: p.core, Runtime: p.rt}
	p.h2 = nethttp.NewServer(&nethttp.Handler{Core: p.core, Runtime: p.rt, Ours: true}, p.core.ClientSettings, log)
	p.h2.Ended = p.leftH2
	p.serving.Go(p.h2.Run)
	return p, nil
}

// openLog puts a queue in front of the logger; nil stands for slog.Default().
func (p *Proxy) openLog(log *slog.Logger) {
	if log == nil {
		log = slog.Default()
	}
	if p.log = log; asynclog.Is(log.Handler()) {
		return // its owner closes it
	}
	p.queue = asynclog.New(calm(log).Handler())
	p.log = slog.New(p.queue)
}

// ServeHTTP answers one request that net/http has read. It panics with
// http.ErrAbortHandler when a response cannot be completed, as net/http wants it. After
// Drain each response ends its connection; after Close the answer is 503, for the reason
// "stopping".
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Apply replaces the configuration. Requests under way end under the one they began with;
// endpoints that are still named keep their state and connections. If c has mistakes the
// error is as New's and nothing changes. Files are read again; those that endpoints' TLS
// names (ca) are also read when they change, without Apply. After Close it returns ErrClosed. Listen,
// Logger and Sources are not looked at.
func (p *Proxy) Apply(c Config) error {
	err := p.core.Apply(c)
	if errors.Is(err, engine.ErrStopping) {
		return ErrClosed
	}
	p.h2.Configure()
	return err
}

// Ready waits until every endpoint that is probed has had its first verdict, or ctx is
// done, and then returns ctx's error. Requests before that wait a little by themselves.
// Once Drain or Close was called it returns ErrDraining or ErrClosed at once, so it can
// answer a readiness probe.
func (p *Proxy) Ready(ctx context.Context) error {
	for {
		switch {
		case p.isClosed():
			return ErrClosed
		case p.core.Draining():
			return ErrDraining
		case p.core.AwaitReady(p.rt.Now() + 50*time.Millisecond):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}
