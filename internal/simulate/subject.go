package simulate

// A Subject is the service that is simulated: its settings as the proxy compiles them from a
// configuration, and its endpoints. Files that the configuration names are not read, and nothing
// is asked: a service whose endpoints come from a source has eight made-up ones.

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/nearest"
)

// madeUp is how many endpoints a service has of which none is known.
const madeUp = 8

// A Subject is what is simulated. It is not modified by runs, which any number of goroutines may do
// at once.
type Subject struct {
	Name string // of the service
	Note string // what is not as in the configuration, for people; empty: nothing
	// Timeout is the longest one of the routes that lead to the service; 0: the configuration has
	// none. It is for scenarios that do not say one.
	Timeout time.Duration
	// Recorded are the requests of an access log; nil: a scenario's load comes.
	Recorded *Recorded

	config config.Service
	zone   string // of the proxy
	specs  []endpoint.Spec
}

// Default is a service with eight endpoints and the default settings.
func Default() *Subject {
	s := &Subject{Name: "service", config: config.Service{}}
	s.makeUp(madeUp)
	return s
}

// New takes a service of a configuration; name may be empty if there is only one. Errors are those
// of an operator's mistake.
func New(c *config.Config, name string) (*Subject, error) {
	names := slices.Sorted(maps.Keys(c.Services))
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	conf, ok := c.Services[name]
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("the configuration has no service of its own, so there is nothing to simulate")
	case name == "":
		return nil, fmt.Errorf("the configuration has several services: choose one of %s", strings.Join(names, ", "))
	case !ok:
		hint := ": it is one of " + strings.Join(names, ", ")
		if near := nearest.Word(name, names); near != "" {
			hint = ", did you mean " + near + "?"
		}
		return nil, fmt.Errorf("there is no service %s%s", name, hint)
	}
	s := &Subject{Name: name, config: conf, zone: compile.Zone(c)}
	for i := range c.Routes {
		if c.Routes[i].Service == name {
			s.Timeout = max(s.Timeout, c.Routes[i].Timeout)
		}
	}
	if conf.Source != nil {
		s.makeUp(madeUp)
		s.Note = fmt.Sprintf("the endpoints of %s come from a source, which was not asked: %d made-up ones take their place", name, madeUp)
	} else {
		feed, _, err := compile.Listed(config.Key("services", name), conf)
		if err != nil {
			return nil, err
		}
		s.specs = slices.DeleteFunc(feed.Static, func(e endpoint.Spec) bool { return e.Out })
		if len(s.specs) == 0 {
			return nil, fmt.Errorf("all endpoints of %s are drained", name)
		}
	}
	slices.SortFunc(s.specs, func(a, b endpoint.Spec) int { return a.Compare(b.ID) })
	_, err := s.plan(s.Policy(), s.zone, "")
	return s, err
}

// bounded reports whether the service bounds what is under way.
func (s *Subject) bounded() bool {
	o := &s.config.Overload
	return o.MaxInFlight > 0 || o.EndpointMaxInFlight.Limit != ""
}

// withoutBounds is the subject without that.
func (s *Subject) withoutBounds() *Subject {
	free := *s
	free.config.Overload = config.Overload{}
	return &free
}

// makeUp gives the subject n endpoints.
func (s *Subject) makeUp(n int) {
	s.specs = nil
	for i := range n {
		s.specs = append(s.specs, endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: fmt.Sprintf("10.0.0.%d:80", i+1)}})
	}
}

// Policy is the name of the policy of the configuration.
func (s *Subject) Policy() string { return config.Fill(s.config).Policy.Type }

// Policies are the names of all policies that the subject can be simulated with: that of the
// configuration first, then the others. consistent_hash is among them only if it is that one,
// because how even it is depends on keys.
func (s *Subject) Policies() []string {
	names := []string{s.Policy()}
	for _, name := range PolicyNames() {
		if name != names[0] && name != "consistent_hash" {
			names = append(names, name)
		}
	}
	return names
}

// PolicyNames are the words of the configuration.
func PolicyNames() []string {
	field, _ := reflect.TypeFor[config.Policy]().FieldByName("Type")
	return strings.Split(field.Tag.Get("enum"), ",")
}

// plan compiles the service with another policy, for a proxy in a zone; name tells it from others.
func (s *Subject) plan(policy, zone, name string) (*compile.ServicePlan, error) {
	conf := s.config
	if name != "" {
		conf.Subset.Proxy = name
	}
	conf.TLS, conf.Source = nil, nil // files and servers that are not needed
	if conf.Policy.Type = policy; policy != s.Policy() {
		conf.Policy = config.Policy{Type: policy}
	}
	if len(conf.Endpoints) == 0 {
		for _, e := range s.specs {
			conf.Endpoints = append(conf.Endpoints, config.Endpoint{URL: e.URL()})
		}
	}
	feed := func(string, config.Service) (compile.Feed, error) { return compile.Feed{Static: s.specs}, nil }
	p, err := compile.Config(config.Config{
		Zone:     zone,
		Services: map[string]config.Service{s.Name: conf},
		Routes:   []config.Route{{Service: s.Name}},
	}, feed)
	if err != nil {
		return nil, err
	}
	return p.Services[s.Name], nil
}

// Endpoints is how many there are.
func (s *Subject) Endpoints() int { return len(s.specs) }

// Zones are those of the endpoints, as the scenario has them.
func (s *Subject) Zones(sc *Scenario) []string {
	servers, err := s.servers(sc)
	if err != nil {
		return nil
	}
	return Zones(specsOf(servers))
}

