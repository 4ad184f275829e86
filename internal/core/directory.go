package core

// Services that requests name. Exchanges look a name up in a map that is replaced and never
// modified. For a new name they do what takes some instructions: they enter it, and wait for
// the service as they wait for any that has just begun. What may take its time (making the
// source, which reads files; copying the map) is done by tasks of the Proxy's own runtime.

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/exchange"
)

// unknownFor is how long a service that the registry does not know is watched after the
// last request for it: until then the answer costs the registry nothing.
const unknownFor = 30 * time.Second

// A directory is an entry of discover at work: the services that requests have named. They
// are started by the first request and forgotten when none came for a time.
type directory struct {
	proxy *Proxy
	name  string

	known      atomic.Pointer[map[string]*discovered] // by name; replaced, never modified; may lag behind live
	publishing sync.Mutex                             // held while known is replaced; no exchange takes it

	mu      sync.Mutex // guards what follows; held for some instructions
	plan    *directoryPlan
	closed  bool
	live    map[string]*discovered
	changes []change // of live that known has not seen
	due     bool     // a task has been started that will publish them
	pace    pace
}

// A change of live: e has come, or gone.
type change struct {
	e    *discovered
	gone bool
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
	at        string               // in the configuration
	bounds    *downstream.Settings // the parts that endpoints are held to, too
	snapshots string
	feed      feeder
	template  *servicePlan // of any name: what differs is where the endpoints come from
}

// service is the plan of one of the services, but for its source.
func (d *directoryPlan) service(name string) *servicePlan {
	sp := *d.template
	sp.config = d.config.Service(name)
	connections := *sp.connections // TLS sessions are each service's own
	connections.TLS = connections.TLS.Clone()
	connections.TLS.ClientSessionCache = newSessions()
	sp.connections = &connections
	return &sp
}

// source completes a plan of service. It may read files, and so has no place in an exchange.
func (d *directoryPlan) source(sp *servicePlan) (err error) {
	sp.feed, err = d.feed(d.at, sp.config)
	return err
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
	d := &directory{proxy: p, name: name, live: make(map[string]*discovered)}
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
	if e := d.live[name]; e != nil && e.uses.Enter(now) {
		return e.head.Load(), nil
	}
	switch {
	case d.closed || d.proxy.stopping.Load():
		return nil, exchange.ErrStopping
	case !d.plan.config.Allows(name):
		return nil, exchange.ErrUnknownService
	case !d.pace.take(now, d.plan.config.StartRate) || !d.room():
		return nil, exchange.ErrTooManyServices
	}
	e := d.begin(name)
	e.uses.Enter(now)
	d.live[name] = e
	d.note(change{e: e})
	return e.head.Load(), nil
}

// begin starts the service of that name, or takes it back if it was forgotten a moment
// ago. Its source starts by a task of its own. Called with mu held.
func (d *directory) begin(name string) *discovered {
	p := d.proxy
	sp := d.plan.service(name)
	e := &discovered{name: name, plan: d.plan}
	full := d.name + "/" + name
	if e.running = p.revive(full, d, d.plan); e.running == nil {
		e.running = p.launch(full, sp)
		e.running.directory = d
	}
	e.adopt(sp)
	if plan := d.plan; !e.fed.Load() {
		p.rt.Fork(func() { d.open(e, plan, sp) })
	}
	return e
}

// open starts the source of a service. If there can be none the service is forgotten, so
// that a later request tries again; those that wait for it get 503.
func (d *directory) open(e *discovered, plan *directoryPlan, sp *servicePlan) {
	if err := plan.source(sp); err != nil {
		e.Stale(err)
		d.expel(e)
		d.proxy.opts.Logger.Error("service not watched", "discover", d.name, "service", e.name, "error", err)
		return
	}
	e.feedOnce(d.proxy, sp)
}

// adopt makes what exchanges know of the service.
func (e *discovered) adopt(sp *servicePlan) {
	e.head.Store(&exchange.Service{Service: e.Service, Name: e.Name(), Key: sp.key, Retry: sp.retry, Uses: &e.uses})
}

// scanMost bounds the services among which one is chosen to make room.
const scanMost = 1000

