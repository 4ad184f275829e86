package config

// A discover entry is a pattern of services: a route may take the name of the service from
// the request, and the service is made when the first request names it. Names come from
// clients, so which names are allowed, and how many at once, is part of the configuration.

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Discover is a pattern of services: whatever service a registry has is one of this
// configuration as soon as a request names it, and is forgotten when none has for a time.
type Discover struct {
	// Source is that of every such service. {service} stands for the name in the value that
	// says which: the path of a file, the URL of a name or the SRV record, the prefix of etcd, the service of
	// Consul, Nacos and Kubernetes (and their group and namespace), the app of Eureka, the
	// path of ZooKeeper. In a merge each part has it.
	Source Source `yaml:"source" doc:"of each service; {service} in it stands for the name" required:"true"`

	// What follows is as for a Service.

	Policy         Policy       `yaml:"policy" doc:"how an endpoint is chosen: a name, or a mapping with type"`
	Shadow         string       `yaml:"shadow" doc:"a policy that is asked too, without effect" enum:"off,least_time,p2c,round_robin,weighted_round_robin,least_connections,random,peak_ewma,prequal" default:"off"`
	LoadReports    bool         `yaml:"load_reports" doc:"read what endpoints say of their load in the response field endpoint-load-metrics (ORCA)"`
	Lanes          *Lanes       `yaml:"lanes" doc:"requests that name a version, or whose it is, go to endpoints with that label; absent: all endpoints are alike"`
	Sticky         *Sticky      `yaml:"sticky" doc:"a client stays with its endpoint, by a cookie: its name, or a mapping; absent: it does not"`
	Health         *Health      `yaml:"health" doc:"active probes; absent: endpoints start healthy"`
	Breaker        Breaker      `yaml:"breaker" doc:"passive ejection of endpoints that fail"`
	PanicThreshold int          `yaml:"panic_threshold" doc:"percentage of usable endpoints below which all are used; -1: never" default:"50" min:"-1" max:"100" unit:"percent"`
	SlowStart      SlowStart    `yaml:"slow_start" doc:"endpoints that are new or have recovered begin with a small share: how long it grows, or a mapping; absent: they do not"`
	Zones          Zones        `yaml:"zones" doc:"whether requests stay in the proxy's zone: prefer or ignore, or a mapping"`
	Priorities     Priorities   `yaml:"priorities" doc:"when endpoints of a higher priority number are used, too"`
	Subset         Subset       `yaml:"subset" doc:"how many of the endpoints this proxy uses, always the same: a number, or a mapping; absent: all"`
	Retry          Retry        `yaml:"retry" doc:"when another endpoint is tried"`
	Hedge          *Hedge       `yaml:"hedge" doc:"a second endpoint is asked where the first takes long; absent: never"`
	Overload       Overload     `yaml:"overload" doc:"how many requests of a service may be under way at once, and which wait; absent: any number"`
	Connections    Connections  `yaml:"connections" doc:"connections to each endpoint"`
	Protocol       string       `yaml:"protocol" doc:"version of HTTP that endpoints are spoken to with; auto: https endpoints choose (ALPN)" enum:"http1,http2,auto" default:"http1"`
	TLS            *EndpointTLS `yaml:"tls" doc:"how https endpoints are verified; {service} in server_name, san and spiffe stands for the name"`
	ProxyProtocol  string       `yaml:"proxy_protocol" doc:"have connections to endpoints begin with a header of the PROXY protocol: v1 or v2" enum:"off,v1,v2" default:"off"`
	Guard          Guard        `yaml:"guard" doc:"what is held back of a source's updates"`

	// Max bounds the services that are watched at once. At the bound requests for further
	// ones are refused.
	Max int `yaml:"max" doc:"services watched at once; requests for more are refused" default:"500" min:"1" max:"100000"`
	// Allow are the names that are asked for, as patterns: * stands for any characters, ? for
	// one, [a-c] for one of these. Others are unknown services, without asking the registry.
	// Empty: every name is asked for.
	Allow []string `yaml:"allow" doc:"patterns of the names that are asked for, as in shop-*; empty: any name" example:"shop-*"`
	// StartRate bounds how many services a second begin to be watched, since clients choose
	// the names; ten seconds' worth may begin at once. Requests for more are refused.
	StartRate int `yaml:"start_rate" doc:"services per second that begin to be watched, ten seconds' worth of them at once; requests for more are refused" default:"10" min:"1" max:"10000"`
	// ForgetAfter is how long a service is watched after the last request for it.
	ForgetAfter time.Duration `yaml:"forget_after" doc:"a service without requests is watched so long" default:"10m" min:"1s"`
}

// placeholder is what stands for the name of a service.
const placeholder = "{service}"

