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
	v.metrics(&full.Metrics)
	v.accessLog(&full.AccessLog)
	v.tracing(&full)
	v.listeners(full.Listen)
	v.operators(&full)
	v.prefixes("trusted_proxies", full.TrustedProxies)
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
	told     map[string]bool // paths of services whose endpoints lack HTTP/2, as was said
}

func (v *validator) add(path, value, near, message string) {
	v.problems = append(v.problems, Problem{Path: path, Value: value, Near: near, Message: message})
}

func (v *validator) limits(l *Limits) {
	if l.Target > l.Head {
		v.add("limits.target", tags.Size(l.Target), "", fmt.Sprintf("%s is more than a whole head may have (limits.head is %s)", tags.Size(l.Target), tags.Size(l.Head)))
	}
}

func (v *validator) prefixes(path string, texts []string) {
	for i, text := range texts {
		if _, near, err := parsePrefix(text); err != nil {
			v.add(Index(path, i), text, near, err.Error())
		}
	}
}

func (v *validator) listeners(listen []Listen) {
	seen, named := make(map[string]int), make(map[string]int)
	for i, l := range listen {
		v.listenerName(i, l.Name, named)
		v.listenerTLS(Key(Index("listen", i), "tls"), l.TLS)
		if pp := l.ProxyProtocol; pp != nil {
			v.prefixes(Key(Key(Index("listen", i), "proxy_protocol"), "trusted"), pp.Trusted)
		}
		if _, err := l.FileMode(); err != nil {
			v.add(Key(Index("listen", i), "mode"), l.Mode, "", err.Error())
		} else if l.Mode != "" && !strings.HasPrefix(l.Address, "unix:") {
			v.add(Key(Index("listen", i), "mode"), l.Mode, "", "is of unix sockets, and "+l.Address+" is none")
		}
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
	v.lanes(Key(path, "lanes"), s.Lanes)
	v.sticky(Key(path, "sticky"), s.Sticky)
	if s.Health != nil {
		v.health(Key(path, "health"), s.Health)
		if _, ok := s.Health.GRPC(); ok {
			v.needsHTTP2(path, "a check of gRPC", s)
		}
	}
	v.endpointTLS(Key(path, "tls"), s.TLS)
	if s.ProxyProtocol != "" && s.ProxyProtocol != "off" && s.Protocol != "" && s.Protocol != "http1" {
		v.add(Key(path, "protocol"), s.Protocol, "http1", "a connection with proxy_protocol belongs to one client, and HTTP/1.1 is spoken on it")
	}
	v.overload(Key(path, "overload"), &s.Overload, s.Policy.Custom != nil)
	if s.Hedge != nil && s.Hedge.After != "" {
		if _, _, err := s.Hedge.Due(); err != nil {
			v.add(Key(Key(path, "hedge"), "after"), s.Hedge.After, "p95", err.Error())
		}
	}
	if o := s.Breaker.Outliers; o != nil && o.FailureRate < 0 && o.Latency == 0 {
		v.add(Key(Key(Key(path, "breaker"), "outliers"), "latency"), "", "3", "is missing: with failure_rate -1 nothing would be compared")
	}
	for i, word := range s.Retry.On {
		if err := new(Conditions).add(word); err != nil {
			at := Index(Key(Key(path, "retry"), "on"), i)
			v.add(at, word, nearest.Word(word, []string{"connect", "reset", "timeout", "unavailable"}), err.Error())
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
	if e.Backup && e.Priority > 1 {
		v.add(Key(path, "backup"), "true", "", fmt.Sprintf("is short for priority: 1, and the priority is %d: give one of them", e.Priority))
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
