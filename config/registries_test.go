package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/poise-lb/poise/discovery"
)

// registries has a service for each, in which every setting is right.
func registries() Config {
	c := good()
	secure := func() *SourceTLS {
		return &SourceTLS{CA: "ca.pem", Cert: "cert.pem", Key: "key.pem", ServerName: "registry"}
	}
	for name, s := range map[string]Source{
		"etcd": {Etcd: &EtcdSource{Servers: []string{"https://10.0.0.1:2379", "etcd.internal"}, Prefix: "/services/a/", Username: "u", Password: "p", TLS: secure()}},
		"consul": {Consul: &ConsulSource{Servers: []string{"https://10.0.0.1:8501"}, Service: "a", Tags: []string{"x", "y"}, Datacenter: "d",
			Namespace: "n", Partition: "p", Token: "t", TLS: secure(), Scheme: "https", ZoneKey: "z"}},
		"agent": {Consul: &ConsulSource{Service: "a"}},
		"nacos": {Nacos: &NacosSource{Servers: []string{"127.0.0.1:8848", "https://nacos.internal:443/nacos", "[::1]"}, Namespace: "n", Group: "g",
			Service: "a", Clusters: []string{"c"}, Username: "u", Password: "p", AccessKey: "a", SecretKey: "s", TLS: secure(), PortOffset: -100}},
		"eureka": {Eureka: &EurekaSource{Servers: []string{"https://u:p@10.0.0.1:8761/eureka/v2"}, App: "A", TLS: secure(), Interval: 1e9}},
		"zookeeper": {Zookeeper: &ZookeeperSource{Servers: []string{"10.0.0.1:2181", "zk2"}, Path: "/dubbo/com.example.A/providers", Username: "u",
			Password: "p", Protocol: "tri"}},
		"pod":        {Kubernetes: &KubernetesSource{Service: "a"}},
		"kubeconfig": {Kubernetes: &KubernetesSource{Service: "a", Namespace: "n-1", Port: "http", Scheme: "https", Kubeconfig: "k", Context: "c"}},
		"kubernetes": {Kubernetes: &KubernetesSource{Service: "a", Server: "https://10.0.0.1:6443/clusters/a", TokenFile: "t", TLS: secure()}},
		"merge": {Merge: []SourcePart{{Source: Source{Consul: &ConsulSource{Service: "a"}}},
			{Source: Source{Eureka: &EurekaSource{Servers: []string{"http://e/eureka"}, App: "A"}}, Shadow: true}}},
	} {
		c.Services[name] = Service{Source: &s}
	}
	c.Discover = map[string]Discover{
		"all": {Source: Source{Nacos: &NacosSource{Servers: []string{"127.0.0.1:8848"}, Service: "{service}"}}, Health: &Health{Check: "HEAD /"}, Max: 7},
	}
	c.Routes = append(c.Routes, Route{Match: Match{Path: "/all/{service}/**"}, Discover: "all"})
	return c
}

func TestRegistriesAreAccepted(t *testing.T) {
	c := registries()
	if err := c.Validate(); err != nil {
		t.Errorf("as written: %v", err)
	}
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		t.Errorf("with defaults: %v", err)
	}
	d, s := c.Discover["all"], c.Services["agent"]
	if d.Max != 7 || d.ForgetAfter == 0 || d.Guard.MaxRemoval != 50 || s.Guard.Hold == 0 || d.Source.Nacos.Group != "DEFAULT_GROUP" {
		t.Errorf("defaults are missing: %+v", d)
	}
	if p := c.Services["merge"].Source.Merge[1]; p.Eureka.WeightKey != "weight" || !p.Shadow {
		t.Errorf("defaults of a part: %+v", p)
	}
}