// nameMax bounds the name of a discovered service, which comes from a request.
const nameMax = 128

// CheckName reports whether name, which may come from a request, may be asked for at a
// registry: letters, digits, and within it "-", "_" and "."; at most 128 bytes. It can be
// put into a path or a URL without changing its meaning.
func CheckName(name string) error {
	switch {
	case name == "" || len(name) > nameMax:
		return fmt.Errorf("the name of a service has 1 to %d bytes", nameMax)
	case strings.Contains(name, ".."):
		return fmt.Errorf("%q is not the name of a service: it has two dots in a row", name)
	case !isName(name):
		return fmt.Errorf("%q is not the name of a service: letters, digits, and between them dots, - and _", name)
	}
	return nil
}

// isName reports whether name has 1 to nameMax bytes: letters, digits, and between them "-",
// "_" and ".".
func isName(name string) bool {
	for i, c := range []byte(name) {
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		inner := i > 0 && i < len(name)-1 && (c == '-' || c == '_' || c == '.')
		if !alphanumeric && !inner {
			return false
		}
	}
	return name != "" && len(name) <= nameMax
}

// Allows reports whether a registry may be asked for that name.
func (d Discover) Allows(name string) bool {
	return len(d.Allow) == 0 || slices.ContainsFunc(d.Allow, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// checkPattern reports what is wrong with a pattern of names.
func checkPattern(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("%q is not a pattern: * stands for any characters, ? for one, [a-c] for one of these", pattern)
	}
	for _, c := range []byte(pattern) {
		name := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-_.", c) >= 0
		if !name && strings.IndexByte("*?[]^\\", c) < 0 {
			return fmt.Errorf("%q fits no service: names are letters, digits, dots, - and _", pattern)
		}
	}
	if pattern == "" {
		return errors.New("an empty pattern fits no service")
	}
	return nil
}

// Service returns the service of that name, which must have passed CheckName. It shares
// no part of its Source with d that depends on the name.
func (d Discover) Service(name string) Service {
	source := d.Source.named(name)
	secure := copied(d.TLS, func(t *EndpointTLS) { t.name(name) })
	return Service{
		Source: &source, Policy: d.Policy, Shadow: d.Shadow, LoadReports: d.LoadReports, Lanes: d.Lanes, Sticky: d.Sticky, Health: d.Health, Breaker: d.Breaker, PanicThreshold: d.PanicThreshold, SlowStart: d.SlowStart,
		Zones: d.Zones, Priorities: d.Priorities, Subset: d.Subset, Retry: d.Retry, Hedge: d.Hedge, Overload: d.Overload, Connections: d.Connections, Protocol: d.Protocol, TLS: secure, ProxyProtocol: d.ProxyProtocol, Guard: d.Guard,
	}
}

// named puts name in place of the placeholder.
func (s Source) named(name string) Source {
	put := func(texts ...*string) {
		for _, text := range texts {
			*text = strings.ReplaceAll(*text, placeholder, name)
		}
	}
	s.File = copied(s.File, func(f *FileSource) { put(&f.Path) })
	s.DNS = copied(s.DNS, func(d *DNSSource) { put(&d.URL, &d.SRV) })
	s.Etcd = copied(s.Etcd, func(e *EtcdSource) { put(&e.Prefix) })
	s.Consul = copied(s.Consul, func(c *ConsulSource) { put(&c.Service) })
	s.Nacos = copied(s.Nacos, func(n *NacosSource) { put(&n.Service, &n.Group) })
	s.Eureka = copied(s.Eureka, func(e *EurekaSource) { put(&e.App) })
	s.Zookeeper = copied(s.Zookeeper, func(z *ZookeeperSource) { put(&z.Path) })
	s.Kubernetes = copied(s.Kubernetes, func(k *KubernetesSource) { put(&k.Service, &k.Namespace) })
	if s.Merge != nil {
		parts := make([]SourcePart, len(s.Merge))
		for i, p := range s.Merge {
			parts[i] = SourcePart{Source: p.named(name), Shadow: p.Shadow}
		}
		s.Merge = parts
	}
	return s
}

// name puts name in place of the placeholder, wherever an endpoint is verified by its name.
func (t *EndpointTLS) name(name string) {
	t.ServerName = strings.ReplaceAll(t.ServerName, placeholder, name)
	for _, list := range []*[]string{&t.SAN, &t.SPIFFE} {
		*list = slices.Clone(*list)
		for i, text := range *list {
			(*list)[i] = strings.ReplaceAll(text, placeholder, name)
		}
	}
}

// copied returns a changed copy of what v points to; nil if v is.
func copied[T any](v *T, change func(*T)) *T {
	if v == nil {
		return nil
	}
	c := *v
	change(&c)
	return &c
}
