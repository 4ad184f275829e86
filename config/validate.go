package config

// Validate finds everything that is wrong with a configuration without building any of it.
// Each part of the model has a method here; what tags can state is in rules.go, sources are in
// registries.go.

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/poise-lb/poise/internal/nearest"
	"github.com/poise-lb/poise/internal/tags"
)

// Validate reports everything that can be said to be wrong with c without building it, as
// an *Errors, or nil. Zero values stand for their defaults, so it does not matter whether
// c has been through WithDefaults. What only building can tell, such as routes that
// contradict each other or certificates that cannot be read, New and Apply report.
func (c *Config) Validate() error {
	full := c.WithDefaults()
	v := validator{model: make(tags.Model)}
	v.tags("", reflect.ValueOf(full))
	v.limits(&full.Limits)
	v.listeners(full.Listen)
	for i, text := range full.TrustedProxies {
		if _, near, err := parsePrefix(text); err != nil {
			v.add(Index("trusted_proxies", i), text, near, err.Error())
		}
	}
	if len(full.Services) == 0 && len(full.Discover) == 0 {
		v.add("services", "", "", "there is no service: at least one is needed, or an entry of discover")
	}
	v.services(full.Services)
	v.discover(full.Discover)
	v.routes(&full)
	return NewErrors(v.problems...)
}

// Validate reports what is wrong with one entry of an endpoint list, as an *Errors.
func (e Endpoint) Validate() error {
	v := validator{model: make(tags.Model)}
	full := e.WithDefaults()
	v.tags("", reflect.ValueOf(full))
	v.endpoint("", full)
	return NewErrors(v.problems...)
}

// Validate reports what is wrong with a health check, as an *Errors.
func (h Health) Validate() error {
	v := validator{model: make(tags.Model)}
	full := h.WithDefaults()
	v.tags("", reflect.ValueOf(full))
	v.health("", &full)
	return NewErrors(v.problems...)
}

// Validate reports what is wrong with a source, as an *Errors.
func (s Source) Validate() error {
	v := validator{model: make(tags.Model)}
	full := filler{v.model}.copy(reflect.ValueOf(s)).Interface().(Source)
	v.tags("", reflect.ValueOf(full))
	v.source("", &full, false)
	return NewErrors(v.problems...)
}

// A validator collects problems, in the order of the model and of names.
type validator struct {
	model    tags.Model
	problems []Problem
}

func (v *validator) add(path, value, near, message string) {
	v.problems = append(v.problems, Problem{Path: path, Value: value, Near: near, Message: message})
}

func (v *validator) limits(l *Limits) {
	if l.Target > l.Head {
		v.add("limits.target", tags.Size(l.Target), "", fmt.Sprintf("%s is more than a whole head may have (limits.head is %s)", tags.Size(l.Target), tags.Size(l.Head)))
	}
}

func (v *validator) listeners(listen []Listen) {
	seen := make(map[string]int)
	for i, l := range listen {
		path := Key(Index("listen", i), "address")
		if l.Address == "" {
			continue // required: said already
		}
		canonical, err := checkListen(l.Address)
		if err != nil {
			v.add(path, l.Address, "", fmt.Sprintf("%q: %s", l.Address, err.Error()))
			continue
		}
		if first, twice := seen[canonical]; twice && !strings.HasSuffix(canonical, ":0") {
			v.add(path, l.Address, "", fmt.Sprintf("%q is the same address as that of listen[%d]", l.Address, first))
			continue
		}
		seen[canonical] = i
	}
}

func (v *validator) services(services map[string]Service) {
	for _, name := range slices.Sorted(maps.Keys(services)) {
		path := Key("services", name)
		s := services[name]
		if name == "" {
			v.add(path, "", "", "a service needs a name")
		}
		v.members(path, &s)
		v.balancing(path, &s)
	}
}

// balancing checks what services and those that are discovered have in common.
func (v *validator) balancing(path string, s *Service) {
	v.policy(Key(path, "policy"), &s.Policy)
	if s.Health != nil {
		v.health(Key(path, "health"), s.Health)
	}
	for i, word := range s.Retry.On {
		if err := new(Conditions).add(word); err != nil {
			at := Index(Key(Key(path, "retry"), "on"), i)
			v.add(at, word, nearest.Word(word, []string{"connect", "reset", "timeout"}), err.Error())
		}
	}
}

