package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// good is a configuration in which every part is used and nothing is wrong.
func good() Config {
	return Config{
		Version:        1,
		Listen:         []Listen{{Address: "127.0.0.1:8080"}, {Address: ":8443", TLS: &TLS{Certificates: []Certificate{{"c", "k"}}}}},
		TrustedProxies: []string{"10.0.0.0/8", "::1", "192.0.2.1"},
		Services: map[string]Service{
			"users": {
				Endpoints: []Endpoint{{URL: "http://127.0.0.1:9001"}, {URL: "https://[::1]", Weight: 3}, {URL: "unix:/run/x"}, {URL: "http://users.local:80"}},
				Policy:    Policy{Type: "round_robin"},
				Health:    &Health{Check: "GET /health?full=1", Expect: []string{"200", "300-399"}},
				Retry:     Retry{Attempts: 3, On: []string{"connect", "429"}},
			},
			"carts": {
				Source: &Source{DNS: &DNSSource{URL: "http://carts.example:8080", Server: "10.0.0.10:53"}},
				Policy: Policy{Type: "consistent_hash", Key: "path", Algorithm: "maglev", BoundedLoad: 1.25},
			},
		},
		Routes: []Route{
			{Service: "users", Match: Match{Methods: []string{"GET"}}, Rewrite: Rewrite{StripPrefix: "/api", Replace: &Replace{"/a", "/b"}}},
			{Service: "carts", Timeout: time.Minute},
		},
	}
}

func TestValidateAcceptsGood(t *testing.T) {
	c := good()
	if err := c.Validate(); err != nil {
		t.Errorf("as written: %v", err)
	}
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		t.Errorf("with defaults: %v", err)
	}
}

func users(c *Config, change func(*Service)) {
	s := c.Services["users"]
	change(&s)
	c.Services["users"] = s
}

// many is a list of one.
func many(v string) []string { return []string{v} }

