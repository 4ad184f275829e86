// Package compile makes a configuration concrete: texts become trees, rules, policies and
// settings. Nothing is started and nothing that runs is changed, so a configuration with
// mistakes is refused as a whole, with all of them.
//
//	config.Config ─Config─► Plan ─┬─ Table           what exchanges read, without services
//	                              ├─ Services        plans that internal/core starts or
//	                              │                  configures services by
//	                              └─ Discover        the same for services that requests name
//
// Example: of the route {match: {path: /cart/**}, service: shop, timeout: 3s} the Table has
// a pattern in its Tree and an exchange.Route with Timeout 3 s and Whole; its Service is
// filled in by internal/core, which knows the running service "shop".
package compile

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/grpcweb"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/rewrite"
	"github.com/poise-lb/poise/internal/route"
)

// A Plan is a configuration made concrete. It belongs to its caller.
type Plan struct {
	Config   config.Config // with defaults
	Services map[string]*ServicePlan
	Discover map[string]*DirectoryPlan
	// Table lacks what the running proxy knows: the Service, Directory and Cells of every
	// route and of the variants of its Split, the Logger, the Sink, the Tracing and the counters.
	Table exchange.Table
}

// A Feed is where a service's endpoints come from: a set that never changes, or a source.
type Feed struct {
	Static []endpoint.Spec
	Source discovery.Source // nil: Static is all
}

// Parts is a Source that is made of several and tells them apart. Tap is called before Run; hear
// then gets what each part publishes, by its name, before that goes into the union. It returns the
// names; none: the source is one.
type Parts interface {
	Tap(hear func(name string, u discovery.Update)) (names []string)
}

// A Feeder says where the endpoints of a service come from. path is the service's in the
// configuration, for errors.
type Feeder func(path string, s config.Service) (Feed, error)

// HeadTimeout bounds the wait for a response head where a route says nothing.
const HeadTimeout = 60 * time.Second

// forever is no limit: instants are counted with it, and still far from their end.
const forever = time.Duration(1) << 60

// patience is a duration of the configuration that may be none.
func patience(d time.Duration) time.Duration {
	if d == config.None {
		return forever
	}
	return d
}

// Config compiles a configuration. The error is a *config.Errors with every problem found.
// It may read files and call feed, so it may take its time.
func Config(c config.Config, feed Feeder) (*Plan, error) {
	full := c.WithDefaults()
	if err := full.Validate(); err != nil {
		return nil, err
	}
	trusted, err := full.Trusted()
	if err != nil {
		return nil, err
	}
	p := &Plan{Config: full, Services: make(map[string]*ServicePlan), Discover: make(map[string]*DirectoryPlan)}
	problems := p.compileServices(feed)
	patterns, bad := p.compileRoutes()
	problems = append(problems, bad...)
	if len(problems) == 0 {
		if p.Table.Tree, err = route.Build(patterns); err != nil {
			problems = append(problems, conflictProblem(err)...)
		}
	}
	if len(problems) > 0 {
		return nil, config.NewErrors(problems...)
	}
	p.Table.Trusted, p.Table.Interim, p.Table.InFlight = trusted, full.Limits.Interim, full.Limits.InFlight
	p.Table.Stall, p.Table.Tunnel = full.Timeouts.Stall, max(full.Timeouts.Tunnel, 0)
	return p, nil
}

// compileServices fills in Services and Discover.
func (p *Plan) compileServices(feed Feeder) (problems []config.Problem) {
	for name, s := range p.Config.Services {
		at := config.Key("services", name)
		sp, err := compileService(at, s, Zone(&p.Config), labelsOf(&p.Config, name, ""), ClientSettings(&p.Config), feed)
		if err != nil {
			problems = append(problems, problemsOf(at, err)...)
			continue
		}
		sp.Snapshots = p.Config.Snapshot
		p.Services[name] = sp
	}
	for name := range p.Config.Discover {
		d, err := compileDirectory(name, &p.Config, feed)
		problems = append(problems, problemsOf(config.Key("discover", name), err)...)
		p.Discover[name] = d // nil if there are problems
	}
	return problems
}

// Pattern is what a route matches, for package route.
func Pattern(m *config.Match) route.Pattern {
	return route.Pattern{Listener: m.Listener, Host: m.Host, Path: m.PathPattern(), Methods: m.Methods, GRPC: m.GRPC != ""}
}

