// Package core is the life of a proxy: it puts configurations in force, runs the services,
// serves the connections of clients, and ends all of them. It is written against the runtime of
// internal/engine, so that every engine runs the same core.
//
//	New        core.go       starts the proxy with its first configuration
//	Apply      apply.go      replaces the configuration; service.go, directory.go and retire.go
//	                         start, configure and retire services
//	serving    serve.go      a client's connection, request after request; concurrent.go has
//	                         those whose protocol carries several at once
//	limits     crowded.go    makes room when there are as many connections as there may be
//	metrics    busy.go       counts the connections that serve a request
//	Close      close.go      ends it all; clients.go ends the connections
//
// A Proxy has several runtimes. Its own, worker 0, runs everything that may take time: services,
// sources, reloads, and the exchanges of a mounted handler. The others (Options.Workers; event
// loops, for instance) serve connections and probe endpoints. A connection belongs to one
// worker, and only tasks of that worker touch it: see Proxy.Run.
//
// Locks are taken in this order: Proxy.applying, liveService.feeding and directory.publishing,
// where applying and feeding may be held by a task that waits; then directory.mu, Proxy.mu, the
// locks of a service.Service, and last liveService.mu and list.mu.
package core

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/filewatch"
	"github.com/poise-lb/poise/internal/mux"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/service"
)

// Options are what a Proxy needs besides its configuration. The zero value works: static lists
// of literal addresses, no access log, one worker. Options are not modified after New.
type Options struct {
	Logger *slog.Logger // nil: slog.Default()
	// Observers get every event from the first configuration on, beside the log. Each
	// has a task of its own; see package event.
	Observers []event.Observer
	// Sink returns, for every configuration, where access log records go. Nil, or a nil
	// result: nowhere.
	Sink func(config.AccessLog) *record.Sink
	// Spans returns, for every configuration, where the records go that spans are made of; nil:
	// nowhere. An error is one of the configuration. Nil: no spans are made.
	Spans func(*config.Tracing) (*record.Sink, error)

	// Feed makes the source of a service's endpoints. Nil: static lists of literal addresses
	// only. path is the service's path in the configuration, for errors.
	Feed func(path string, s config.Service) (Feed, error)
	// Start runs a source until the returned function is called, which may wait until the
	// source has ended. publish may be called by any goroutine. Nil: sources are not run.
	Start func(src discovery.Source, publish func(discovery.Update)) (stop func())
	// Files is called after every Apply with the files that the configuration names (the
	// certificate authorities for endpoints) and the content that was read of them. The
	// implementation watches them and calls Reread when one changes. Nil: they are not watched.
	Files func(known map[string]filewatch.Sum)
	// Saved is what Save of another Proxy has returned; nil: nothing.
	Saved *Saved
	// Clock tells the wall time, for the field Date of responses that have none; nil: time.Now. A
	// virtual clock makes every byte of a run repeatable.
	Clock func() time.Time
	// Descriptors is how many the process may have open: see package admission. 0: not known.
	Descriptors int
	// Workers serve streams and probe endpoints beside the Proxy's own runtime. Nil: none.
	Workers Workers
}

// Workers are runtimes beside the Proxy's own. Their numbers, Runtime.Worker, are 1 to
// Most; that of the Proxy's own is 0.
type Workers interface {
	// Most is how many there may ever be. It does not change.
	Most() int
	// Start runs f as a task of worker i, 1 to Most, and does not wait. It returns false if f
	// will not run: the worker has not started yet, or has ended. Any goroutine may call it.
	Start(i int, f func(rt engine.Runtime)) bool
}

// A Feed is the origin of a service's endpoints: a set that never changes, or a source.
type Feed = compile.Feed

// A Proxy serves exchanges under a configuration that can be replaced while it runs. Tasks of its
// own runtime may call its methods; those that any goroutine may call say so.
type Proxy struct {
	rt   engine.Runtime
	opts Options

	table    atomic.Pointer[exchange.Table]
	config   atomic.Pointer[config.Config]       // with defaults
	force    atomic.Pointer[force]               // table and config as one, for Explain
	settings atomic.Pointer[downstream.Settings] // of client connections, in that configuration
	routes   *record.Routes                      // counters of exchanges
	spares   *mux.Spares                         // of HTTP/2 connections to endpoints
	events   *event.Bus
	draining atomic.Bool // Drain or Close was called: every response is its connection's last
	stopping atomic.Bool // Close was called
	over     atomic.Bool // services end, or have ended: nothing is served any more
	hurry    atomic.Bool // Hurry was called
	clients  clients
	spare    []spare // index: the worker
	anyone   about   // of clients without a Listener
	// announces: an endpoint may learn by the PROXY protocol who the client is.
	announces atomic.Bool

	handed handed // what Options.Saved has left

	seed      uint64 // of exchange.Tracing
	admission *admission.Control
	crowd     crowd
	placed    atomic.Uint64 // number of probers so far, which picks the worker of the next

	// applying is held by Apply and Reread. They may wait, for a disk or for a policy, so
	// nothing else takes it: all other functions read state.
	applying sync.Mutex
	reloads  atomic.Pointer[Reloads] // written with applying held; never nil
	state    atomic.Pointer[state]

	mu      sync.Mutex            // guards retired and live; held for some instructions
	retired []*liveService        // see retire.go
	live    map[*liveService]bool // services that have not ended; true: one is being ended
	wake    engine.Signal         // wakes the housekeeper
	gone    engine.Signal         // set when something that Close waits for has ended
	keeper  engine.Join           // of the housekeeper
	kept    atomic.Bool           // the housekeeper has ended
}

