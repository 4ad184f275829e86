package core

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/filewatch"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/rewrite"
	"github.com/poise-lb/poise/internal/route"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/policy"
)

// plan is a configuration made concrete. Nothing has been started or changed when it is
// complete, so that a configuration with mistakes is refused as a whole.
type plan struct {
	config   config.Config
	tree     *route.Tree
	routes   []routePlan
	services map[string]*servicePlan
	discover map[string]*directoryPlan
	table    exchange.Table // without routes
}

// headTimeout bounds the wait for a response head where a route says nothing.
const headTimeout = 60 * time.Second

// forever is no limit: instants are counted with it, and still far from their end.
const forever = time.Duration(1) << 60

// patience is a duration of the configuration that may be none.
func patience(d time.Duration) time.Duration {
	if d == config.None {
		return forever
	}
	return d
}

type routePlan struct {
	rules   *rewrite.Rules
	filters *filter.Chain // nil: none
	timeout time.Duration
	whole   bool // the timeout was given, so it bounds the whole exchange
	stall   time.Duration
	lenient bool // a backslash in a path is a character
	segment int  // of the path that names the service, where it is discovered
}

// A feeder says where the endpoints of a service come from: see Options.Feed.
type feeder func(path string, s config.Service) (Feed, error)

type servicePlan struct {
	config      config.Service
	settings    service.Settings // without Probe, Attach and Discard
	connections *upstream.Settings
	ca          filewatch.Sum   // of the file TLS.CA when it was read; zeros: none is named
	probe       *upstream.Probe // nil: none
	key         *affinity.Key
	retry       exchange.Retry
	feed        Feed
	snapshots   string // folder; empty: none are kept
}

// compile reports every problem it finds.
func compile(c config.Config, feed feeder) (*plan, error) {
	full := c.WithDefaults()
	if err := full.Validate(); err != nil {
		return nil, err
	}
	p := &plan{config: full, services: make(map[string]*servicePlan), discover: make(map[string]*directoryPlan)}
	var problems []config.Problem
	for name, s := range full.Services {
		at := config.Key("services", name)
		sp, err := compileService(at, s, wireSettings(&full), feed)
		if err != nil {
			problems = append(problems, problemsOf(at, err)...)
			continue
		}
		sp.snapshots = full.Snapshot
		p.services[name] = sp
	}
	for name := range full.Discover {
		d, err := compileDirectory(name, &full, feed)
		problems = append(problems, problemsOf(config.Key("discover", name), err)...)
		p.discover[name] = d // nil if there are problems
	}
	patterns, bad := p.compileRoutes()
	problems = append(problems, bad...)
	if len(problems) == 0 {
		var err error
		if p.tree, err = route.Build(patterns); err != nil {
			problems = append(problems, conflictProblem(err)...)
		}
	}
	if len(problems) > 0 {
		return nil, config.NewErrors(problems...)
	}
	trusted, err := full.Trusted()
	if err != nil {
		return nil, err
	}
	p.table = exchange.Table{
		Tree: p.tree, Trusted: trusted, Interim: full.Limits.Interim,
		Stall: full.Timeouts.Stall, Tunnel: max(full.Timeouts.Tunnel, 0),
	}
	return p, nil
}

// wireSettings are what connections of clients are held to.
func wireSettings(c *config.Config) *downstream.Settings {
	t := &c.Timeouts
	return &downstream.Settings{
		Head: t.Head, Idle: t.Idle, Stall: t.Stall, Limits: headLimits(c.Limits),
		FINLeaves: c.HalfClose == "leave",
	}
}

func headLimits(l config.Limits) limits.Head {
	return limits.Head{Bytes: l.Head, Fields: l.Fields, Target: l.Target}
}

// compileRoutes fills in routes and returns their patterns.
func (p *plan) compileRoutes() (patterns []route.Pattern, problems []config.Problem) {
	for i, r := range p.config.Routes {
		pattern := route.Pattern{Host: r.Match.Host, Path: r.Match.Path, Methods: r.Match.Methods}
		rules, err := rewrite.Compile(r.Rewrite, r.Headers)
		problems = append(problems, problemsOf(config.Index("routes", i), err)...)
		filters, err := filter.Compile(r.Filters)
		problems = append(problems, problemsOf(config.Index("routes", i), err)...)
		problems = append(problems, patternProblem(i, pattern.Check())...)
		patterns = append(patterns, pattern)
		p.routes = append(p.routes, routePlan{
			rules: rules, filters: filters, timeout: patience(cmp.Or(r.Timeout, headTimeout)), whole: r.Timeout > 0,
			stall: patience(r.Stall), lenient: r.Paths == "lenient",
			segment: slices.Index(strings.Split(r.Match.Path, "/"), "{service}") - 1,
		})
	}
	return patterns, problems
}

// problemsOf gives errors of compiled parts the path of what they were compiled from.
func problemsOf(at string, err error) []config.Problem {
	var known interface{ Problems() []config.Problem }
	var joined interface{ Unwrap() []error }
	var edit *rewrite.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known.Problems()
	case errors.As(err, &joined):
		var out []config.Problem
		for _, e := range joined.Unwrap() {
			out = append(out, problemsOf(at, e)...)
		}
		return out
	case errors.As(err, &edit):
		return []config.Problem{{Path: at + "." + edit.Field, Message: edit.Reason}}
	}
	return []config.Problem{{Path: at, Message: err.Error()}}
}