// TestValidateFinds breaks one thing at a time: it must be found where it is, alone.
func TestValidateFinds(t *testing.T) {
	for _, test := range []struct {
		path, message, near string
		spoil               func(*Config)
	}{
		{"version", `"2" is not known: it is 1`, "", func(c *Config) { c.Version = 2 }},
		{"listen[0].address", "is missing", "", func(c *Config) { c.Listen[0].Address = "" }},
		{"listen[0].address", "a port is missing", "", func(c *Config) { c.Listen[0].Address = "127.0.0.1" }},
		{"listen[0].address", "a port is missing", "", func(c *Config) { c.Listen[0].Address = "::1" }},
		{"listen[0].address", "not an address", "", func(c *Config) { c.Listen[0].Address = "a:b:c" }},
		{"listen[0].address", `"70000" is not a port`, "", func(c *Config) { c.Listen[0].Address = "127.0.0.1:70000" }},
		{"listen[0].address", `"http" is not a port`, "", func(c *Config) { c.Listen[0].Address = "127.0.0.1:http" }},
		{"listen[0].address", "is not an IP address", "", func(c *Config) { c.Listen[0].Address = "127.0.0.256:80" }},
		{"listen[1].address", "same address as that of listen[0]", "", func(c *Config) { c.Listen[0].Address = "0.0.0.0:8443" }},
		{"listen[1].address", "same address as that of listen[0]", "", func(c *Config) { c.Listen[0].Address = "[::]:8443" }},
		{"listen[1].tls.certificates", "is missing", "", func(c *Config) { c.Listen[1].TLS.Certificates = nil }},
		{"listen[1].tls.certificates[0].key", "is missing", "", func(c *Config) { c.Listen[1].TLS.Certificates[0].Key = "" }},
		{"listen[1].tls.min_version", "is not one of", "1.2", func(c *Config) { c.Listen[1].TLS.MinVersion = "12" }},
		{"trusted_proxies[1]", "neither an IP address nor a prefix", "", func(c *Config) { c.TrustedProxies[1] = "10.0.0.0/33" }},
		{"trusted_proxies[0]", "by its address alone", "10.1.2.3", func(c *Config) { c.TrustedProxies[0] = "10.1.2.3:80" }},
		{"trusted_proxies[0]", "by its address alone", "2001:db8::/32", func(c *Config) { c.TrustedProxies[0] = "[2001:db8::]/32" }},
		{"trusted_proxies[0]", "by its address alone", "::1", func(c *Config) { c.TrustedProxies[0] = "[::1]:443" }},
		{"trusted_proxies[0]", "bits set behind", "10.0.0.0/8", func(c *Config) { c.TrustedProxies[0] = "10.1.2.3/8" }},
		{"timeouts.idle", "-1s is less than 1ms", "", func(c *Config) { c.Timeouts.Idle = -time.Second }},
		{"limits.head", "512B is less than 1KiB", "", func(c *Config) { c.Limits.Head = 512 }},
		{"limits.head", "2MiB is more than 1MiB", "", func(c *Config) { c.Limits.Head = 2 << 20 }},
		{"limits.target", "2KiB is more than a whole head may have (limits.head is 1KiB)", "", func(c *Config) { c.Limits.Head, c.Limits.Target = 1<<10, 2<<10 }},
		{"limits.fields", "15 is less than 16", "", func(c *Config) { c.Limits.Fields = 15 }},
		{"listen[0].protocol", `"htp2" is not one of`, "http2", func(c *Config) { c.Listen[0].Protocol = "htp2" }},
		{"limits.streams", "20000 is more than 10000", "", func(c *Config) { c.Limits.Streams = 20000 }},
		{"limits.requests", "-1 is less than 0", "", func(c *Config) { c.Limits.Requests = -1 }},
		{"timeouts.max_age", "-1s is less than 0s", "", func(c *Config) { c.Timeouts.MaxAge = -time.Second }},
		{"limits.interim", "-1 is less than 0", "", func(c *Config) { c.Limits.Interim = -1 }},
		{"log.level", "is not one of", "warn", func(c *Config) { c.Log.Level = "WARN" }},
		{"access_log.buffer", "is less than 1", "", func(c *Config) { c.AccessLog.Buffer = -1 }},
		{"services", "no service", "", func(c *Config) { c.Services = nil; c.Routes = nil }},
		{"routes", "no route", "", func(c *Config) { c.Routes = nil }},
		{"services.users", "needs endpoints or a source", "", func(c *Config) { users(c, func(s *Service) { s.Endpoints = nil }) }},
		{"services.users.source", "not both", "", func(c *Config) {
			users(c, func(s *Service) { s.Source = &Source{File: &FileSource{Path: "x"}} })
		}},
		{"services.users.endpoints[0].url", "is missing", "", func(c *Config) { users(c, func(s *Service) { s.Endpoints[0].URL = "" }) }},
		{"services.users.endpoints[0].url", "begins with http://", "", func(c *Config) { users(c, func(s *Service) { s.Endpoints[0].URL = "127.0.0.1:1" }) }},
		{"services.users.endpoints[0].url", `scheme "ftp"`, "", func(c *Config) { users(c, func(s *Service) { s.Endpoints[0].URL = "ftp://a" }) }},
		{"services.users.endpoints[0].url", "has no path", "", func(c *Config) { users(c, func(s *Service) { s.Endpoints[0].URL = "http://a/b" }) }},
		{"services.users.endpoints[1].url", "listed already", "", func(c *Config) { users(c, func(s *Service) { s.Endpoints[0].URL = "https://[0:0::1]:443" }) }},
		{"services.users.endpoints[0].weight", "1001 is more than 1000", "", func(c *Config) { users(c, func(s *Service) { s.Endpoints[0].Weight = 1001 }) }},
		{"services.users.endpoints[0].weight", "-1 is less than 1", "", func(c *Config) { users(c, func(s *Service) { s.Endpoints[0].Weight = -1 }) }},
		{"services.users.policy.type", "is not one of", "round_robin", func(c *Config) { users(c, func(s *Service) { s.Policy.Type = "roundrobin" }) }},
		{"services.users.policy.key", "only consistent_hash", "", func(c *Config) { users(c, func(s *Service) { s.Policy.Key = "path" }) }},
		{"services.users.policy.algorithm", "only consistent_hash", "", func(c *Config) { users(c, func(s *Service) { s.Policy.Algorithm = "maglev" }) }},
		{"services.users.policy.bounded_load", "only consistent_hash", "", func(c *Config) { users(c, func(s *Service) { s.Policy.BoundedLoad = 2 }) }},
		{"services.carts.policy.bounded_load", "0.5 is less than 1", "", func(c *Config) {
			s := c.Services["carts"]
			s.Policy.BoundedLoad = 0.5
			c.Services["carts"] = s
		}},
		{"services.carts.source.dns.url", "no host name", "", func(c *Config) { c.Services["carts"].Source.DNS.URL = "http://10.0.0.1" }},
		{"services.carts.source.dns.server", "name server", "", func(c *Config) { c.Services["carts"].Source.DNS.Server = "ns.example:53" }},
		{"services.carts.source", "needs one of file, dns, etcd", "", func(c *Config) { c.Services["carts"].Source.DNS = nil }},
		{"services.carts.source", "file and dns", "", func(c *Config) { c.Services["carts"].Source.File = &FileSource{Path: "x"} }},
		{"services.users.health.check", "is missing", "", func(c *Config) { c.Services["users"].Health.Check = "" }},
		{"services.users.health.check", "not a method and a path", "HEAD /x", func(c *Config) { c.Services["users"].Health.Check = "/x" }},
		{"services.users.health.check", "case-sensitive", "GET /x", func(c *Config) { c.Services["users"].Health.Check = "get /x" }},
		{"services.users.health.check", "percent-encoded", "", func(c *Config) { c.Services["users"].Health.Check = "GET /x y" }},
		{"services.users.health.port", "70000 is more than 65535", "", func(c *Config) { c.Services["users"].Health.Port = 70000 }},
		{"services.users.health.match", `in Go say MatchFunc: regexp.MustCompile("^ok").Match`, "", func(c *Config) { c.Services["users"].Health.Match = "/^ok/" }},
		{"services.users.health.match", "no content", "", func(c *Config) { h := c.Services["users"].Health; h.Check, h.MatchFunc = "HEAD /x", utf8.Valid }},
		{"services.users.health.match", "no content", "", func(c *Config) { h := c.Services["users"].Health; h.Check, h.Match = "HEAD /x", "ready" }},
		{"services.users.health.headers[\"a b\"]", "not the name of a field", "", func(c *Config) { c.Services["users"].Health.Headers = map[string]string{"a b": "x"} }},
		{"services.users.health.headers.content-length", "not yours to set", "", func(c *Config) { c.Services["users"].Health.Headers = map[string]string{"content-length": "1"} }},
		{"services.users.health.headers.X", "no field can carry", "", func(c *Config) { c.Services["users"].Health.Headers = map[string]string{"X": "a\r\nb"} }},
		{"services.users.health.headers.Host", "given as host", "", func(c *Config) {
			h := c.Services["users"].Health
			h.Host, h.Headers = "a", map[string]string{"Host": "b"}
		}},
		{"services.users.health.expect", "only connects", "", func(c *Config) { c.Services["users"].Health.Check = "tcp" }},
		{"services.users.slow_start.from", "101 is more than 100", "", func(c *Config) { users(c, func(s *Service) { s.SlowStart.From = 101 }) }},
		{"services.users.slow_start.window", "less than", "", func(c *Config) { users(c, func(s *Service) { s.SlowStart.Window = -1 }) }},
		{"services.users.health.timeout", "2s is longer than the interval, 1s", "", func(c *Config) {
			c.Services["users"].Health.Interval, c.Services["users"].Health.Timeout = time.Second, 2*time.Second
		}},
		{"services.users.health.expect[0]", "neither a status nor a range", "", func(c *Config) { c.Services["users"].Health.Expect = many("399-200") }},
		{"services.users.health.expect[0]", "neither a status nor a range", "", func(c *Config) { c.Services["users"].Health.Expect = many("600") }},
		{"services.users.health.expect", "no status", "", func(c *Config) { c.Services["users"].Health.Expect = []string{} }},
		{"services.users.breaker.outliers.max_ejected", "51 is more than 50", "", func(c *Config) { users(c, func(s *Service) { s.Breaker.Outliers = &Outliers{MaxEjected: 51} }) }},
		{"services.users.breaker.outliers.failure_rate", "101 is more than 100", "", func(c *Config) { users(c, func(s *Service) { s.Breaker.Outliers = &Outliers{FailureRate: 101} }) }},
		{"services.users.breaker.outliers.latency", "1.2 is less than 1.5", "", func(c *Config) { users(c, func(s *Service) { s.Breaker.Outliers = &Outliers{Latency: 1.2} }) }},
		{"services.users.breaker.outliers.latency", "is missing: with failure_rate -1 nothing would be compared", "3", func(c *Config) { users(c, func(s *Service) { s.Breaker.Outliers = &Outliers{FailureRate: -1} }) }},
		{"services.users.breaker.failure_rate", "101 is more than 100", "", func(c *Config) { users(c, func(s *Service) { s.Breaker.FailureRate = 101 }) }},
		{"services.users.panic_threshold", "-2 is less than -1", "", func(c *Config) { users(c, func(s *Service) { s.PanicThreshold = -2 }) }},
		{"services.users.retry.attempts", "9 is more than 8", "", func(c *Config) { users(c, func(s *Service) { s.Retry.Attempts = 9 }) }},
		{"services.users.retry.on[0]", "is not retried on", "timeout", func(c *Config) { users(c, func(s *Service) { s.Retry.On = many("timeouts") }) }},
		{"services.users.retry.on[0]", "is not retried on", "", func(c *Config) { users(c, func(s *Service) { s.Retry.On = many("200") }) }},
		{"services.users.connections.max", "-1 is less than 0", "", func(c *Config) { users(c, func(s *Service) { s.Connections.Max = -1 }) }},
		{"routes[1].service", `no service "cart"`, "carts", func(c *Config) { c.Routes[1].Service = "cart" }},
		{"routes[1].service", "is missing", "", func(c *Config) { c.Routes[1].Service = "" }},
		{"routes[1].timeout", "less than", "", func(c *Config) { c.Routes[1].Timeout = -2 }},
		{"routes[0].match.listener", `no entry of listen has the name "inbond"`, "inbound", func(c *Config) { c.Listen[1].Name, c.Routes[0].Match.Listener = "inbound", "inbond" }},
		{"listen[1].name", `listen[0] has the name "in" already`, "", func(c *Config) { c.Listen[0].Name, c.Listen[1].Name = "in", "in" }},
		{"listen[0].name", "is no name", "", func(c *Config) { c.Listen[0].Name = "in/out" }},
		{"routes[0].match.methods[0]", "case-sensitive", "GET", func(c *Config) { c.Routes[0].Match.Methods = many("get") }},
		{"routes[0].match.methods[0]", "not a method", "", func(c *Config) { c.Routes[0].Match.Methods = many("G T") }},
		{"routes[0].rewrite.strip_prefix", "begin with a slash", "/api", func(c *Config) { c.Routes[0].Rewrite.StripPrefix = "api" }},
		{"routes[0].rewrite.replace.prefix", "is missing", "", func(c *Config) { c.Routes[0].Rewrite.Replace.Prefix = "" }},
		{`services["a.b"]`, "needs endpoints", "", func(c *Config) { c.Services["a.b"] = Service{} }},
	} {
		t.Run(test.path+" "+test.message, func(t *testing.T) { finds(t, test.path, test.message, test.near, test.spoil) })
	}
}