// room makes room for one more service and reports whether there is some. Those that the
// registry does not know go first, then the ones not used for longest: a flood of made-up
// names costs the others little. Services that are still being stopped count as far as
// they are more than a tenth, so that the flood cannot start sources faster than they end.
// Called with mu held.
func (d *directory) room() bool {
	most := d.plan.config.Max
	if d.proxy.leaving(d) > max(16, most/10) {
		return false
	}
	if len(d.live) < most {
		return true
	}
	var first *discovered
	seen := 0
	for _, e := range d.live {
		if e.uses.Idle() && (first == nil || worth(e, first) < 0) {
			first = e
		}
		if seen++; seen == scanMost {
			break
		}
	}
	if first == nil || !first.uses.Forget() {
		return false
	}
	d.drop(first)
	return true
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

// drop retires a service. Called with mu held.
func (d *directory) drop(e *discovered) {
	delete(d.live, e.name)
	e.running.plan = e.plan
	d.proxy.retire(e.running)
	d.note(change{e: e, gone: true})
}

// note has known follow a change of live soon. Called with mu held.
func (d *directory) note(c change) {
	d.changes = append(d.changes, c)
	if !d.due {
		d.due = true
		d.proxy.rt.Fork(d.publish)
	}
}

// publish makes known what live is. Until then exchanges find new services in live, and
// cannot enter those that are gone.
func (d *directory) publish() {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.mu.Lock()
	changes := d.changes
	d.changes, d.due = nil, false
	d.mu.Unlock()
	if len(changes) == 0 {
		return
	}
	next := maps.Clone(*d.known.Load())
	for _, c := range changes {
		if !c.gone {
			next[c.e.name] = c.e
		} else if next[c.e.name] == c.e {
			delete(next, c.e.name)
		}
	}
	d.known.Store(&next)
}

// forget lets services go that were not asked for in a while. The housekeeper calls it.
func (d *directory) forget(now time.Duration) {
	all := d.sorted()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range all {
		idle := d.plan.config.ForgetAfter
		if !e.Known() {
			idle = min(idle, unknownFor)
		}
		if d.live[e.name] == e && now-e.uses.Last() >= idle && e.uses.Forget() {
			d.drop(e)
		}
	}
}

// sorted lists the services by name: a run can be repeated.
func (d *directory) sorted() []*discovered {
	d.publish()
	return slices.SortedFunc(maps.Values(*d.known.Load()), func(a, b *discovered) int { return cmp.Compare(a.name, b.name) })
}

// configure takes a new configuration of the same entry. Services that start meanwhile
// have it already; nobody can forget one that is being configured. Those whose names are
// not allowed any more are retired.
func (d *directory) configure(plan *directoryPlan) {
	d.mu.Lock()
	d.plan = plan
	d.mu.Unlock()
	for _, e := range d.sorted() {
		if !plan.config.Allows(e.name) {
			d.expel(e)
			continue
		}
		if !e.uses.Enter(e.uses.Last()) {
			continue
		}
		sp := plan.service(e.name)
		if err := plan.source(sp); err != nil { // not by the name: that was checked, and so was the entry
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

// expel retires a service although it may be in use: exchanges under way end.
func (d *directory) expel(e *discovered) {
	d.mu.Lock()
	if d.live[e.name] == e {
		d.drop(e)
	}
	d.mu.Unlock()
	d.publish()
}

// close ends the entry: its services are retired, whoever uses them.
func (d *directory) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for _, e := range d.sorted() {
		d.expel(e)
	}
}

// A pace bounds how often something begins: rate times a second, and burst seconds' worth
// at once. The zero value has not begun anything.
type pace struct{ due time.Duration }

// burst is for how many seconds a pace may be used up at once.
const burst = 10

// take reports whether one more may begin now.
func (p *pace) take(now time.Duration, rate int) bool {
	p.due = max(p.due, now)
	if p.due-now > burst*time.Second-time.Second/time.Duration(rate) {
		return false
	}
	p.due += time.Second / time.Duration(rate)
	return true
}

var _ exchange.Directory = (*directory)(nil)
