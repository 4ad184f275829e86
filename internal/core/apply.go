package core

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
	"github.com/poise-lb/poise/internal/exchange"
)

// How a configuration comes into force: it is compiled, which may fail and changes nothing;
// services are started or configured, in order of their names; then one store publishes the
// new table, and what is not named any more is retired. Exchanges never wait for any of it.

// Apply replaces the configuration. Exchanges under way end under the one they began
// with; the state of endpoints, and connections to them, live on. If c has mistakes
// nothing changes. After Close it returns engine.ErrStopping.
func (p *Proxy) Apply(c config.Config) error {
	p.applying.Lock()
	defer p.applying.Unlock()
	return p.reload(c)
}

// Reread applies the configuration in force again, because a file that it names has
// another content. If that is of no use nothing changes and the error says why.
func (p *Proxy) Reread() error {
	p.applying.Lock()
	defer p.applying.Unlock()
	return p.reload(*p.config.Load())
}

// reload is Apply with applying held; it publishes how that went.
func (p *Proxy) reload(c config.Config) error {
	err := p.apply(c)
	switch {
	case err == nil:
		p.generation++
		now := p.config.Load()
		p.events.Publish("", event.ConfigApplied{Generation: p.generation, Services: len(now.Services), Routes: len(now.Routes)})
	case !errors.Is(err, engine.ErrStopping):
		p.events.Publish("", event.ConfigRefused{Err: err})
	}
	return err
}

// apply puts a configuration in force. Called with applying held.
func (p *Proxy) apply(c config.Config) error {
	if p.stopping.Load() {
		return engine.ErrStopping
	}
	plan, err := compile.Config(c, p.opts.Feed)
	if err != nil {
		return err
	}
	table := plan.Table
	table.Logger, table.Unmatched, table.Admission = p.opts.Logger, p.routes.Unmatched(), p.admission
	if p.opts.Sink != nil {
		table.Sink = p.opts.Sink(plan.Config.AccessLog)
	}
	services, heads := p.employ(plan)
	directories := p.direct(plan)
	cells := p.routes.Name(plan.RouteNames(), p.rt.Now())
	for i, r := range plan.Config.Routes {
		one := &table.Routes[i]
		one.Cells, one.Service = cells[i], heads[r.Service]
		if r.Discover != "" {
			one.Directory = directories[r.Discover]
		}
	}
	p.table.Store(&table)
	p.config.Store(&plan.Config)
	p.settings.Store(compile.ClientSettings(&plan.Config))
	p.admit(&plan.Config.Limits, table.Trusted)
	p.replace(&state{services, directories})
	if p.opts.Files != nil {
		p.opts.Files(plan.Files())
	}
	if p.stopping.Load() { // a Close that came meanwhile has ended, or will end, what was started
		return engine.ErrStopping
	}
	return nil
}

// employ returns the services of a plan, started or configured, and what exchanges know of
// them. Called with applying held.
func (p *Proxy) employ(plan *compile.Plan) (map[string]*liveService, map[string]*exchange.Service) {
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
		heads[name] = &exchange.Service{Service: r.Service, Name: name, Key: sp.Key, Retry: sp.Retry}
	}
	return next, heads
}

// admit puts limits of connections in force.
func (p *Proxy) admit(l *config.Limits, trusted []netip.Prefix) {
	p.admission.Configure(admission.Limits{Connections: l.Connections, PerClient: l.ConnectionsPerClient, Exempt: trusted})
	if most := p.admission.Capped(); most > 0 {
		p.opts.Logger.Warn("limits.connections is more than the open files of this process allow (ulimit -n)",
			"limits.connections", l.Connections, "in force", most, "open files", p.opts.Descriptors)
	}
}

// direct returns the directories of a plan: those that are there already, configured, and
// new ones. Called with applying held.
func (p *Proxy) direct(plan *compile.Plan) map[string]*directory {
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

// replace puts next in force, and retires what it does not name any more. Called with
// applying held.
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
