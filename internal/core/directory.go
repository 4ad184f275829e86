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
	"github.com/poise-lb/poise/internal/compile"
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
	plan    *compile.DirectoryPlan
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
	*liveService
	name string
	plan *compile.DirectoryPlan // what it was last configured by; guarded by the directory's mu

	head atomic.Pointer[exchange.Service]
	_    [64]byte // uses is written by every exchange
	uses exchange.Uses
	_    [48]byte
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
	case !d.plan.Config.Allows(name):
		return nil, exchange.ErrUnknownService
	case !d.pace.take(now, d.plan.Config.StartRate) || !d.room():
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
	sp := d.plan.Service(name)
	e := &discovered{name: name, plan: d.plan}
	full := d.name + "/" + name
	if e.liveService = p.revive(full, d, d.plan); e.liveService == nil {
		e.liveService = p.launch(full, sp)
		e.liveService.directory = d
	}
	e.adopt(sp)
	if plan := d.plan; !e.fed.Load() {
		p.rt.Fork(func() { d.open(e, plan, sp) })
	}
	return e
}

// open starts the source of a service. If there can be none the service is forgotten, so
// that a later request tries again; those that wait for it get 503.
func (d *directory) open(e *discovered, plan *compile.DirectoryPlan, sp *compile.ServicePlan) {
	if err := plan.Source(sp); err != nil {
		e.Stale(err)
		d.expel(e)
		d.proxy.opts.Logger.Error("service not watched", "discover", d.name, "service", e.name, "error", err)
		return
	}
	e.feedOnce(d.proxy, sp)
}

// adopt makes what exchanges know of the service.
func (e *discovered) adopt(sp *compile.ServicePlan) {
	e.head.Store(&exchange.Service{Service: e.Service, Name: e.Name(), Key: sp.Key, Retry: sp.Retry, Uses: &e.uses})
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
		idle := d.plan.Config.ForgetAfter
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
// have it already; one that is being configured cannot be forgotten. Those whose names are
// not allowed any more are retired.
func (d *directory) configure(plan *compile.DirectoryPlan) {
	d.mu.Lock()
	d.plan = plan
	d.mu.Unlock()
	for _, e := range d.sorted() {
		if !plan.Config.Allows(e.name) {
			d.expel(e)
			continue
		}
		if !e.uses.Enter(e.uses.Last()) {
			continue
		}
		sp := plan.Service(e.name)
		if err := plan.Source(sp); err != nil { // not by the name: that was checked, and so was the entry
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

// close ends the entry: its services are retired, also those in use.
func (d *directory) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for _, e := range d.sorted() {
		d.expel(e)
	}
}

var _ exchange.Directory = (*directory)(nil)
