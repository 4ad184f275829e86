package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/certs"
	"github.com/poise-lb/poise/internal/concurrency"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/policy"
)

// A ServicePlan is a service of the configuration made concrete: what package service, the
// connections to its endpoints and exchanges are given. It is not modified once a service
// runs by it.
type ServicePlan struct {
	Config      config.Service
	Settings    service.Settings // without Probe, Connect, Prober, Attach and Discard
	Connections *upstream.Settings
	TLS         *certs.Client    // never nil
	Probe       *upstream.Probe  // nil: none
	Key         *affinity.Key    // nil: the policy needs none
	Lanes       *affinity.Key    // what of a request names its lane; nil: there are none
	Sticky      *exchange.Sticky // nil: there is none
	Retry       exchange.Retry
	Hedge       *exchange.Hedge      // nil: none
	Priorities  *exchange.Priorities // nil: requests are alike
	Feed        Feed
	Snapshots   string // folder; empty: none are kept
}

// idleDefault is the default of connections.idle_timeout, by which Poise closes connections before
// common servers do: over HTTP/1.1 a request may meet that. Over HTTP/2 they announce it, by
// GOAWAY, so connections are kept for longer by default.
const (
	idleDefault = 4 * time.Second
	idleHTTP2   = time.Minute
)

// versions are the words of the key protocol.
var versions = map[string]upstream.Version{
	"http1": upstream.HTTP1, "http2": upstream.HTTP2, "auto": upstream.Negotiated,
}

// compileService makes the plan of one service; at is its path in the configuration, zone that of
// the proxy, and labels are those of the routes that lead to it.
func compileService(at string, s config.Service, zone string, labels []map[string]string, t *downstream.Settings, feed Feeder) (*ServicePlan, error) {
	p := &ServicePlan{Config: s}
	var err error
	if p.Settings.Policy, p.Key, err = compilePolicy(at, s.Policy, s.LoadReports); err != nil {
		return nil, err
	}
	if p.Settings.Shadow, err = compileShadow(at, s.Shadow, s.LoadReports); err != nil {
		return nil, err
	}
	p.Settings.ShadowName = s.Shadow
	p.Settings.Custom = s.Policy.Custom != nil
	p.compilePlaces(zone)
	if err := p.compileLanes(at+".lanes", s.Lanes, labels); err != nil {
		return nil, err
	}
	if err := p.compileSticky(at, s.Sticky); err != nil {
		return nil, err
	}
	if p.Retry, err = compileRetry(s.Retry); err != nil {
		return nil, err
	}
	if p.Hedge, err = p.compileHedge(s.Hedge); err != nil {
		return nil, err
	}
	if err = p.compileOverload(at+".overload", &s.Overload); err != nil {
		return nil, err
	}
	if p.Feed, err = feed(at, s); err != nil {
		return nil, err
	}
	if err := p.compileTLS(at); err != nil {
		return nil, err
	}
	p.Connections = &upstream.Settings{
		ConnectTimeout: s.Connections.ConnectTimeout,
		IdleTimeout:    s.Connections.IdleTimeout,
		StallTimeout:   t.Stall,
		Limits:         t.Limits,
		MaxIdle:        s.Connections.MaxIdle,
		Max:            s.Connections.Max,
		TLS:            p.TLS.Config,
		Version:        versions[s.Protocol],
		ProxyProtocol:  map[string]int{"v1": 1, "v2": 2}[s.ProxyProtocol],
		Streams:        s.Connections.Streams,
		Requests:       s.Connections.Requests,
		MaxAge:         s.Connections.MaxAge,
	}
	if s.Connections.IdleTimeout == idleDefault {
		p.Connections.IdleHTTP2 = idleHTTP2
	}
	p.Settings.PanicThreshold = s.PanicThreshold
	p.Settings.SlowStart = service.SlowStart{Window: s.SlowStart.Window, From: s.SlowStart.From}
	p.Settings.Guard = service.Guard{MaxRemoval: s.Guard.MaxRemoval, Hold: s.Guard.Hold}
	p.Settings.Breaker = health.Breaker{
		Off:                 s.Breaker.Off,
		ConsecutiveFailures: s.Breaker.ConsecutiveFailures,
		FailureRate:         s.Breaker.FailureRate,
		MinRequests:         s.Breaker.MinRequests,
		OpenFor:             s.Breaker.OpenFor,
		Trials:              s.Breaker.Trials,
	}
	p.Settings.Outliers = compileOutliers(&s)
	return p, compileHealth(p, s.Health)
}

// compileOutliers is what of a service's outliers counts; zero: they are not looked for.
func compileOutliers(s *config.Service) service.Outliers {
	o := s.Breaker.Outliers
	if o == nil || s.Breaker.Off {
		return service.Outliers{}
	}
	return service.Outliers{MaxEjected: o.MaxEjected, Limits: health.Limits{
		MinRequests: s.Breaker.MinRequests, FailureRate: max(o.FailureRate, 0), Latency: o.Latency,
	}}
}

