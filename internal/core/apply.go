package core

// How a configuration comes into force. Apply does, in this order:
//
//	1  compile it; a mistake ends it here, and nothing has changed
//	2  start the services that are new, configure those that are there, by name;
//	   a service that was retired less than 5 s ago is taken back
//	3  the same for the entries of discover
//	4  store the new table: exchanges that begin from now on use it
//	5  retire the services and entries that it does not name any more
//	6  report the files that it names, so that they are watched
//
// Exchanges never wait for any of this. Those under way keep the table that they began with. What
// survives, from {users, orders} to {users, billing}:
//
//	users     its endpoints with health, breaker, latency, attempts in flight, connections
//	orders    serves exchanges of the old table, is kept for 5 s, then drains: retire.go
//	billing   starts; its first requests wait until it has probed its endpoints

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/record"
)

// Apply replaces the configuration. If c has mistakes nothing changes, and the error has
// Problems() []config.Problem. After Close it returns engine.ErrStopping. Calls wait for each
// other; one may also wait for files, sources that end, and policies. The new configuration is
// in force on return.
func (p *Proxy) Apply(c config.Config) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	return p.reload(c)
}

// Reread applies the configuration in force again, because the content of a file that it names
// has changed. If the new content cannot be used nothing changes, and the error says why.
func (p *Proxy) Reread() error {
	p.applying.Lock()
	defer p.applying.Unlock()
	return p.reload(*p.config.Load())
}

// reload is Apply with applying held. It publishes an event with the outcome.
func (p *Proxy) reload(c config.Config) error {
	err := p.apply(c)
	switch {
	case err == nil:
		r, now := p.Reloads(), p.config.Load()
		r.Generation++
		r.At, r.Refusal = p.rt.Now(), nil
		p.reloads.Store(&r)
		p.events.Publish("", event.ConfigApplied{Generation: r.Generation, Services: len(now.Services), Routes: len(now.Routes)})
	case !errors.Is(err, engine.ErrStopping):
		p.refused(err)
	}
	return err
}

// Refused records that a configuration was refused before it came to Apply, because it could not
// be read, for instance.
func (p *Proxy) Refused(err error) {
	p.applying.Lock()
	defer p.applying.Unlock()
	p.refused(err)
}

// refused is Refused with applying held.
func (p *Proxy) refused(err error) {
	r := p.Reloads()
	r.Refused++
	r.Refusal = err
	p.reloads.Store(&r)
	p.events.Publish("", event.ConfigRefused{Err: err})
}

// Reloads says how configurations were taken: by Apply, and by Reread when a file changed.
type Reloads struct {
	Generation uint64        // of the configuration in force: how many were applied
	At         time.Duration // instant at which that was applied
	Refused    uint64
	Refusal    error // why the latest one was refused; nil: it was applied
}

// apply does the steps above. Called with applying held.
func (p *Proxy) apply(c config.Config) error {
	if p.stopping.Load() {
		return engine.ErrStopping
	}
	plan, err := compile.Config(c, p.opts.Feed)
	if err != nil {
		return err
	}
	table := plan.Table
	if table.Tracing, err = p.tracing(&plan.Config); err != nil {
		return err
	}
	table.Logger, table.Unmatched, table.Admission = p.opts.Logger, p.routes.Unmatched(), p.admission
	table.Generation = p.Reloads().Generation + 1
	if p.opts.Sink != nil {
		table.Sink = p.opts.Sink(plan.Config.AccessLog)
	}
	services, heads := p.applyServices(plan)
	directories := p.applyDirectories(plan)
	lead(table.Routes, plan, heads, directories, p.routes.Name(plan.RouteNames(), p.rt.Now()))
	p.announces.Store(plan.Announces())
	p.table.Store(&table)
	p.config.Store(&plan.Config)
	p.force.Store(&force{&table, &plan.Config})
	settings := compile.ClientSettings(&plan.Config)
	settings.Clock = p.opts.Clock
	p.settings.Store(settings)
	p.admit(&plan.Config.Limits, table.Trusted)
	p.replace(&state{services, directories})
	if p.opts.Files != nil {
		p.opts.Files(plan.Files())
	}
	if p.stopping.Load() { // Close was called meanwhile: it ends what was started here
		return engine.ErrStopping
	}
	return nil
}

