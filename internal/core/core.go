// Package core assembles a configuration into what serves exchanges: the table of routes,
// the services with their endpoints, and the connections of clients. It is written
// against the runtime of internal/engine, so that every engine runs the same core.
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
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/service"
)

// Options are what a Proxy needs besides its configuration. The zero value works.
type Options struct {
	Logger *slog.Logger // nil: slog.Default()
	// Observers get every event from the first configuration on, beside the log. Each
	// has a task of its own; see package event.
	Observers []event.Observer
	// Sink is asked, with every configuration, where records go. Nil, or a nil answer: nowhere.
	Sink func(config.AccessLog) *record.Sink

	// Feed says where the endpoints of a service come from. Nil: static lists of literal
	// addresses only. path is the service's in the configuration, for errors.
	Feed func(path string, s config.Service) (Feed, error)
	// Start runs a source until the returned function is called. Nil: sources are not run.
	Start func(src discovery.Source, publish func(discovery.Update)) (stop func())
	// Files is told which files the configuration in force was made of, beside its own text,
	// and the content that was read, whenever that may have changed: those of the authorities
	// that endpoints are verified by. When one changes Reread is to be called. Nil: they are
	// not followed.
	Files func(known map[string]filewatch.Sum)
	// Descriptors is how many the process may have open: see package admission. 0: it is not known.
	Descriptors int
	// Workers serve streams and probe endpoints beside the Proxy's own runtime. Nil: it is alone.
	Workers Workers
}

// Workers are runtimes beside the Proxy's own. Their numbers, Runtime.Worker, are 1 to
// Most; that of the Proxy's own is 0.
type Workers interface {
	// Most is how many there may ever be.
	Most() int
	// Start runs f as a task of worker i and does not wait. It reports whether f will run:
	// the worker may not run yet, or not any more. It may be called from anywhere.
	Start(i int, f func(rt engine.Runtime)) bool
}

// A Feed is where a service's endpoints come from: a set that never changes, or a source.
type Feed = compile.Feed

// A Proxy serves exchanges under a configuration that can be replaced while it runs. Its
// methods may be called from any task of its runtime.
type Proxy struct {
	rt   engine.Runtime
	opts Options

	table    atomic.Pointer[exchange.Table]
	config   atomic.Pointer[config.Config]       // with defaults
	settings atomic.Pointer[downstream.Settings] // of client connections, in that configuration
	routes   *record.Routes                      // counters of exchanges
	events   *event.Bus
	draining atomic.Bool // every response is the last of its connection
	stopping atomic.Bool // Close was called
	over     atomic.Bool // services end, or have ended: nothing is served any more
	hurry    atomic.Bool
	clients  clients

	admission *admission.Control
	crowd     crowd
	placed    atomic.Uint64 // probers that were given to workers

	// applying makes Apply one at a time. Apply may wait, for a disk or for a policy, so
	// nothing else takes it: all others go by state.
	applying   sync.Mutex
	generation uint64 // of the configuration in force, from 1; guarded by applying
	state      atomic.Pointer[state]

	mu      sync.Mutex // guards what follows; held for some instructions
	retired []*liveService
	live    map[*liveService]bool // all that have begun and not ended yet; true: they are being ended
	wake    engine.Signal         // the housekeeper's
	gone    engine.Signal         // something that Close waits for has ended
	keeper  engine.Join
	kept    atomic.Bool // the housekeeper has ended
}

// state is what the configuration in force has made. It is replaced, never modified.
type state struct {
	services    map[string]*liveService
	directories map[string]*directory // of services that requests name
}

// New starts a Proxy. Its errors are those of the configuration, with
// Problems() []config.Problem.
func New(rt engine.Runtime, c config.Config, o Options) (*Proxy, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Feed == nil {
		o.Feed = compile.Static
	}
	p := &Proxy{rt: rt, opts: o, live: make(map[*liveService]bool), wake: rt.NewSignal(), gone: rt.NewSignal()}
	p.state.Store(&state{})
	p.events = event.NewBus(rt)
	p.events.Observe("log", event.Log(o.Logger))
	for _, observer := range o.Observers {
		p.events.Observe(fmt.Sprintf("%T", observer), observer)
	}
	p.routes = record.NewRoutes(p.Count())
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
// or the Proxy is closed: see package event. name is the observer's in the log. It is called
// by a task of the Proxy's runtime.
func (p *Proxy) Observe(name string, o event.Observer) (stop func()) {
	return p.events.Observe(name, o)
}

// EventsLost counts the events that some observer was too slow for. Any goroutine may call it.
func (p *Proxy) EventsLost() uint64 { return p.events.Lost() }

// Config is the configuration in force, with defaults.
func (p *Proxy) Config() *config.Config { return p.config.Load() }

// ClientSettings are what the clients' side of exchanges is held to under the configuration
// in force. They must not be modified.
func (p *Proxy) ClientSettings() *downstream.Settings { return p.settings.Load() }

// Totals are the counters of exchanges since New.
func (p *Proxy) Totals() record.Totals { return p.routes.Totals() }

// RouteCounts are the counters of every route, by name, those included that the
// configuration has not named for some minutes. Any goroutine may call it.
func (p *Proxy) RouteCounts() []record.RouteSums { return p.routes.Sums() }

// AwaitReady waits, at most until by, until every endpoint that is probed has had its
// first verdict, and reports whether that is so.
func (p *Proxy) AwaitReady(by time.Duration) bool {
	ready := true
	for _, r := range p.running() {
		ready = r.AwaitReady(p.rt, by) && ready
	}
	return ready
}

// running are the services that the configuration names.
func (p *Proxy) running() []*liveService {
	services := p.state.Load().services
	out := make([]*liveService, 0, len(services))
	for _, name := range slices.Sorted(maps.Keys(services)) {
		out = append(out, services[name])
	}
	return out
}

// discovered are the services that requests have named.
func (p *Proxy) discovered() (out []*liveService) {
	for _, d := range p.allDirectories() {
		for _, e := range d.sorted() {
			out = append(out, e.liveService)
		}
	}
	return out
}

func (p *Proxy) allDirectories() (out []*directory) {
	directories := p.state.Load().directories
	for _, name := range slices.Sorted(maps.Keys(directories)) {
		out = append(out, directories[name])
	}
	return out
}

// keep is the housekeeper: once a second it closes connections that have been idle for
// too long and stops services that are not in use any more.
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
		p.dismiss(now)
	}
}

// Services are those of the configuration in force, by name, and after them those that
// requests have named; the name of such a one is that of its entry, a slash, and its own.
func (p *Proxy) Services() []*service.Service {
	var out []*service.Service
	for _, r := range append(p.running(), p.discovered()...) {
		out = append(out, r.Service)
	}
	return out
}