// finds spoils a good configuration and expects one problem.
func finds(t *testing.T, path, message, near string, spoil func(*Config)) {
	t.Helper()
	c := good()
	spoil(&c)
	var found *Errors
	if !errors.As(c.Validate(), &found) {
		t.Fatal("nothing was found")
	}
	i := slices.IndexFunc(found.List, func(p Problem) bool {
		return p.Path == path && strings.Contains(p.Message, message) && p.Near == near
	})
	if i < 0 {
		t.Errorf("found only:\n%+v", found.List)
	}
	if len(found.List) > 1 && path != "services" {
		t.Errorf("one mistake, %d problems:\n%v", len(found.List), found)
	}
	// The same with defaults: nothing may hide or appear.
	full := c.WithDefaults()
	if got, want := fmt.Sprint(full.Validate()), found.Error(); got != want {
		t.Errorf("with defaults:\n%s\nwithout:\n%s", got, want)
	}
}

// What is said of the operator's side: metrics, the admin API, the listener for probes.
func TestValidateFindsOfTheOperator(t *testing.T) {
	for _, test := range []struct {
		path, message, near string
		spoil               func(*Config)
	}{
		{"metrics.buckets[1]", "3ms is not a bound", "2.5ms", func(c *Config) { c.Metrics.Buckets = []time.Duration{time.Millisecond, 3 * time.Millisecond} }},
		{"metrics.buckets[1]", "is there already", "", func(c *Config) { c.Metrics.Buckets = []time.Duration{time.Millisecond, time.Millisecond} }},
		{"admin.tokens", "can be reached by others: at least one token", "", func(c *Config) { c.Admin = Admin{Address: ":9900", TLS: c.Listen[1].TLS} }},
		{"admin.tls", "tokens would be readable on the way", "", func(c *Config) {
			c.Admin = Admin{Address: "10.0.0.1:9900", Tokens: []AdminToken{{Name: "a", Token: "0123456789abcdef"}}}
		}},
		{"admin.tokens[0].token", "has 5 bytes: at least 16", "", func(c *Config) {
			c.Admin = Admin{Address: "127.0.0.1:9900", Tokens: []AdminToken{{Name: "a", Token: "short"}}}
		}},
		{"admin.tokens[0].role", "is not one of view, operate", "operate", func(c *Config) {
			c.Admin = Admin{Address: "127.0.0.1:9900", Tokens: []AdminToken{{Name: "a", Token: "0123456789abcdef", Role: "operator"}}}
		}},
		{"admin.address", "without it there is no admin API", "", func(c *Config) { c.Admin.Profiles = true }},
		{"admin.address", "same address as listen[0].address", "", func(c *Config) { c.Admin.Address = c.Listen[0].Address }},
		{"status.address", "same address as admin.address", "", func(c *Config) { c.Admin.Address, c.Status.Address = "127.0.0.1:9900", "127.0.0.1:9900" }},
		{"status.address", "begins with /", "", func(c *Config) { c.Status.Address = "unix:poise.sock" }},
	} {
		t.Run(test.path+" "+test.message, func(t *testing.T) { finds(t, test.path, test.message, test.near, test.spoil) })
	}
}