func (v *validator) discover(discover map[string]Discover) {
	for _, name := range slices.Sorted(maps.Keys(discover)) {
		path := Key("discover", name)
		d := discover[name]
		if name == "" {
			v.add(path, "", "", "an entry needs a name")
		}
		for i, pattern := range d.Allow {
			if err := checkPattern(pattern); err != nil {
				v.add(Index(Key(path, "allow"), i), pattern, "", err.Error())
			}
		}
		s := d.Service("service") // any name will do
		at := Key(path, "source")
		v.source(at, s.Source, false)
		v.balancing(path, &s)
		sources := map[string]Source{at: d.Source}
		if d.Source.Merge != nil {
			delete(sources, at)
			for i, part := range d.Source.Merge {
				sources[Index(Key(at, "merge"), i)] = part.Source
			}
		}
		for _, at := range slices.Sorted(maps.Keys(sources)) {
			one := sources[at]
			if one.Custom != nil { // nothing looks inside an embedder's value
				v.add(at, "", "", "a custom source is that of one service")
				continue
			}
			if !reflect.ValueOf(one).IsZero() && reflect.DeepEqual(one, one.named("")) {
				v.add(at, "", "", "says the same for every service: write {service} where its name belongs")
			}
		}
	}
}

// members checks where the endpoints of a service come from.
func (v *validator) members(path string, s *Service) {
	if s.Source == nil && len(s.Endpoints) == 0 {
		v.add(path, "", "", "a service needs endpoints or a source")
		return
	}
	if s.Source != nil && len(s.Endpoints) > 0 {
		v.add(Key(path, "source"), "", "", "a service has endpoints or a source, not both")
	}
	if s.Source != nil {
		v.source(Key(path, "source"), s.Source, false)
	}
	seen := make(map[string]int)
	for i, e := range s.Endpoints {
		at := Index(Key(path, "endpoints"), i)
		url := v.endpoint(at, e)
		if url == "" {
			continue
		}
		if first, twice := seen[url]; twice {
			v.add(Key(at, "url"), e.URL, "", fmt.Sprintf("%s is listed already, as endpoints[%d]: give it a weight instead", e.URL, first))
			continue
		}
		seen[url] = i
	}
}

// endpoint returns the canonical URL, or "" if it is wrong.
func (v *validator) endpoint(path string, e Endpoint) string {
	if e.URL == "" {
		return "" // required: said already
	}
	spec, _, err := e.Parse()
	if err != nil {
		v.add(Key(path, "url"), e.URL, "", fmt.Sprintf("%q: %s", e.URL, err.Error()))
		return ""
	}
	return spec.URL()
}

func (v *validator) policy(path string, p *Policy) {
	if p.Custom != nil || p.Type == "consistent_hash" {
		return
	}
	// Values equal to a default may come from WithDefaults and are no mistakes.
	val := reflect.ValueOf(*p)
	for _, f := range v.model.Of(val.Type()) {
		got := fmt.Sprint(val.FieldByIndex(f.Index).Interface())
		if f.Name != "" && f.Name != "type" && !val.FieldByIndex(f.Index).IsZero() && got != f.Default {
			v.add(Key(path, f.Name), got, "", fmt.Sprintf("only consistent_hash has it, and the type is %s", p.Type))
		}
	}
}

func (v *validator) health(path string, h *Health) {
	if h.Connects() {
		v.connects(path, h)
	} else if h.Check != "" {
		near := nearCheck(h.Check)
		if _, _, err := splitCheck(h.Check); err != nil {
			v.add(Key(path, "check"), h.Check, near, err.Error())
		} else if near != "" {
			v.add(Key(path, "check"), h.Check, near, fmt.Sprintf("%q: methods are case-sensitive", h.Check))
		}
	}
	v.probeRequest(path, h)
	if h.Timeout > h.Interval {
		v.add(Key(path, "timeout"), h.Timeout.String(), "", fmt.Sprintf("%s is longer than the interval, %s", h.Timeout, h.Interval))
	}
	if h.Expect != nil && len(h.Expect) == 0 {
		v.add(Key(path, "expect"), "", "", "no status would ever pass")
	}
	for i, text := range h.Expect {
		if _, err := parseStatuses(text); err != nil {
			v.add(Index(Key(path, "expect"), i), text, "", err.Error())
		}
	}
}

// connects checks that a check which sends no request has nothing to say of one.
func (v *validator) connects(path string, h *Health) {
	defaults := Health{}.WithDefaults()
	for _, one := range []struct {
		key   string
		given bool
	}{
		{"expect", !slices.Equal(h.Expect, defaults.Expect)}, {"host", h.Host != ""},
		{"headers", len(h.Headers) > 0}, {"match", h.Match != "" || h.MatchFunc != nil},
	} {
		if one.given {
			v.add(Key(path, one.key), "", "", "a check that only connects sends no request: leave it out")
		}
	}
}

