package plan

// Make: from what runs and a new configuration to a Plan. Nothing is changed, started or asked.

import (
	"fmt"
	"maps"
	"slices"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/service"
)

// A State is what a plan begins with.
type State struct {
	// Config is the configuration in force. Its zero value: there is none, all is new.
	Config     config.Config
	Generation uint64 // of Config; 0: it is not in force
	// Live returns the endpoints of a running service. Nil: what static lists say is all that is
	// known.
	Live func(name string) []service.EndpointStatus
	// Feed is asked for what Apply would ask it: so a source that cannot be made is a mistake.
	// Nil: sources are not looked at.
	Feed compile.Feeder
}

// maker is one Make.
type maker struct {
	state     State
	old, next *compile.Plan
	plan      Plan
}

// Make says what Apply would do with c. The error is that of Apply: it has all mistakes in c, and
// Problems() []config.Problem.
func Make(s State, c config.Config) (Plan, error) {
	offline := func(path string, s config.Service) (compile.Feed, error) {
		feed, _, err := compile.Listed(path, s)
		return feed, err
	}
	m := &maker{state: s}
	var err error
	if s.Feed == nil {
		s.Feed = offline
	}
	if m.next, err = compile.Config(c, s.Feed); err != nil {
		return Plan{}, err
	}
	if m.old, err = compiled(s.Config, offline); err != nil {
		return Plan{}, fmt.Errorf("the configuration in force cannot be compared, since it has mistakes by now: %w", hideProblems{err})
	}
	m.fill()
	return m.plan, nil
}

// compiled compiles a configuration that may be none at all.
func compiled(c config.Config, feed compile.Feeder) (*compile.Plan, error) {
	if len(c.Services)+len(c.Discover) == 0 {
		return &compile.Plan{}, nil
	}
	return compile.Config(c, feed)
}

// hideProblems is an error without Problems: they are not about the new configuration.
type hideProblems struct{ err error }

func (h hideProblems) Error() string { return h.err.Error() }

func (m *maker) fill() {
	p, old, next := &m.plan, &m.old.Config, &m.next.Config
	p.Generation, p.Hash = m.state.Generation, hash(m.state.Generation, old, next)
	p.Routes = orEmpty(routes(old.Routes, next.Routes))
	p.Discover = orEmpty(discover(old.Discover, next.Discover))
	p.Listeners = orEmpty(listeners(old, next))
	p.Restart = orEmpty(restart(old, next))
	p.Settings = orEmpty(diff(*old, *next, "version", "listen", "services", "discover", "routes"))
	if old.Version == 0 {
		p.Settings, p.Restart = []Edit{}, []string{} // nothing ran: all of it is new
	}
	if reordered(old.Routes, next.Routes) {
		p.Settings = append(p.Settings, Edit{Key: "routes", Old: "in one order", New: "in another order"})
		p.Notes = append(p.Notes, "the order of routes decides only between two that name the same host, path and method")
	}
	p.Services = []Service{}
	all := maps.Clone(old.Services)
	if all == nil {
		all = make(map[string]config.Service)
	}
	maps.Copy(all, next.Services)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		one, changed := m.service(name)
		if changed {
			p.Services = append(p.Services, one)
		}
		m.note(name)
	}
	p.Changes = len(p.Routes)+len(p.Services)+len(p.Discover)+len(p.Settings)+len(p.Listeners)+len(p.Restart) > 0
}

// note adds what a plan cannot know of a service.
func (m *maker) note(name string) {
	is, has := m.next.Config.Services[name]
	if !has {
		return
	}
	if _, why, _ := compile.Listed("", is); why != "" && (is.Source == nil || m.state.Live == nil) {
		m.plan.Notes = append(m.plan.Notes, "service "+name+": "+why)
	}
}

// orEmpty is a list that JSON shows as one, also if it is empty.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