func TestValidateFindsOfBrowsers(t *testing.T) {
	const origin = "routes[0].cors.origins[0]"
	type spoil = func(*Config)
	cors := func(o CORS) spoil { return func(c *Config) { c.Routes[0].CORS = &o } }
	from := func(origin string) spoil { return cors(CORS{Origins: []string{origin}}) }
	for _, test := range []struct {
		path, message, near string
		spoil               spoil
	}{
		{"routes[0].cors.origins", "is missing", "", cors(CORS{})},
		{origin, "scheme://host is expected", "", from("shop.example")},
		{origin, "scheme://host is expected", "", from("null")},
		{origin, "nothing follows the host", "https://shop.example", from("https://shop.example/")},
		{origin, "nothing follows the host", "https://shop.example", from("https://shop.example?")},
		{origin, "nothing follows the host", "https://shop.example", from("https://me@shop.example")},
		{origin, "in small letters", "https://shop.example", from("https://Shop.example")},
		{origin, "leave out the port", "https://shop.example", from("https://shop.example:443")},
		{origin, "leave out the port", "http://*.shop.example", from("http://*.shop.example:80")},
		{origin, "stands for the first labels", "", from("https://shop.*")},
		{origin, "stands for the first labels", "", from("https://*")},
		{origin, "stands for the first labels", "", from("https://*.")},
		{origin, "in ASCII", "", from("https://b\u00fccher.example")},
		{"routes[0].cors.origins", "it stands alone", "", cors(CORS{Origins: []string{"https://a.example", "*"}})},
		{"routes[0].cors.credentials", "browsers refuse", "", cors(CORS{Origins: []string{"*"}, Credentials: true})},
		{"routes[0].cors.headers[1]", "is not the name of a field", "", cors(CORS{Origins: []string{"*"}, Headers: []string{"x-a", "x a"}})},
		{"routes[0].cors.expose[0]", "name the fields", "", cors(CORS{Origins: []string{"*"}, Expose: []string{"*"}})},
		{"routes[0].cors.max_age", "is more than", "", cors(CORS{Origins: []string{"*"}, MaxAge: 25 * time.Hour})},
		{"services.grpc.endpoints[1].url", "a route of gRPC-Web needs HTTP/2", "h2c://10.0.0.2:80", func(c *Config) {
			c.Services["grpc"] = Service{Endpoints: []Endpoint{{URL: "h2c://10.0.0.1:80"}, {URL: "http://10.0.0.2:80"}}}
			c.Routes[0].Service, c.Routes[0].GRPCWeb = "grpc", true
		}},
	} {
		t.Run(test.path+" "+test.message, func(t *testing.T) { finds(t, test.path, test.message, test.near, test.spoil) })
	}
}

func TestValidateLooksNotAtTheWordsOfCustomPolicies(t *testing.T) {
	c := good()
	users(&c, func(s *Service) { s.Policy = Policy{Custom: &customPolicy{}, Type: "mine", Key: "anything"} })
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	for want, got := range map[string]string{
		"a":          Key("", "a"),
		"a.b":        Key("a", "b"),
		`a["b.c"]`:   Key("a", "b.c"),
		`a[""]`:      Key("a", ""),
		`a["b\"c"]`:  Key("a", `b"c`),
		"a[3]":       Index("a", 3),
		"a[3].b_c-d": Key(Index("a", 3), "b_c-d"),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