// probeRequest checks what a probe sends besides its first line, and what it wants to read.
func (v *validator) probeRequest(path string, h *Health) {
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		at, value := Key(Key(path, "headers"), name), h.Headers[name]
		switch {
		case !isToken(name):
			v.add(at, name, "", fmt.Sprintf("%q is not the name of a field", name))
		case strings.EqualFold(name, "host") && h.Host != "":
			v.add(at, value, "", "is given as host already")
		case slices.ContainsFunc(framing, func(f string) bool { return strings.EqualFold(f, name) }):
			v.add(at, name, "", "a probe has no content and one connection to itself: this field is not yours to set")
		case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			v.add(at, "", "", "the value has a character that no field can carry")
		}
	}
	if _, err := h.Matcher(); err != nil {
		v.add(Key(path, "match"), h.Match, "", err.Error())
	}
	if method, _, _ := strings.Cut(h.Check, " "); (h.Match != "" || h.MatchFunc != nil) && method == "HEAD" {
		v.add(Key(path, "match"), h.Match, "", "the response to HEAD has no content: check with GET")
	}
}

// framing are the fields that say how a message is delimited, or belong to the connection.
var framing = []string{"Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Trailer", "Expect", "Keep-Alive"}

// nearCheck guesses what a check was meant to be, if it is a path alone or has a method
// in lower case.
func nearCheck(check string) string {
	method, target, found := strings.Cut(check, " ")
	near := strings.ToUpper(method) + " " + target
	if !found {
		near = "HEAD " + check
	}
	if _, _, err := splitCheck(near); err != nil || near == check {
		return ""
	}
	return near
}

func (v *validator) routes(c *Config) {
	if len(c.Routes) == 0 {
		v.add("routes", "", "", "there is no route: at least one is needed")
	}
	services, discover := slices.Sorted(maps.Keys(c.Services)), slices.Sorted(maps.Keys(c.Discover))
	named := make(map[string]int, len(c.Routes))
	for i, r := range c.Routes {
		path := Index("routes", i)
		v.routeName(path, r.Name, i, named)
		v.leads(path, &r, services, discover)
		for j, m := range r.Match.Methods {
			at := Index(Key(Key(path, "match"), "methods"), j)
			switch {
			case !isToken(m):
				v.add(at, m, "", fmt.Sprintf("%q is not a method", m))
			case strings.ToUpper(m) != m:
				v.add(at, m, strings.ToUpper(m), fmt.Sprintf("%q: methods are case-sensitive", m))
			}
		}
		v.rewrite(Key(path, "rewrite"), &r.Rewrite)
	}
}

// routeName checks the name of route i; named are those of the routes before it.
func (v *validator) routeName(path, name string, i int, named map[string]int) {
	if name == "" {
		return
	}
	if !isName(name) {
		v.add(Key(path, "name"), name, "", fmt.Sprintf("%q is no name: letters, digits, and between them dots, - and _, at most %d bytes", name, nameMax))
	}
	if first, taken := named[name]; taken {
		v.add(Key(path, "name"), name, "", fmt.Sprintf("%s has the name %q already", Index("routes", first), name))
		return
	}
	named[name] = i
}

// leads checks where a route leads.
func (v *validator) leads(path string, r *Route, services, discover []string) {
	switch {
	case r.Service == "" && r.Discover == "":
		v.add(Key(path, "service"), "", "", "is missing: name of the service; or else discover")
	case r.Service != "" && r.Discover != "":
		v.add(Key(path, "discover"), r.Discover, "", "a route leads to a service or to what discover finds, not both")
	case r.Service != "" && !slices.Contains(services, r.Service):
		v.add(Key(path, "service"), r.Service, nearest.Word(r.Service, services), fmt.Sprintf("there is no service %q", r.Service))
	case r.Discover != "" && !slices.Contains(discover, r.Discover):
		v.add(Key(path, "discover"), r.Discover, nearest.Word(r.Discover, discover), fmt.Sprintf("discover has no entry %q", r.Discover))
	}
	if r.Discover != "" && !slices.Contains(strings.Split(r.Match.Path, "/"), placeholder) {
		v.add(Key(Key(path, "match"), "path"), r.Match.Path, "", "has no segment {service}, which names the service to discover")
	}
}

func (v *validator) rewrite(path string, r *Rewrite) {
	prefixes := []struct{ at, prefix string }{
		{Key(path, "strip_prefix"), r.StripPrefix},
		{Key(path, "add_prefix"), r.AddPrefix},
	}
	if r.Replace != nil {
		at := Key(path, "replace")
		prefixes = append(prefixes, struct{ at, prefix string }{Key(at, "prefix"), r.Replace.Prefix},
			struct{ at, prefix string }{Key(at, "with"), r.Replace.With})
	}
	for _, p := range prefixes {
		if p.prefix != "" && !strings.HasPrefix(p.prefix, "/") {
			v.add(p.at, p.prefix, "/"+p.prefix, fmt.Sprintf("%q does not begin with a slash", p.prefix))
		}
	}
}