// compileRoutes fills in Table.Routes and returns their patterns, by the same index.
func (p *Plan) compileRoutes() (patterns []route.Pattern, problems []config.Problem) {
	for i, r := range p.Config.Routes {
		pattern := Pattern(&r.Match)
		rules, err := rewrite.Compile(r.Rewrite, r.Headers)
		problems = append(problems, problemsOf(config.Index("routes", i), err)...)
		split, err := compileSplit(config.Index("routes", i), r.Split)
		problems = append(problems, problemsOf(config.Index("routes", i), err)...)
		filters, err := filter.Compile(Filters(&r))
		problems = append(problems, problemsOf(config.Index("routes", i), err)...)
		problems = append(problems, patternProblem(i, pattern.Check())...)
		patterns = append(patterns, pattern)
		p.Table.Routes = append(p.Table.Routes, exchange.Route{
			Index:   i,
			Name:    r.Name,
			Pattern: pattern.Path,
			Rules:   rules,
			Filters: filters,
			Split:   split,
			Lane:    laneOf(r.Labels),
			Timeout: patience(cmp.Or(r.Timeout, HeadTimeout)),
			Whole:   r.Timeout > 0,
			Stall:   patience(r.Stall),
			Lenient: r.Paths == "lenient",
			Hedge:   hedgeMethods[r.Hedge],
			CORS:    r.CORS != nil,
			Segment: slices.Index(strings.Split(pattern.Path, "/"), "{service}") - 1,
		})
	}
	p.Table.Preflights = slices.ContainsFunc(p.Table.Routes, func(r exchange.Route) bool { return r.CORS })
	return patterns, problems
}

// Filters are the filters of a route: those that its keys ask for, and those of the program.
func Filters(r *config.Route) []filter.Filter {
	all := slices.Clone(r.Filters)
	if c := r.CORS; c != nil {
		o := filter.CORSOptions{Origins: c.Origins, Headers: c.Headers, Expose: c.Expose, Credentials: c.Credentials, MaxAge: c.MaxAge}
		if r.GRPCWeb {
			o.Expose = append(slices.Clone(o.Expose), grpcweb.Exposed...)
		}
		all = append(all, filter.NewCORS(o))
	}
	if r.GRPCWeb {
		all = append(all, grpcweb.New())
	}
	return all
}

// RouteNames are the identities of the routes and where they lead, in their order, for counters. A
// route with a split has one for each of its services.
func (p *Plan) RouteNames() (names []record.RouteName) {
	for i := range p.Config.Routes {
		r := &p.Config.Routes[i]
		if r.Split == nil {
			names = append(names, record.RouteName{Name: r.Identity(), Service: r.Leads()})
			continue
		}
		for _, service := range r.Names() {
			names = append(names, record.RouteName{Name: r.Identity(), Service: service, Shared: true})
		}
	}
	return names
}

// ClientSettings are what connections of clients are held to.
func ClientSettings(c *config.Config) *downstream.Settings {
	t := &c.Timeouts
	return &downstream.Settings{
		Head: t.Head, Idle: t.Idle, Stall: t.Stall, Limits: headLimits(c.Limits),
		FINLeaves: c.HalfClose == "leave",
		Streams:   c.Limits.Streams, Requests: c.Limits.Requests, MaxAge: max(t.MaxAge, 0),
	}
}

func headLimits(l config.Limits) limits.Head {
	return limits.Head{Bytes: l.Head, Fields: l.Fields, Target: l.Target}
}

// Static is the Feeder of a proxy without sources: it reads the list of literal addresses.
func Static(path string, s config.Service) (Feed, error) {
	var f Feed
	for i, e := range s.Endpoints {
		spec, host, err := e.Parse()
		at := config.Index(path+".endpoints", i)
		if err != nil {
			return f, config.NewErrors(config.Problem{Path: at, Value: e.URL, Message: err.Error()})
		}
		if host != "" {
			return f, config.NewErrors(config.Problem{Path: at, Value: e.URL, Message: "host names are not resolved here: use an address"})
		}
		f.Static = append(f.Static, spec)
	}
	return f, nil
}

// Listed is the static list of a service without asking anything: a host name stands for its
// addresses. why says which endpoints are not known; empty: all are. The list of a service with a
// source is empty.
func Listed(path string, s config.Service) (feed Feed, why string, err error) {
	if s.Source != nil {
		if list, ok := s.Source.Custom.(discovery.Static); ok {
			return Feed{Static: list}, "", nil
		}
		return feed, "its endpoints come from a source, which was not asked", nil
	}
	for i, e := range s.Endpoints {
		spec, host, err := e.Parse()
		if err != nil {
			at := config.Index(path+".endpoints", i)
			return feed, "", config.NewErrors(config.Problem{Path: at, Value: e.URL, Message: err.Error()})
		}
		if host != "" {
			why = "host names such as " + host + " are not resolved here: each stands for its addresses, by which the keys of consistent hashing go"
		}
		feed.Static = append(feed.Static, spec)
	}
	return feed, why, nil
}