func patternProblem(i int, err error) []config.Problem {
	var bad *route.SyntaxError
	if !errors.As(err, &bad) {
		return nil
	}
	at := config.Index("routes", i) + ".match." + bad.Field
	return []config.Problem{{Path: at, Value: bad.Value, Message: fmt.Sprintf("%q: %s", bad.Value, bad.Reason)}}
}

func conflictProblem(err error) []config.Problem {
	var c *route.ConflictError
	if !errors.As(err, &c) {
		return []config.Problem{{Path: "routes", Message: err.Error()}}
	}
	return []config.Problem{{Path: config.Index("routes", c.J) + ".match",
		Message: fmt.Sprintf("matches exactly what routes[%d] matches", c.I)}}
}

func compileService(at string, s config.Service, t *downstream.Settings, feed feeder) (*servicePlan, error) {
	p := &servicePlan{config: s}
	var err error
	if p.settings.Policy, p.key, err = compilePolicy(at, s.Policy); err != nil {
		return nil, err
	}
	p.settings.Custom = s.Policy.Custom != nil
	if p.retry, err = compileRetry(s.Retry); err != nil {
		return nil, err
	}
	if p.feed, err = feed(at, s); err != nil {
		return nil, err
	}
	secure, err := p.compileTLS(at)
	if err != nil {
		return nil, err
	}
	p.connections = &upstream.Settings{
		ConnectTimeout: s.Connections.ConnectTimeout,
		IdleTimeout:    s.Connections.IdleTimeout,
		StallTimeout:   t.Stall,
		Limits:         t.Limits,
		MaxIdle:        s.Connections.MaxIdle,
		Max:            s.Connections.Max,
		TLS:            secure,
	}
	p.settings.PanicThreshold = s.PanicThreshold
	p.settings.SlowStart = service.SlowStart{Window: s.SlowStart.Window, From: s.SlowStart.From}
	p.settings.Guard = service.Guard{MaxRemoval: s.Guard.MaxRemoval, Hold: s.Guard.Hold}
	p.settings.Breaker = health.Breaker{
		Off:                 s.Breaker.Off,
		ConsecutiveFailures: s.Breaker.ConsecutiveFailures,
		FailureRate:         s.Breaker.FailureRate,
		MinRequests:         s.Breaker.MinRequests,
		OpenFor:             s.Breaker.OpenFor,
		Trials:              s.Breaker.Trials,
	}
	return p, compileHealth(p, s.Health)
}

func compileHealth(p *servicePlan, h *config.Health) error {
	if h == nil {
		return nil
	}
	method, path, err := h.Request()
	if err != nil {
		return err
	}
	expect, err := h.Statuses()
	if err != nil {
		return err
	}
	match, err := h.Matcher()
	if err != nil {
		return err
	}
	p.probe = &upstream.Probe{
		Port: h.Port, Method: method, Path: path, Host: h.Host, Match: match,
		Expect: func(status int) bool {
			return slices.ContainsFunc(expect, func(r config.StatusRange) bool { return r.Has(status) })
		},
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		if strings.EqualFold(name, "host") {
			p.probe.Host = h.Headers[name]
			continue
		}
		p.probe.Fields = append(p.probe.Fields, message.NewField(name, h.Headers[name]))
	}
	p.settings.Check = &service.Check{
		Interval:       h.Interval,
		Timeout:        h.Timeout,
		UnhealthyAfter: h.UnhealthyAfter,
		HealthyAfter:   h.HealthyAfter,
	}
	p.settings.ProbeID = fmt.Sprintf("%s %s host=%s port=%d expect=%v headers=%q match=%q",
		method, path, h.Host, h.Port, expect, h.Headers, h.Match)
	return nil
}

func compilePolicy(at string, c config.Policy) (policy.Policy, *affinity.Key, error) {
	if c.Custom != nil {
		key, err := compileKey(at, c.Key)
		return c.Custom, key, err
	}
	switch c.Type {
	case "round_robin":
		return policy.RoundRobin(), nil, nil
	case "weighted_round_robin":
		return policy.WeightedRoundRobin(), nil, nil
	case "least_connections":
		return policy.LeastConnections(), nil, nil
	case "random":
		return policy.Random(), nil, nil
	case "peak_ewma":
		return policy.PeakEWMA(), nil, nil
	case "consistent_hash":
		key, err := compileKey(at, c.Key)
		return policy.ConsistentHash(policy.HashConfig{Algorithm: c.Algorithm, BoundedLoad: c.BoundedLoad}), key, err
	}
	return policy.P2C(), nil, nil // Validate has refused other words
}

func compileKey(at, expr string) (*affinity.Key, error) {
	if expr == "" {
		return nil, nil
	}
	key, err := affinity.Parse(expr)
	if err != nil {
		return nil, config.NewErrors(config.Problem{Path: at + ".policy.key", Value: expr, Message: err.Error()})
	}
	return key, nil
}

func compileRetry(c config.Retry) (exchange.Retry, error) {
	on, err := c.Conditions()
	r := exchange.Retry{Attempts: min(c.Attempts, policy.AttemptsMax), Connect: on.Connect, Reset: on.Reset, Timeout: on.Timeout, SameAfter: max(c.SameAfter, 0)}
	for _, s := range on.Statuses {
		r.Statuses[s] = true
	}
	return r, err
}