// state has the services of the configuration in force, by name. Apply replaces it; nothing
// modifies it, so it is read without a lock.
type state struct {
	services    map[string]*liveService
	directories map[string]*directory // entries of discover
}

// New starts a Proxy with the configuration c. It does not wait for endpoints: see AwaitReady.
// Errors are those of the configuration and have Problems() []config.Problem; nothing runs
// then. The caller must Close the Proxy. It is called by a task of rt.
func New(rt engine.Runtime, c config.Config, o Options) (*Proxy, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Feed == nil {
		o.Feed = compile.Static
	}
	p := &Proxy{rt: rt, opts: o, live: make(map[*liveService]bool), wake: rt.NewSignal(), gone: rt.NewSignal()}
	p.anyone.Proxy = p
	p.handed.open(o.Saved, rt.Now())
	p.state.Store(&state{})
	p.reloads.Store(&Reloads{})
	p.events = event.NewBus(rt)
	p.events.Observe("log", event.Log(o.Logger))
	for _, observer := range o.Observers {
		p.events.Observe(fmt.Sprintf("%T", observer), observer)
	}
	p.routes, p.seed = record.NewRoutes(p.Count()), rt.Rand()
	p.spares = mux.NewSpares(p.Count())
	p.clients.open(p)
	p.admission = admission.New(o.Descriptors, p.Count()-1)
	p.admission.Crowded = p.crowded
	if err := p.Apply(c); err != nil {
		p.events.Close(rt.Now() + breakFor)
		return nil, err
	}
	p.keeper = rt.Fork(p.keep)
	return p, nil
}

// Observe has o called with every event from now on, by a task of its own, until stop is called
// or the Proxy is closed: see package event. name identifies the observer in the log.
func (p *Proxy) Observe(name string, o event.Observer) (stop func()) {
	return p.events.Observe(name, o)
}

// EventsLost is the number of events that an observer has missed because it was too slow. Any
// goroutine may call it.
func (p *Proxy) EventsLost() uint64 { return p.events.Lost() }

// Config is the configuration in force, with defaults. The caller must not modify it. Any
// goroutine may call it.
func (p *Proxy) Config() *config.Config { return p.config.Load() }

// Reloads says how configurations were taken. Any goroutine may call it.
func (p *Proxy) Reloads() Reloads { return *p.reloads.Load() }

// UnmatchedCounts are the counters of exchanges that found no route. Any goroutine may call it.
func (p *Proxy) UnmatchedCounts() record.RouteSums { return p.routes.UnmatchedSums() }

// ClientSettings are the timeouts and limits of client connections in the configuration in force.
// The caller must not modify them. Any goroutine may call it.
func (p *Proxy) ClientSettings() *downstream.Settings { return p.settings.Load() }

// Totals are the counters of exchanges since New. Any goroutine may call it.
func (p *Proxy) Totals() record.Totals { return p.routes.Totals() }

// RouteCounts are the counters of every route, by name. Routes that the configuration does not
// name any more are included for some minutes. Any goroutine may call it.
func (p *Proxy) RouteCounts() []record.RouteSums { return p.routes.Sums() }

// AwaitReady waits until the endpoints of all services that the configuration names have had
// their first verdict, at most until the instant by (0: without limit), and reports whether they
// have. Services that are named by requests are not waited for.
func (p *Proxy) AwaitReady(by time.Duration) bool {
	ready := true
	for _, r := range p.running() {
		ready = r.AwaitReady(p.rt, by) && ready
	}
	return ready
}

// running lists the services that the configuration names, by name.
func (p *Proxy) running() []*liveService {
	services := p.state.Load().services
	out := make([]*liveService, 0, len(services))
	for _, name := range slices.Sorted(maps.Keys(services)) {
		out = append(out, services[name])
	}
	return out
}

// discovered lists the services that requests have named, by directory and name.
func (p *Proxy) discovered() (out []*liveService) {
	for _, d := range p.allDirectories() {
		for _, e := range d.sorted() {
			out = append(out, e.liveService)
		}
	}
	return out
}

// allDirectories lists the directories of the configuration in force, by name.
func (p *Proxy) allDirectories() (out []*directory) {
	directories := p.state.Load().directories
	for _, name := range slices.Sorted(maps.Keys(directories)) {
		out = append(out, directories[name])
	}
	return out
}

// keep is the housekeeper's task: once a second it forgets services that requests no longer
// name, closes connections to endpoints that have been idle for too long, and stops services that
// were retired. It ends after Close has set stopping.
func (p *Proxy) keep() {
	for !p.stopping.Load() {
		p.wake.Wait(p.rt.Now() + time.Second)
		now := p.rt.Now()
		for _, d := range p.allDirectories() {
			d.forget(now)
		}
		for _, r := range append(p.running(), p.discovered()...) {
			r.sweep(now)
		}
		p.stopRetired(now)
	}
}

// Services lists the services of the configuration in force, by name, and after them those that
// requests have named. The name of one of these is that of its discover entry, a slash, and the
// name in the path: svc/users. Any goroutine may call it.
func (p *Proxy) Services() []*service.Service {
	var out []*service.Service
	for _, r := range append(p.running(), p.discovered()...) {
		out = append(out, r.Service)
	}
	return out
}