// servers makes the servers of a run.
func (s *Subject) servers(sc *Scenario) ([]*server, error) {
	servers := make([]*server, len(s.specs))
	for i, spec := range s.specs {
		servers[i] = &server{spec: spec, time: sc.Time, factor: 1, free: make([]time.Duration, sc.Workers)}
		if s.Recorded != nil {
			servers[i].factor = s.Recorded.factor(spec.Address)
		}
	}
	for i := range sc.Endpoints {
		special := &sc.Endpoints[i]
		found, err := matching(special.Endpoint, specsOf(servers), func(i int) int { return len(servers[i].free) })
		if err != nil {
			at := config.Key(config.Index("endpoints", i), "endpoint")
			return nil, config.NewErrors(config.Problem{Path: at, Value: special.Endpoint, Message: err.Error()})
		}
		for _, n := range found {
			special.apply(servers[n])
		}
	}
	return servers, nil
}

// Rate is how many requests a second the scenario's load has, and how many the endpoints could
// serve, faults left out.
func (s *Subject) Rate(sc *Scenario) (rate, capacity float64, err error) {
	servers, err := s.servers(sc)
	if err != nil {
		return 0, 0, err
	}
	for _, one := range servers {
		capacity += s.capacity(one)
	}
	switch {
	case s.Recorded != nil:
		rate = s.Recorded.rate() * sc.Load.Speed
	case sc.Load.Rate > 0:
		rate = sc.Load.Rate
	default:
		rate = capacity * float64(sc.Load.Utilization) / 100
	}
	return rate, capacity, nil
}

// apply gives a server what is special about it.
func (special *Server) apply(one *server) {
	one.factor *= special.Factor
	if special.Workers > 0 {
		one.free = make([]time.Duration, special.Workers)
	}
	if special.Time != nil {
		one.time = *special.Time
	}
	if special.Zone != "" {
		one.spec.Zone = special.Zone
	}
	if special.Priority > 0 {
		one.spec.Priority = special.Priority
	}
}

// capacity is how many requests a second a server can serve.
func (s *Subject) capacity(one *server) float64 {
	mean := one.time.mean()
	if s.Recorded != nil {
		mean = s.Recorded.mean
	}
	return float64(len(one.free)) / (float64(mean) * one.factor) * float64(time.Second)
}

// Duration is how long requests come.
func (s *Subject) Duration(sc *Scenario) time.Duration {
	if s.Recorded != nil {
		return s.Recorded.Span(sc.Load.Speed)
	}
	return sc.Load.Duration
}

// Run simulates the subject with a policy, by its name, in a scenario that has its defaults. An
// error with problems, as those of config.Errors, is about the scenario.
func (s *Subject) Run(sc *Scenario, policy string) (*Report, error) {
	plans, err := s.plans(sc, policy)
	if err != nil {
		return nil, err
	}
	p := plans[0]
	servers, err := s.servers(sc)
	if err != nil {
		return nil, err
	}
	rate, _, err := s.Rate(sc)
	if err != nil {
		return nil, err
	}
	duration := s.Duration(sc)
	warm := sc.WarmUp
	if s.Recorded != nil {
		warm = min(warm, duration/10)
	}
	w := &world{now: start, scenario: sc, servers: servers, from: start + warm, keyed: p.Key != nil || p.Settings.Custom}
	w.proxies = make([]proxy, sc.Proxies)
	for i := range w.proxies {
		w.proxies[i].retry, w.proxies[i].hedge, w.proxies[i].ranks = &p.Retry, p.Hedge, p.Priorities != nil
	}
	if w.changes, err = plan(sc.Faults, servers, start, start+duration); err != nil {
		return nil, err
	}
	w.report = &Report{Policy: policy, Latency: newHistogram(), Interval: max(duration/samples, 1)}
	if sc.Load.ranked() {
		w.report.Classes = newClasses()
	}
	w.sample = start + w.report.Interval
	w.tasks = newTasks(w, uint64(sc.Seed))
	for i, c := range w.changes {
		w.events.add(event{at: c.at, kind: evChange, n: int32(i)})
	}
	w.serve(plans)
	defer w.stop()
	w.run(s.source(sc, rate))
	for _, one := range servers {
		one.report.Name, one.report.Zone, one.report.Workers = one.spec.URL(), one.spec.Zone, len(one.free)
		w.report.Endpoints = append(w.report.Endpoints, one.report)
	}
	return w.report, nil
}

// plans are those of the proxies of a run, which may be in several zones and have names for their
// subsets.
func (s *Subject) plans(sc *Scenario, policy string) ([]*compile.ServicePlan, error) {
	plans := make([]*compile.ServicePlan, sc.Proxies)
	for i := range plans {
		zone := s.zone
		if len(sc.Zones) > 0 {
			zone = sc.Zones[i%len(sc.Zones)]
		}
		var err error
		if plans[i], err = s.plan(policy, zone, fmt.Sprint("proxy-", i)); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

// source is where the requests of a run come from.
func (s *Subject) source(sc *Scenario, rate float64) source {
	if s.Recorded != nil {
		return s.Recorded.source(sc.Load.Speed)
	}
	return newChance(sc.Load, rate, uint64(sc.Seed))
}

// Without returns the scenario with endpoints that crash for good after a third of the duration,
// by the words of Fault.Endpoints.
func (s Scenario) Without(duration time.Duration, words ...string) Scenario {
	s.Faults = append(slices.Clone(s.Faults), Fault{Kind: "crash", Endpoints: words, At: duration / 3})
	return s.WithDefaults()
}