// Every registry's mistakes are found one at a time, where they are, and no message says
// what a password is.
func TestValidateFindsMistakesOfRegistries(t *testing.T) {
	type spoil = func(*Config)
	source := func(name string, change func(*Source)) spoil {
		return func(c *Config) { change(c.Services[name].Source) }
	}
	entry := func(change func(*Discover)) spoil {
		return func(c *Config) {
			d := c.Discover["all"]
			change(&d)
			c.Discover["all"] = d
		}
	}
	last := len(registries().Routes) - 1
	at := fmt.Sprintf("routes[%d]", last)
	for _, test := range []struct {
		path, message string
		spoil         spoil
	}{
		{"services.etcd.source.etcd.servers", "is missing", source("etcd", func(s *Source) { s.Etcd.Servers = nil })},
		{"services.etcd.source.etcd.prefix", "is missing", source("etcd", func(s *Source) { s.Etcd.Prefix = "" })},
		{"services.etcd.source.etcd.servers[1]", "as in http://127.0.0.1:2379", source("etcd", func(s *Source) { s.Etcd.Servers[1] = "ftp://a" })},
		{"services.etcd.source.etcd.servers[0]", "no user and no password", source("etcd", func(s *Source) { s.Etcd.Servers[0] = "https://u:hunter2@a" })},
		{"services.etcd.source.etcd.servers[0]", "as in", source("etcd", func(s *Source) { s.Etcd.Servers[0] = "https://a/path" })},
		{"services.etcd.source.etcd.servers[0]", "as in", source("etcd", func(s *Source) { s.Etcd.Servers[0] = "https://a?x" })},
		{"services.etcd.source.etcd.servers[0]", "as in", source("etcd", func(s *Source) { s.Etcd.Servers[0] = "" })},
		{"services.etcd.source.etcd.servers[0]", "not a port", source("etcd", func(s *Source) { s.Etcd.Servers[0] = "a:70000" })},
		{"services.etcd.source.etcd.servers[0]", "not an IP address", source("etcd", func(s *Source) { s.Etcd.Servers[0] = "10.0.0.300" })},
		{"services.etcd.source.etcd.servers[0]", "tls says how https", source("etcd", func(s *Source) { s.Etcd.Servers[0] = "http://a" })},
		{"services.etcd.source.etcd.tls", "belong together", source("etcd", func(s *Source) { s.Etcd.TLS.Key = "" })},
		{"services.etcd.source.etcd.password", "no username", source("etcd", func(s *Source) { s.Etcd.Username, s.Etcd.Password = "", "hunter2" })},
		{"services.etcd.source.etcd.scheme", "not one of http, https, h2c", source("etcd", func(s *Source) { s.Etcd.Scheme = "h2" })},
		{"services.consul.source.consul.servers", "a server as well", source("consul", func(s *Source) { s.Consul.Server = "https://a" })},
		{"services.agent.source.consul.server", "as in", source("agent", func(s *Source) { s.Consul.Server = "http://u:hunter2@" })},
		{"services.consul.source.consul.tags", "a tag as well", source("consul", func(s *Source) { s.Consul.Tag = "t" })},
		{"services.agent.source.consul.service", "is missing", source("agent", func(s *Source) { s.Consul.Service = "" })},
		{"services.nacos.source.nacos.servers[0]", "as in 127.0.0.1:8848", source("nacos", func(s *Source) { s.Nacos.Servers[0] = "grpc://a" })},
		{"services.nacos.source.nacos.port_offset", "more than", source("nacos", func(s *Source) { s.Nacos.PortOffset = 70000 })},
		{"services.nacos.source.nacos.access_key", "belong together", source("nacos", func(s *Source) { s.Nacos.AccessKey = "" })},
		{"services.nacos.source.nacos.access_key", "belong together", source("nacos", func(s *Source) { s.Nacos.SecretKey = "" })},
		{"services.nacos.source.nacos.tls", "belong together", source("nacos", func(s *Source) { s.Nacos.TLS = &SourceTLS{Cert: "c"} })},
		{"services.eureka.source.eureka.servers[0]", "as in http://127.0.0.1:8761/eureka", source("eureka", func(s *Source) { s.Eureka.Servers[0] = "u:hunter2@10.0.0.1:8761" })},
		{"services.eureka.source.eureka.interval", "less than 100ms", source("eureka", func(s *Source) { s.Eureka.Interval = 1 })},
		{"services.zookeeper.source.zookeeper.servers[0]", "as in 127.0.0.1:2181", source("zookeeper", func(s *Source) { s.Zookeeper.Servers[0] = "zk://a" })},
		{"services.zookeeper.source.zookeeper.servers[0]", "as in", source("zookeeper", func(s *Source) { s.Zookeeper.Servers[0] = "a:1,b:2/path" })},
		{"services.zookeeper.source.zookeeper.path", "begin with a slash", source("zookeeper", func(s *Source) { s.Zookeeper.Path = "a" })},
		{"services.zookeeper.source.zookeeper.path", "no node can have", source("zookeeper", func(s *Source) { s.Zookeeper.Path = "/a/../b" })},
		{"services.zookeeper.source.zookeeper.path", "no node can have", source("zookeeper", func(s *Source) { s.Zookeeper.Path = "/a/" })},
		{"services.pod.source.kubernetes.service", "not a name in Kubernetes", source("pod", func(s *Source) { s.Kubernetes.Service = "a/b" })},
		{"services.pod.source.kubernetes.namespace", "not a name in Kubernetes", source("pod", func(s *Source) { s.Kubernetes.Namespace = "Shop" })},
		{"services.pod.source.kubernetes.context", "only a kubeconfig", source("pod", func(s *Source) { s.Kubernetes.Context = "c" })},
		{"services.pod.source.kubernetes.scheme", "not one of", source("pod", func(s *Source) { s.Kubernetes.Scheme = "tcp" })},
		{"services.kubeconfig.source.kubernetes.kubeconfig", "leave those out", source("kubeconfig", func(s *Source) { s.Kubernetes.Token = "hunter2" })},
		{"services.kubernetes.source.kubernetes.token", "one is enough", source("kubernetes", func(s *Source) { s.Kubernetes.Token = "hunter2" })},
		{"services.kubernetes.source.kubernetes.server", "as in", source("kubernetes", func(s *Source) { s.Kubernetes.Server = "10.0.0.1:6443" })},
		{"services.merge.source.merge", "at least two", source("merge", func(s *Source) { s.Merge = s.Merge[:1] })},
		{"services.merge.source.merge", "every part is a shadow", source("merge", func(s *Source) { s.Merge[0].Shadow = true })},
		{"services.merge.source.merge[1]", "needs one of", source("merge", func(s *Source) { s.Merge[1].Eureka = nil })},
		{"services.merge.source.merge[1]", "eureka and custom", source("merge", func(s *Source) { s.Merge[1].Custom = discovery.Static{} })},
		{"services.merge.source.merge[1].eureka.app", "is missing", source("merge", func(s *Source) { s.Merge[1].Eureka.App = "" })},
		{"services.merge.source.merge[0].merge", "is no merge", source("merge", func(s *Source) {
			s.Merge[0].Source = Source{Merge: []SourcePart{s.Merge[0], s.Merge[1]}}
		})},
		{"services.merge.source", "consul and merge", source("merge", func(s *Source) { s.Consul = &ConsulSource{Service: "a"} })},
		{"services.agent.guard.max_removal", "more than 100", func(c *Config) {
			s := c.Services["agent"]
			s.Guard.MaxRemoval = 101
			c.Services["agent"] = s
		}},
		{"discover.all.source", "is missing", entry(func(d *Discover) { d.Source = Source{} })},
		{"discover.all.source", "write {service}", entry(func(d *Discover) { d.Source.Nacos.Service = "a" })},
		{"discover.all.allow[1]", "is not a pattern", entry(func(d *Discover) { d.Allow = []string{"a*", "[a-"} })},
		{"discover.all.allow[0]", "fits no service", entry(func(d *Discover) { d.Allow = []string{"a/*"} })},
		{"discover.all.allow[0]", "an empty pattern", entry(func(d *Discover) { d.Allow = []string{""} })},
		{"discover.all.source.merge[0]", "that of one service", entry(func(d *Discover) {
			d.Source = Source{Merge: []SourcePart{{Source: Source{Custom: discovery.Static{}}}, {Source: Source{File: &FileSource{Path: "{service}"}}}}}
		})},
		{"discover.all.source", "that of one service", entry(func(d *Discover) { d.Source = Source{Custom: discovery.Static{}} })},
		{"discover.all.source.merge[1]", "write {service}", entry(func(d *Discover) {
			d.Source = Source{Merge: []SourcePart{{Source: d.Source}, {Source: Source{Consul: &ConsulSource{Service: "a"}}}}}
		})},
		{"discover.all.source.dns.url", "no path", entry(func(d *Discover) { d.Source = Source{DNS: &DNSSource{URL: "http://a/{service}"}} })},
		{"discover.all.health.check", "not a method and a path", entry(func(d *Discover) { d.Health.Check = "x" })},
		{"discover.all.policy.key", "only consistent_hash", entry(func(d *Discover) { d.Policy.Key = "path" })},
		{"discover.all.max", "less than 1", entry(func(d *Discover) { d.Max = -1 })},
		{at + ".discover", "has no entry", func(c *Config) { c.Routes[last].Discover = "al" }},
		{at + ".discover", "not both", func(c *Config) { c.Routes[last].Service = "users" }},
		{at + ".service", "is missing", func(c *Config) { c.Routes[last].Discover = "" }},
		{at + ".match.path", "no segment {service}", func(c *Config) { c.Routes[last].Match.Path = "/{services}/**" }},
		{at + ".match.path", "no segment {service}", func(c *Config) { c.Routes[last].Match.Path = "/a{service}/**" }},
	} {
		t.Run(test.path+" "+test.message, func(t *testing.T) {
			c := registries()
			test.spoil(&c)
			var errs *Errors
			if !errors.As(c.Validate(), &errs) {
				t.Fatal("accepted")
			}
			found := false
			for _, p := range errs.List {
				found = found || p.Path == test.path && strings.Contains(p.Message, test.message)
				if strings.Contains(fmt.Sprintf("%+v", p), "hunter2") {
					t.Errorf("a password is shown: %+v", p)
				}
			}
			if !found || len(errs.List) > 2 {
				t.Errorf("found %v", errs)
			}
		})
	}
}

