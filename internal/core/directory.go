package core

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/wire"
)

// unknownFor is how long a service that the registry does not know is watched after the
// last request for it: until then the answer costs the registry nothing.
const unknownFor = 30 * time.Second

// A directory is an entry of discover at work: the services that requests have named. They
// are started by the first request and forgotten when none came for a time.
type directory struct {
	proxy *Proxy
	name  string

	known atomic.Pointer[map[string]*discovered] // by name; replaced, never modified

	mu     sync.Mutex // guards changes of known and what follows; nothing waits under it
	plan   *directoryPlan
	closed bool
}

// discovered is one of the services.
type discovered struct {
	*running
	name string
	plan *directoryPlan // what it was last configured by; guarded by the directory's mu

	head atomic.Pointer[exchange.Service]
	_    [64]byte // uses is written by every exchange
	uses exchange.Uses
	_    [48]byte
}

// directoryPlan is an entry of discover made concrete.
type directoryPlan struct {
	config    config.Discover
	at        string         // in the configuration
	bounds    *wire.Settings // the parts that endpoints are held to, too
	snapshots string
	feed      feeder
	template  *servicePlan // of any name: what differs is where the endpoints come from
}

// service is the plan of one of the services. Building its source may read files.
func (d *directoryPlan) service(name string) (*servicePlan, error) {
	sp := *d.template
	sp.config = d.config.Service(name)
	connections := *sp.connections // TLS sessions are each service's own
	connections.TLS = connections.TLS.Clone()
	connections.TLS.ClientSessionCache = newSessions()
	sp.connections = &connections
	var err error
	sp.feed, err = d.feed(d.at, sp.config)
	return &sp, err
}

// compileDirectory checks the entry by what it would make of some name, and keeps what all
// names have in common.
func compileDirectory(name string, c *config.Config, feed feeder) (*directoryPlan, error) {
	d := &directoryPlan{
		config: c.Discover[name], at: config.Key("discover", name), bounds: wireSettings(c),
		snapshots: c.Snapshot, feed: feed,
	}
	var err error
	if d.template, err = compileService(d.at, d.config.Service("service"), d.bounds, feed); err != nil {
		return nil, err
	}
	d.template.snapshots = d.snapshots
	return d, nil
}

func newDirectory(p *Proxy, name string) *directory {
	d := &directory{proxy: p, name: name}
	d.known.Store(&map[string]*discovered{})
	return d
}

// Enter implements exchange.Directory.
func (d *directory) Enter(name []byte, now time.Duration) (*exchange.Service, *exchange.Error) {
	if e := (*d.known.Load())[string(name)]; e != nil && e.uses.Enter(now) {
		return e.head.Load(), nil
	}
	return d.find(string(name), now)
}

// find is Enter for a name that is new, or was just forgotten.
func (d *directory) find(name string, now time.Duration) (*exchange.Service, *exchange.Error) {
	if config.CheckName(name) != nil {
		return nil, exchange.ErrUnknownService
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := (*d.known.Load())[name]; e != nil && e.uses.Enter(now) {
		return e.head.Load(), nil
	}
	if d.closed || d.proxy.stopping.Load() {
		return nil, exchange.ErrStopping
	}
	if !d.room() {
		return nil, exchange.ErrTooManyServices
	}
	e, err := d.begin(name)
	if err != nil {
		d.proxy.note(func() {
			d.proxy.opts.Logger.Error("service not watched", "discover", d.name, "service", name, "error", err)
		})
		return nil, exchange.ErrNoEndpoint
	}
	e.uses.Enter(now)
	next := maps.Clone(*d.known.Load())
	next[name] = e
	d.known.Store(&next)
	return e.head.Load(), nil
}

// begin starts the service of that name, or takes it back if it was forgotten a moment
// ago. Called with mu held.
func (d *directory) begin(name string) (*discovered, error) {
	p := d.proxy
	sp, err := d.plan.service(name)
	if err != nil {
		return nil, err
	}
	e := &discovered{name: name, plan: d.plan}
	full := d.name + "/" + name
	if e.running = p.revive(full, d, d.plan); e.running == nil {
		e.running = p.start(full, sp)
		e.running.directory = d
	}
	e.adopt(sp)
	return e, nil
}

// adopt makes what exchanges know of the service.
func (e *discovered) adopt(sp *servicePlan) {
	e.head.Store(&exchange.Service{Service: e.Service, Name: e.Name(), Key: sp.key, Retry: sp.retry, Uses: &e.uses})
}

// room makes room for one more service and reports whether there is some. Those that the
// registry does not know go first, then the ones not used for longest: a flood of made-up
// names costs the others little. Services that are still being stopped count as far as
// they are more than a tenth, so that the flood cannot start sources faster than they end.
// Called with mu held.
func (d *directory) room() bool {
	known, most := *d.known.Load(), d.plan.config.Max
	if d.proxy.leaving(d) > max(16, most/10) {
		return false
	}
	if len(known) < most {
		return true
	}
	for _, e := range slices.SortedFunc(maps.Values(known), worth) {
		if e.uses.Forget() {
			d.drop([]*discovered{e})
			return true
		}
	}
	return false
}

// worth orders services by how much it would cost to forget them.
func worth(a, b *discovered) int {
	switch known := b.Known(); {
	case a.Known() == known:
		return cmp.Or(cmp.Compare(a.uses.Last(), b.uses.Last()), cmp.Compare(a.name, b.name))
	case known:
		return -1
	}
	return 1
}

// forget lets services go that were not asked for in a while. The housekeeper calls it.
func (d *directory) forget(now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var gone []*discovered
	for _, e := range d.sorted() {
		idle := d.plan.config.ForgetAfter
		if !e.Known() {
			idle = min(idle, unknownFor)
		}
		if now-e.uses.Last() >= idle && e.uses.Forget() {
			gone = append(gone, e)
		}
	}
	d.drop(gone)
}

// drop retires services that nobody uses. Called with mu held.
func (d *directory) drop(gone []*discovered) {
	if len(gone) == 0 {
		return
	}
	next := maps.Clone(*d.known.Load())
	for _, e := range gone {
		delete(next, e.name)
		e.running.plan = e.plan
		d.proxy.retire(e.running)
	}
	d.known.Store(&next)
}

// sorted lists the services by name: a run can be repeated.
func (d *directory) sorted() []*discovered {
	return slices.SortedFunc(maps.Values(*d.known.Load()), func(a, b *discovered) int { return cmp.Compare(a.name, b.name) })
}

// configure takes a new configuration of the same entry. Services that start meanwhile
// have it already; nobody can forget one that is being configured.
func (d *directory) configure(plan *directoryPlan) {
	d.mu.Lock()
	d.plan = plan
	old := d.sorted()
	d.mu.Unlock()
	for _, e := range old {
		if !e.uses.Enter(e.uses.Last()) {
			continue
		}
		sp, err := plan.service(e.name)
		if err != nil { // not by the name: that was checked, and so was the entry
			d.proxy.opts.Logger.Error("service keeps its configuration", "service", e.Name(), "error", err)
		} else {
			e.configure(d.proxy, sp)
			e.adopt(sp)
			d.mu.Lock()
			e.plan = plan
			d.mu.Unlock()
		}
		e.uses.Leave()
	}
}

// close ends the entry: its services are retired, whoever uses them.
func (d *directory) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, e := range d.sorted() {
		d.proxy.retire(e.running)
	}
	d.known.Store(&map[string]*discovered{})
}

var _ exchange.Directory = (*directory)(nil)
