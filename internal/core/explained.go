package core

// What Explain says about the service of a request: which endpoints may serve it, what a retry would do, and
// the limits of time.

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/explain"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/service"
)

func headLimits(c *config.Config) limits.Head { return compile.ClientSettings(c).Limits }

// look is Enter without an effect: it counts nothing and starts nothing. The service is nil if a
// request would start it.
func (d *directory) look(name string) (*exchange.Service, *exchange.Error) {
	if config.CheckName(name) != nil {
		return nil, exchange.ErrUnknownService
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.live[name]; e != nil {
		return e.head.Load(), nil
	}
	if !d.plan.Config.Allows(name) {
		return nil, exchange.ErrUnknownService
	}
	return nil, nil
}

// responseEdits lists the changes to a response, in the order of their application.
func responseEdits(h config.HeaderEdit) (out []explain.Edit) {
	for _, name := range h.Remove {
		out = append(out, explain.Edit{Do: "remove", Name: name})
	}
	for _, name := range slices.Sorted(maps.Keys(h.Set)) {
		out = append(out, explain.Edit{Do: "remove", Name: name}, explain.Edit{Do: "add", Name: name, Value: h.Set[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(h.Add)) {
		out = append(out, explain.Edit{Do: "add", Name: name, Value: h.Add[name]})
	}
	return out
}

// split says which of several services gets the request.
func (x *explaining) split() {
	e := x.explained.Split
	if e == nil {
		return
	}
	c := x.config.Routes[x.explained.Route.Index].Split
	out := &explain.Split{
		From: c.By, Value: string(e.Value), Stuck: e.Stuck, Otherwise: c.Otherwise,
		ConfigKey: config.Key(config.Index("routes", x.explained.Route.Index), "split"),
	}
	for i, v := range e.Variants {
		out.Services = append(out.Services, explain.Variant{Name: v.Service.Name, Share: v.Share, Serves: v.Serves, Home: i == e.Home})
	}
	out.Chosen = out.Services[e.Chosen].Name
	if e.Home < 0 && !e.Stuck && len(out.Services) > 1 {
		x.out.Notes = append(x.out.Notes, "the service is drawn for each request: what is said below is about "+out.Chosen)
	}
	x.out.Split = out
}

// serve says which endpoints may serve the request and what a retry does.
func (x *explaining) serve() {
	e, c := &x.explained, x.service
	s := &explain.Service{Policy: policyName(&c.Policy), ConfigKey: x.at, Candidates: []explain.Endpoint{}}
	x.out.Service = s
	if e.Service == nil {
		r := &x.config.Routes[e.Route.Index]
		s.Name, s.Starts = r.Discover+"/"+string(e.Segment), true
		x.out.Notes = append(x.out.Notes, "the first request for service "+s.Name+" starts it; its source was not asked")
		return
	}
	s.Name, s.Draws = e.Service.Name, explainDraws
	said := e.Service.Explain(e.Hash, e.Lane, explainDraws)
	s.Lane, s.Sticky = x.lane(said.LaneMissed), x.sticky(&said)
	s.PanicMode, s.LastResort, s.Nothing, s.Stale = said.Panic, said.Resorting, said.Nothing, e.Service.Source().Stale
	for i := range said.Places {
		p := &said.Places[i]
		s.Places = append(s.Places, explain.Place{Name: p.String(), Share: p.Share, Why: p.Why})
	}
	if shadow := e.Service.Shadow(); shadow.Off == "" {
		s.Shadow = shadow.Name
	}
	s.Waits, s.Overload = said.Waits, x.overload()
	now := x.proxy.rt.Now()
	for i := range said.Candidates {
		s.Candidates = append(s.Candidates, candidate(&said, &said.Candidates[i], now))
	}
	if e.Service.Key != nil {
		s.HashKey = &explain.HashKey{From: e.Service.Key.String(), Value: string(e.Key), Bounded: c.Policy.BoundedLoad}
		if e.Hash != 0 {
			s.HashKey.Hash = fmt.Sprintf("%016x", e.Hash)
			s.HashKey.Owner, s.HashKey.Serves, s.HashKey.Spill = text(said.Owner), text(said.Serves), text(said.Spill)
		}
	}
	x.retry(&e.Service.Retry, max(0, said.Eligible()-1))
}

// lane says which endpoints the request wants; nil: nothing binds it. missed: none of them is usable.
func (x *explaining) lane(missed bool) *explain.Lane {
	r, c := &x.config.Routes[x.explained.Route.Index], x.service.Lanes
	out := &explain.Lane{Missed: missed}
	if len(r.Labels) > 0 {
		for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
			out.Labels = append(out.Labels, key+"="+r.Labels[key])
		}
		out.Why = "endpoints with these labels alone"
		return out
	}
	if c == nil {
		return nil
	}
	out.From, out.Value = c.By, string(x.explained.Wants)
	rest := "endpoints without the label " + c.Label
	if c.Otherwise == "any" {
		rest = "any endpoint"
	}
	if out.Value == "" {
		out.Why = rest
		return out
	}
	label := c.Label + "=" + out.Value
	out.Labels = []string{label}
	switch {
	case !missed:
		out.Why = "endpoints with " + label
	case c.Otherwise == "none":
		out.Why = "no usable endpoint has " + label + ", and it goes to no other (otherwise: none)"
	default:
		out.Why = "no usable endpoint has " + label + ", so it goes to " + rest
	}
	return out
}

// sticky says which endpoint the client is bound to; nil: the service has no cookie.
func (x *explaining) sticky(said *service.Explanation) *explain.Sticky {
	e := &x.explained
	if e.Service.Sticky == nil {
		return nil
	}
	out := &explain.Sticky{Cookie: e.Service.Sticky.Name}
	to := e.Service.ByToken(e.Token)
	switch {
	case e.Token == 0:
		out.Why = "the request has none: the policy chooses, and the response sets it"
		return out
	case to == nil:
		out.Why = "it names no endpoint of the service: the policy chooses, and the response sets another"
		return out
	}
	out.Endpoint = to.ID().String()
	i := slices.IndexFunc(said.Candidates, func(c service.Candidate) bool { return c.Spec.ID == to.ID() })
	if out.Kept = i >= 0 && said.Candidates[i].Eligible; out.Kept {
		out.Why = out.Endpoint + " gets the request, whatever the policy would choose"
	} else {
		out.Why = out.Endpoint + " cannot be used now: the policy chooses, and the response sets another"
	}
	return out
}

// overload says what bounds the requests under way at the service, and what the request would find;
// empty: nothing does.
func (x *explaining) overload() string {
	q := x.explained.Service.Queue()
	if q.Most == 0 && q.Each == 0 && !q.Found {
		return ""
	}
	bounds := fmt.Sprintf("%d requests under way", q.InFlight)
	if q.Most > 0 {
		bounds = fmt.Sprintf("%d of %d requests under way", q.InFlight, q.Most)
	}
	if q.Each > 0 {
		bounds += fmt.Sprintf(", at most %d at each endpoint", q.Each)
	}
	if q.Found {
		bounds += ", at each endpoint as many as its latency allows"
	}
	if q.Room == 0 {
		return bounds + "; none waits"
	}
	bounds += fmt.Sprintf("; %d of %d wait, for %v at most", q.Waiting, q.Room, q.Timeout)
	if q.Newest {
		bounds += ", the newest first"
	}
	if x.explained.Service.Priorities != nil {
		bounds += "; priority " + x.explained.Priority.String()
	}
	return bounds
}

func text(id endpoint.ID) string {
	if id == (endpoint.ID{}) {
		return ""
	}
	return id.String()
}

// candidate is one endpoint, as of the instant now.
func candidate(said *service.Explanation, c *service.Candidate, now time.Duration) explain.Endpoint {
	e := explain.Endpoint{
		ID: c.Spec.ID.String(), State: c.State.String(), Cause: c.Cause.String(), Eligible: c.Eligible,
		Weight: cmp.Or(c.Spec.Weight, 1), InFlight: c.InFlight, Limit: c.Limit, Latency: float64(c.Latency) / float64(time.Millisecond),
		Score: c.Score, Scored: c.Unit, Draws: c.Draws,
		Share: float64(c.Draws) / explainDraws, Expected: said.Expected(c),
		Shadowed: float64(c.Shadowed) / explainDraws, Reported: reported(c.Load),
	}
	switch {
	case c.Place >= 0:
		e.Place = said.Places[c.Place].String()
	case c.Eligible && said.Places != nil:
		e.Place = "not in the subset of this proxy"
	}
	if c.State == health.Ejected && c.Until > now {
		e.For = (c.Until - now).Round(100 * time.Millisecond).String()
	}
	if c.Finding != nil {
		e.Why = c.Finding.String()
		e.Since = (now - c.History.Changed()).Round(100 * time.Millisecond).String()
	}
	var flags []string
	for _, f := range []struct {
		on   bool
		word string
	}{{c.Spec.Out, "out"}, {c.Kept, "kept"}, {c.Slow > 0, "slow start"}, {c.Limit > 0 && c.InFlight >= c.Limit, "full"}, {c.Held > 0, "held"}, {c.Damped > 0, "damped"}, {c.Outside, "not in the lane"}} {
		if f.on {
			flags = append(flags, f.word)
		}
	}
	for _, o := range c.Overrides {
		flags = append(flags, o.String()+" by an operator")
		if o.Kind == endpoint.Weigh {
			e.Weight = o.Weight
		}
	}
	e.Flags = strings.Join(flags, ", ")
	return e
}

// reported says in words what an endpoint has reported of its load; empty: nothing.
func reported(r *endpoint.Reported) string {
	if r == nil {
		return ""
	}
	var parts []string
	if r.InFlight >= 0 {
		parts = append(parts, fmt.Sprintf("%d in flight, %d of them of others", r.InFlight, r.Others))
	}
	if r.Utilization >= 0 {
		parts = append(parts, fmt.Sprintf("%.0f %% busy", r.Utilization*100))
	}
	text := cmp.Or(strings.Join(parts, ", "), "nothing that is used")
	if r.Stale {
		text += ", stale"
	}
	return text
}

// policyName is the policy as the configuration calls it.
func policyName(p *config.Policy) string {
	switch {
	case p.Custom != nil:
		return fmt.Sprintf("custom (%T)", p.Custom)
	case p.Type == "consistent_hash" && p.BoundedLoad > 0:
		return fmt.Sprintf("consistent_hash (%s, bounded_load %v)", p.Algorithm, p.BoundedLoad)
	case p.Type == "consistent_hash":
		return "consistent_hash (" + p.Algorithm + ")"
	}
	return p.Type
}

// retry says what a failed first attempt leads to, with so many other endpoints.
func (x *explaining) retry(r *exchange.Retry, others int) {
	out := &explain.Retry{Others: others, Key: x.at + ".retry"}
	out.Budget, out.Hedge = x.extra(&r.Extra)
	switch most, sure := r.Most(); {
	case sure:
		out.Attempts = fmt.Sprintf("2, and up to %d at endpoints whose latest attempt did not fail", most)
	default:
		out.Attempts = strconv.Itoa(most)
	}
	words := map[exchange.Class]string{exchange.Connect: "connect", exchange.Reset: "reset", exchange.Timeout: "timeout", exchange.Unavailable: "unavailable"}
	for _, one := range r.Repeats(x.proxy.rt, x.out.Request.Method) {
		word := words[one.Class]
		if one.Class == exchange.Status {
			word = strconv.Itoa(one.Status)
		}
		out.Cases = append(out.Cases, explain.Repeat{Failure: word, Repeated: one.Again, Why: one.Why})
	}
	x.out.Retry = out
}

// extra says what the budget of the service allows at present, and whether the request is hedged.
func (x *explaining) extra(l *extra.Limits) (budget, hedge string) {
	e, s := &x.explained, x.explained.Service
	now := s.Extra()
	budget = "any number of extra attempts"
	if l.Share >= 0 {
		budget = fmt.Sprintf("%.0f %% of the requests of the last 10 s, and %.0f a second besides", l.Share*100, l.Floor)
	}
	budget += fmt.Sprintf("; now %d retries and %d hedges of %d requests", now.Retries, now.Spent.Hedges, now.Requests)
	switch {
	case s.Hedge == nil:
		return budget, ""
	case !e.Route.Hedge.Covers([]byte(x.out.Request.Method)):
		return budget, "no: the route does not hedge " + x.out.Request.Method
	case s.Hedge.After > 0:
		return budget, fmt.Sprintf("after %v", s.Hedge.After)
	case now.Due == 0:
		return budget, "not yet: too few times are known for a percentile"
	}
	return budget, fmt.Sprintf("after %v, the percentile at present", now.Due.Round(10*time.Microsecond))
}

// limits lists the limits of time that the request is held to.
func (x *explaining) limits() {
	add := func(key string, d time.Duration, means string) {
		value := "none"
		if d > 0 {
			value = d.String()
		}
		x.out.Limits = append(x.out.Limits, explain.Limit{Name: key[strings.LastIndexByte(key, '.')+1:], Value: value, Means: means, Key: key})
	}
	t := &x.config.Timeouts
	add("timeouts.head", t.Head, "for the head of the request to arrive")
	if x.service == nil {
		return
	}
	at := config.Index("routes", x.explained.Route.Index)
	r := &x.config.Routes[x.explained.Route.Index]
	switch {
	case r.Timeout > 0:
		add(at+".timeout", r.Timeout, "for the whole exchange with all its attempts")
	case r.Timeout == config.None:
		add(at+".timeout", 0, "up to the response head")
	default:
		add(at+".timeout", compile.HeadTimeout, "up to the response head, from the end of the request")
	}
	add(x.at+".connections.connect_timeout", x.service.Connections.ConnectTimeout, "to connect to an endpoint, TLS included")
	switch {
	case r.Stall != 0:
		add(at+".stall", max(r.Stall, 0), "of silence of the endpoint within content")
	default:
		add("timeouts.stall", t.Stall, "of silence within content; event streams may be silent for any time")
	}
	add("timeouts.tunnel", max(t.Tunnel, 0), "of silence of an upgraded connection")
	add("timeouts.idle", t.Idle, "until the next request of the connection")
}