// What is wrong with a DNS source, and what was meant.
func TestValidateFindsInDNS(t *testing.T) {
	for _, test := range []struct {
		source              DNSSource
		path, message, near string
	}{
		{DNSSource{}, "", "needs url", ""},
		{DNSSource{Server: "10.0.0.1"}, "", "needs url", ""},
		{DNSSource{URL: "http://a", SRV: "_http._tcp.a"}, ".srv", "there is a url as well", ""},
		{DNSSource{SRV: "http.tcp.a"}, ".srv", "it is _service._proto.name", "_http._tcp.a"},
		{DNSSource{SRV: "http://a:80"}, ".srv", "the record says the ports", "_http._tcp.a"},
		{DNSSource{SRV: "_http._tcp.a/b"}, ".srv", "it has a '/'", ""},
		{DNSSource{URL: "http://a", Scheme: "https"}, ".scheme", "only srv has one", ""},
		{DNSSource{SRV: "_http._tcp.a", Scheme: "h2"}, ".scheme", `"h2" is not one of http, https`, ""},
		{DNSSource{SRV: "_http._tcp.a", Server: "ns.example:53"}, ".server", "name server", ""},
	} {
		c := registries()
		c.Services["dns"] = Service{Source: &Source{DNS: &test.source}}
		var errs *Errors
		if !errors.As(c.Validate(), &errs) || len(errs.List) != 1 {
			t.Errorf("%+v: %v", test.source, errs)
			continue
		}
		if p := errs.List[0]; p.Path != "services.dns.source.dns"+test.path || !strings.Contains(p.Message, test.message) || p.Near != test.near {
			t.Errorf("%+v: %+v", test.source, p)
		}
	}
	c := registries()
	c.Services["dns"] = Service{Source: &Source{DNS: &DNSSource{SRV: "_http._tcp.a.", Scheme: "https", Server: "::1"}}}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// The name of a service may come from any client, and goes into paths and URLs.
func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"users": true, "USERS": true, "a": true, "7": true, "com.example.Orders": true, "a-b_c.d": true, strings.Repeat("a", 128): true,
		"": false, strings.Repeat("a", 129): false, ".": false, "..": false, "a..b": false, "-a": false, "a-": false, ".a": false, "a.": false,
		"a/b": false, "a%2fb": false, "a b": false, "a?b": false, "a#b": false, "a@b": false, "a:b": false, "{service}": false, "ü": false,
		"a\n": false, "a\x00b": false, "a\\b": false, "*": false, "a;b": false, "a&b": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A discovered service has its name where the pattern says, and everything else of the
// entry; the entry stays as it is.
func TestDiscoveredService(t *testing.T) {
	secure := &SourceTLS{CA: "{service}"}
	d := Discover{
		Policy: Policy{Type: "random"}, Shadow: "p2c", LoadReports: true, Health: &Health{Check: "HEAD /"}, Breaker: Breaker{Off: true}, ProxyProtocol: "v2", PanicThreshold: 7, SlowStart: SlowStart{Window: 5}, Zones: Zones{Share: 50}, Priorities: Priorities{Key: "p"}, Subset: Subset{Size: 3}, Retry: Retry{Attempts: 3}, Hedge: &Hedge{MaxExtra: 3}, Overload: Overload{MaxInFlight: 4},
		Connections: Connections{Max: 9}, Protocol: "auto", TLS: &EndpointTLS{CA: "x"}, Guard: Guard{MaxRemoval: -1}, Lanes: &Lanes{By: "path"}, Sticky: &Sticky{Cookie: "lb"},
		Source: Source{
			File: &FileSource{Path: "lists/{service}.yaml"}, DNS: &DNSSource{URL: "http://{service}.internal:{service}", SRV: "_{service}._tcp.a", Server: "{service}"},
			Etcd:       &EtcdSource{Servers: []string{"{service}"}, Prefix: "/s/{service}/", Username: "{service}", Password: "{service}", TLS: secure},
			Consul:     &ConsulSource{Server: "{service}", Service: "{service}", Token: "{service}"},
			Nacos:      &NacosSource{Service: "p-{service}", Group: "g-{service}", Password: "{service}"},
			Eureka:     &EurekaSource{App: "{service}", Password: "{service}"},
			Zookeeper:  &ZookeeperSource{Path: "/s/{service}", Password: "{service}"},
			Kubernetes: &KubernetesSource{Service: "{service}", Namespace: "n-{service}", Token: "{service}", Kubeconfig: "{service}"},
		},
	}
	d.Source.Merge = []SourcePart{{Source: Source{Eureka: &EurekaSource{App: "m-{service}"}}, Shadow: true}}
	before := fmt.Sprintf("%+v %+v %+v", *d.Source.Etcd, *d.Source.Nacos, *d.Source.Merge[0].Eureka)
	s := d.Service("users")
	got := *s.Source
	for what, pair := range map[string][2]string{
		"file": {got.File.Path, "lists/users.yaml"}, "dns": {got.DNS.URL, "http://users.internal:users"}, "srv": {got.DNS.SRV, "_users._tcp.a"}, "etcd": {got.Etcd.Prefix, "/s/users/"},
		"consul": {got.Consul.Service, "users"}, "nacos": {got.Nacos.Service, "p-users"}, "group": {got.Nacos.Group, "g-users"},
		"eureka": {got.Eureka.App, "users"}, "zookeeper": {got.Zookeeper.Path, "/s/users"}, "kubernetes": {got.Kubernetes.Service, "users"},
		"namespace": {got.Kubernetes.Namespace, "n-users"}, "merge": {got.Merge[0].Eureka.App, "m-users"},
		// What a name must not reach: where requests and credentials go.
		"name server": {got.DNS.Server, "{service}"}, "server": {got.Etcd.Servers[0], "{service}"}, "agent": {got.Consul.Server, "{service}"},
		"user": {got.Etcd.Username, "{service}"}, "password": {got.Etcd.Password, "{service}"}, "token": {got.Consul.Token, "{service}"},
		"ca": {got.Etcd.TLS.CA, "{service}"}, "kubeconfig": {got.Kubernetes.Kubeconfig, "{service}"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
		}
	}
	if !got.Merge[0].Shadow {
		t.Error("the part is no shadow any more")
	}
	if after := fmt.Sprintf("%+v %+v %+v", *d.Source.Etcd, *d.Source.Nacos, *d.Source.Merge[0].Eureka); after != before {
		t.Errorf("the entry was changed: %s", after)
	}
	// Every field that both have is handed on.
	from, to := reflect.ValueOf(d), reflect.ValueOf(s)
	shared := 0
	for i := range from.NumField() {
		name := from.Type().Field(i).Name
		if f := to.FieldByName(name); f.IsValid() && name != "Source" {
			if shared++; !reflect.DeepEqual(f.Interface(), from.Field(i).Interface()) || f.IsZero() {
				t.Errorf("%s is not handed on", name)
			}
		}
	}
	for i := range to.NumField() {
		if name := to.Type().Field(i).Name; name != "Endpoints" && !from.FieldByName(name).IsValid() {
			t.Errorf("a service has %s, and an entry of discover has not", name)
		}
	}
	if shared < 8 {
		t.Errorf("only %d fields", shared)
	}
}