// lead completes the routes of a plan's table by where they lead, and by cells, which are in the order of
// Plan.RouteNames.
func lead(routes []exchange.Route, plan *compile.Plan, heads map[string]*exchange.Service, directories map[string]*directory, cells []*record.Cells[record.RouteCell]) {
	for i := range routes {
		r, one := &plan.Config.Routes[i], &routes[i]
		one.Cells = cells[0]
		if r.Discover != "" {
			one.Directory = directories[r.Discover]
			cells = cells[1:]
			continue
		}
		names := r.Names()
		one.Service = heads[names[0]]
		if one.Split != nil {
			for k, name := range names {
				one.Split.Variants[k] = exchange.Variant{Service: heads[name], Cells: cells[k]}
			}
		}
		cells = cells[len(names):]
	}
}

// tracing is what exchanges need for traces and ids of requests; nil: neither is asked for.
func (p *Proxy) tracing(c *config.Config) (*exchange.Tracing, error) {
	t, needed := compile.Tracing(c)
	t.Seed = p.seed
	if p.opts.Spans != nil {
		var err error
		if t.Spans, err = p.opts.Spans(&c.Tracing); err != nil {
			return nil, err
		}
	}
	if !needed && t.Spans == nil {
		return nil, nil
	}
	return t, nil
}

// applyServices starts or configures the services of a plan. It returns them, and their entries
// for the new table, both by name. Called with applying held.
func (p *Proxy) applyServices(plan *compile.Plan) (map[string]*liveService, map[string]*exchange.Service) {
	next := make(map[string]*liveService, len(plan.Services))
	heads := make(map[string]*exchange.Service, len(plan.Services))
	for _, name := range slices.Sorted(maps.Keys(plan.Services)) { // in order: a run can be repeated
		sp := plan.Services[name]
		r := p.state.Load().services[name]
		if r == nil {
			r = p.revive(name, nil, nil)
		}
		if r == nil {
			r = p.start(name, sp)
		} else {
			r.configure(p, sp)
		}
		next[name] = r
		heads[name] = &exchange.Service{Service: r.Service, Name: name, Policy: sp.Config.Policy.Type, Key: sp.Key, Lanes: sp.Lanes, Sticky: sp.Sticky, Retry: sp.Retry, Hedge: sp.Hedge, Priorities: sp.Priorities, Announces: sp.Connections.ProxyProtocol != 0, Reports: sp.Config.LoadReports}
	}
	return next, heads
}

// admit puts the limits of connections in force, and warns if the process has too few
// descriptors for them.
func (p *Proxy) admit(l *config.Limits, trusted []netip.Prefix) {
	p.admission.Configure(admission.Limits{Connections: l.Connections, PerClient: l.ConnectionsPerClient, Exempt: trusted})
	if most := p.admission.Capped(); most > 0 {
		p.opts.Logger.Warn("limits.connections is more than the open files of this process allow (ulimit -n)",
			"limits.connections", l.Connections, "in force", most, "open files", p.opts.Descriptors)
	}
}

// applyDirectories makes or configures the directories of a plan and returns them by name. Called
// with applying held.
func (p *Proxy) applyDirectories(plan *compile.Plan) map[string]*directory {
	next := make(map[string]*directory, len(plan.Discover))
	for _, name := range slices.Sorted(maps.Keys(plan.Discover)) {
		d := p.state.Load().directories[name]
		if d == nil {
			d = newDirectory(p, name)
		}
		d.configure(plan.Discover[name])
		next[name] = d
	}
	return next
}

// replace makes next the state in force, and retires the services and closes the directories that
// it does not have. Called with applying held.
func (p *Proxy) replace(next *state) {
	old := p.state.Swap(next)
	for _, name := range slices.Sorted(maps.Keys(old.services)) {
		if next.services[name] == nil {
			p.retire(old.services[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.directories)) {
		if next.directories[name] == nil {
			old.directories[name].close()
		}
	}
}