func compileHealth(p *ServicePlan, h *config.Health) error {
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
	p.Probe = &upstream.Probe{
		Port: h.Port, Method: method, Path: path, Host: h.Host, Match: match,
		Expect: func(status int) bool {
			return slices.ContainsFunc(expect, func(r config.StatusRange) bool { return r.Has(status) })
		},
	}
	if service, ok := h.GRPC(); ok {
		p.Probe.GRPC = &upstream.GRPC{Service: service}
		path += " " + service // for ProbeID
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		if strings.EqualFold(name, "host") {
			p.Probe.Host = h.Headers[name]
			continue
		}
		p.Probe.Fields = append(p.Probe.Fields, message.NewField(name, h.Headers[name]))
	}
	p.Settings.Check = &service.Check{
		Interval:       h.Interval,
		Timeout:        h.Timeout,
		UnhealthyAfter: h.UnhealthyAfter,
		HealthyAfter:   h.HealthyAfter,
	}
	p.Settings.ProbeID = fmt.Sprintf("%s %s host=%s port=%d expect=%v headers=%q match=%q",
		method, path, h.Host, h.Port, expect, h.Headers, h.Match)
	return nil
}

// compileShadow makes the policy that is asked beside the service's own; nil: there is none.
func compileShadow(at, word string, reports bool) (policy.Policy, error) {
	if word == "" || word == "off" {
		return nil, nil
	}
	p, _, err := compilePolicy(at, config.Policy{Type: word}, reports)
	return p, err
}

// compilePolicy makes a policy, and the key that it goes by; reports: endpoints report their load.
func compilePolicy(at string, c config.Policy, reports bool) (policy.Policy, *affinity.Key, error) {
	if c.Custom != nil {
		key, err := compileKey(at+".policy.key", c.Key)
		return c.Custom, key, err
	}
	switch c.Type { // the words of the tag enum of config.Policy
	case "least_time":
		if reports {
			return policy.LeastTimeReported(), nil, nil
		}
		return policy.LeastTime(), nil, nil
	case "prequal":
		return policy.Prequal(), nil, nil
	case "p2c":
		return policy.P2C(), nil, nil
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
		key, err := compileKey(at+".policy.key", c.Key)
		return policy.ConsistentHash(policy.HashConfig{Algorithm: c.Algorithm, BoundedLoad: c.BoundedLoad}), key, err
	}
	// Validate has refused words that the enum lacks: this one is missing above.
	return nil, nil, config.NewErrors(config.Problem{Path: at + ".policy.type", Value: c.Type,
		Message: fmt.Sprintf("%q is a policy of the configuration that compilePolicy does not know", c.Type)})
}

// compileKey reads the expression of a key, which stands at the path at; nil: it is empty.
func compileKey(at, expr string) (*affinity.Key, error) {
	if expr == "" {
		return nil, nil
	}
	key, err := affinity.Parse(expr)
	if err != nil {
		return nil, config.NewErrors(config.Problem{Path: at, Value: expr, Message: err.Error()})
	}
	return key, nil
}

// compileOverload reads the bounds of the service, and the priorities of its requests.
func (p *ServicePlan) compileOverload(at string, o *config.Overload) (err error) {
	most, auto, err := o.EndpointMaxInFlight.Read()
	if err != nil {
		return err
	}
	p.Settings.Overload = service.Overload{InFlight: o.MaxInFlight, EndpointInFlight: most}
	if auto {
		p.Settings.Overload.Found = concurrency.Bounds{Min: int64(o.EndpointMaxInFlight.Min), Max: int64(o.EndpointMaxInFlight.Max)}
	}
	if q := o.Queue; q != nil {
		p.Settings.Overload.Queue, p.Settings.Overload.QueueTimeout = q.Length, q.Timeout
	}
	if c := o.Priority; c != nil {
		out := &exchange.Priorities{Anyone: c.Trust == "all", Classes: make(map[string]service.Priority)}
		for _, value := range c.High {
			out.Classes[value] = service.High
		}
		for _, value := range c.Low {
			out.Classes[value] = service.Low
		}
		p.Priorities = out
		out.By, err = compileKey(at+".priority.by", c.By)
	}
	return err
}

// hedgeMethods are the words of the key hedge of a route.
var hedgeMethods = map[string]exchange.HedgeMethods{
	"safe": exchange.HedgeSafe, "idempotent": exchange.HedgeIdempotent, "all": exchange.HedgeAll, "off": exchange.HedgeNone,
}

func (p *ServicePlan) compileHedge(h *config.Hedge) (*exchange.Hedge, error) {
	if h == nil {
		return nil, nil
	}
	percentile, after, err := h.Due()
	p.Settings.HedgeAt, p.Retry.Extra.Hedges = percentile, float64(h.MaxExtra)/100
	return &exchange.Hedge{After: after}, err
}

func compileRetry(c config.Retry) (exchange.Retry, error) {
	on, err := c.Conditions()
	r := exchange.Retry{Attempts: min(c.Attempts, policy.AttemptsMax), Connect: on.Connect, Reset: on.Reset, Timeout: on.Timeout, Unavailable: on.Unavailable, SameAfter: max(c.SameAfter, 0),
		AttemptTimeout: c.AttemptTimeout, Extra: extra.Limits{Share: float64(c.Budget) / 100, Floor: float64(max(c.BudgetFloor, 0))}}
	for _, s := range on.Statuses {
		r.Statuses[s] = true
	}
	return r, err
}
