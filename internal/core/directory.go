package core

// Services that requests name (discover). There are two maps: known, which is replaced and never
// modified, so exchanges read it without a lock; and live, the truth, under mu. known follows live
// a moment later:
//
//	request for users      known: no   live: no    find: launch, live and changes get it
//	  the exchange waits for the service as for any that has just begun
//	a task, open           makes the source, which may read files, and starts it
//	a task, publish        copies known with the changes of live
//	next request           known: yes              no lock
//	no request for long    forget: Uses.Forget makes Enter fail, live loses it, retire.go
//	request for users      known: Enter fails      find: revive, if that was less than 5 s ago
//
// What may take long is done by tasks of the Proxy's own runtime, never by an exchange.

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

// unknownFor is how long a service that its registry does not know is watched after the latest
// request for it: further requests meanwhile cost the registry nothing.
const unknownFor = 30 * time.Second

// A directory is one entry of discover, with the services that requests have named. A service is
// started by the first request for it and forgotten when none came for a time.
type directory struct {
	proxy *Proxy
	name  string

	known      atomic.Pointer[map[string]*discovered] // by name; replaced, never modified
	publishing sync.Mutex                             // held while known is replaced; not by exchanges

	mu      sync.Mutex // guards what follows; held for some instructions
	plan    *compile.DirectoryPlan
	closed  bool                   // the configuration does not have the entry any more
	live    map[string]*discovered // by name
	changes []change               // changes of live that known does not have yet
	due     bool                   // a task was started that will publish them
	pace    pace                   // of starting services
}

// A change of live: e has come, or gone.
type change struct {
	e    *discovered
	gone bool
}

// discovered is one service of a directory.
type discovered struct {
	*liveService
	name string
	plan *compile.DirectoryPlan // its latest one; guarded by the directory's mu

	head atomic.Pointer[exchange.Service] // what exchanges get; never nil after begin
	_    [64]byte                         // every exchange writes uses: a cache line of its own
	uses exchange.Uses
	_    [48]byte
}

// newDirectory makes a directory without a plan: configure must follow.
func newDirectory(p *Proxy, name string) *directory {
	d := &directory{proxy: p, name: name, live: make(map[string]*discovered)}
	d.known.Store(&map[string]*discovered{})
	return d
}

// Enter implements exchange.Directory. Tasks of all workers call it.
func (d *directory) Enter(name []byte, now time.Duration) (*exchange.Service, *exchange.Error) {
	if e := (*d.known.Load())[string(name)]; e != nil && e.uses.Enter(now) {
		return e.head.Load(), nil
	}
	return d.find(string(name), now)
}

// find is Enter for a name that known does not have, or that was just forgotten.
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

// begin starts the service of that name, or revives it if it was forgotten a moment ago. Its
// source is started by a task. Called with mu held.
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

// open makes and starts the source of a service. If that fails the service is dropped, so that a
// later request tries again; requests that wait for it get 503. It is a task of its own.
func (d *directory) open(e *discovered, plan *compile.DirectoryPlan, sp *compile.ServicePlan) {
	if err := plan.Source(sp); err != nil {
		e.Stale(err)
		d.remove(e)
		d.proxy.opts.Logger.Error("service not watched", "discover", d.name, "service", e.name, "error", err)
		return
	}
	e.feedOnce(d.proxy, sp)
}

// adopt sets what exchanges get for the service.
func (e *discovered) adopt(sp *compile.ServicePlan) {
	e.head.Store(&exchange.Service{Service: e.Service, Name: e.Name(), Policy: sp.Config.Policy.Type, Key: sp.Key, Lanes: sp.Lanes, Sticky: sp.Sticky, Retry: sp.Retry, Hedge: sp.Hedge, Priorities: sp.Priorities, Uses: &e.uses, Announces: sp.Connections.ProxyProtocol != 0, Reports: sp.Config.LoadReports})
}

// note records a change of live and starts the task that publishes it, if none was started yet.
// Called with mu held.
func (d *directory) note(c change) {
	d.changes = append(d.changes, c)
	if !d.due {
		d.due = true
		d.proxy.rt.Fork(d.publish)
	}
}

// publish brings known up to date with live. Until then exchanges find new services by find, and
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

// forget drops services that no request has named for discover's forget_after, but not those with
// overrides: they would end, and an endpoint that an operator has drained would be used by the
// next request. The housekeeper calls it.
func (d *directory) forget(now time.Duration) {
	all := d.sorted()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range all {
		idle := d.plan.Config.ForgetAfter
		if !e.Known() {
			idle = min(idle, unknownFor)
		}
		if d.live[e.name] == e && now-e.uses.Last() >= idle && !e.Overridden() && e.uses.Forget() {
			d.drop(e)
		}
	}
}

// sorted publishes and then lists the services, by name.
func (d *directory) sorted() []*discovered {
	d.publish()
	return slices.SortedFunc(maps.Values(*d.known.Load()), func(a, b *discovered) int { return cmp.Compare(a.name, b.name) })
}

// configure puts a new configuration of the entry in force. Services whose names are not allowed
// any more are retired. Services that start meanwhile have the new plan already. While a service
// is configured it counts as used, so that it is not forgotten.
func (d *directory) configure(plan *compile.DirectoryPlan) {
	d.mu.Lock()
	d.plan = plan
	d.mu.Unlock()
	for _, e := range d.sorted() {
		if !plan.Config.Allows(e.name) {
			d.remove(e)
			continue
		}
		if !e.uses.Enter(e.uses.Last()) {
			continue
		}
		sp := plan.Service(e.name)
		if err := plan.Source(sp); err != nil { // of a file, for instance: name and entry are valid
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

// remove retires a service although it may be in use. Exchanges under way end as they would have.
func (d *directory) remove(e *discovered) {
	d.mu.Lock()
	if d.live[e.name] == e {
		d.drop(e)
	}
	d.mu.Unlock()
	d.publish()
}

// close ends the entry: it retires all services, also those in use, and refuses new ones.
func (d *directory) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for _, e := range d.sorted() {
		d.remove(e)
	}
}

var _ exchange.Directory = (*directory)(nil)
