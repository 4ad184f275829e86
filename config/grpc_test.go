package config

import "testing"

// grpc has the second route take those calls, for a service that is asked by grpc.health.v1.
func grpc(c *Config, calls string) {
	if c.Services["carts"].Endpoints == nil {
		c.Services["carts"] = Service{Endpoints: []Endpoint{{URL: "h2c://10.0.0.1"}}, Health: &Health{Check: "grpc"}}
	}
	c.Routes[1].Match = Match{Host: "a.example.com", GRPC: calls}
}

func TestValidateFindsMistakesOfGRPC(t *testing.T) {
	for _, test := range []struct {
		path, message, near string
		spoil               func(*Config)
	}{
		{"routes[1].match.grpc", "as in shop.Cart/Add", "shop.Cart/*", func(c *Config) { grpc(c, "shop.Cart") }},
		{"routes[1].match.grpc", "as in shop.Cart/Add", "shop.Cart/*", func(c *Config) { grpc(c, "shop.Cart/") }},
		{"routes[1].match.grpc", "no slash before", "shop.Cart/Add", func(c *Config) { grpc(c, "/shop.Cart/Add") }},
		{"routes[1].match.grpc", "one by one", "", func(c *Config) { grpc(c, "shop.*") }},
		{"routes[1].match.grpc", "one by one", "", func(c *Config) { grpc(c, "shop.*/Add") }},
		{"routes[1].match.grpc", "every call", "*", func(c *Config) { grpc(c, "*/*") }},
		{"routes[1].match.grpc", "every call", "", func(c *Config) { grpc(c, "shop.Cart/Add/x") }},
		{"routes[1].match.grpc", "every call", "", func(c *Config) { grpc(c, "shop-cart/Add") }},
		{"routes[1].match.path", "leave it out", "", func(c *Config) { grpc(c, "*"); c.Routes[1].Match.Path = "/a" }},
		{"routes[1].match.methods", "always a POST", "", func(c *Config) { grpc(c, "*"); c.Routes[1].Match.Methods = many("POST") }},
		{"services.carts.endpoints[0].url", "a route of gRPC needs HTTP/2", "h2c://10.0.0.1:80", func(c *Config) {
			grpc(c, "*")
			c.Services["carts"] = Service{Endpoints: []Endpoint{{URL: "http://10.0.0.1:80"}}, Health: &Health{Check: "tcp"}}
		}},
		{"services.carts.protocol", "https://10.0.0.1 is spoken to with HTTP/1.1", "http2", func(c *Config) {
			grpc(c, "*")
			c.Services["carts"] = Service{Endpoints: []Endpoint{{URL: "https://10.0.0.1"}}}
		}},
		{"services.carts.protocol", "unix:/run/a.sock is spoken to with HTTP/1.1", "http2", func(c *Config) {
			grpc(c, "*")
			c.Services["carts"] = Service{Endpoints: []Endpoint{{URL: "unix:/run/a.sock"}}, Protocol: "auto"}
		}},
		{"services.carts.endpoints[1].url", "a check of gRPC needs HTTP/2", "h2c://10.0.0.2:80", func(c *Config) {
			c.Services["carts"] = Service{Endpoints: []Endpoint{{URL: "h2c://10.0.0.1:80"}, {URL: "http://10.0.0.2:80"}}, Health: &Health{Check: "grpc"}}
			grpc(c, "*") // said once
		}},
		{"services.carts.health.check", "not the name of a gRPC service", "grpc shop.Cart", func(c *Config) { grpc(c, "*"); c.Services["carts"].Health.Check = "grpc shop.Cart/Add" }},
		{"services.carts.health.check", "not the name of a gRPC service", "", func(c *Config) { grpc(c, "*"); c.Services["carts"].Health.Check = "grpc shop-cart" }},
		{"services.carts.health.check", "nor is it tcp or grpc", "grpc", func(c *Config) { grpc(c, "*"); c.Services["carts"].Health.Check = "GRPC" }},
		{"services.carts.health.match", "by the answer SERVING alone", "", func(c *Config) { grpc(c, "*"); c.Services["carts"].Health.Match = "ok" }},
		{"services.carts.health.expect", "by the answer SERVING alone", "", func(c *Config) { grpc(c, "*"); c.Services["carts"].Health.Expect = many("200") }},
	} {
		t.Run(test.path+" "+test.message, func(t *testing.T) { finds(t, test.path, test.message, test.near, test.spoil) })
	}
}

func TestCallsThatNameTheService(t *testing.T) {
	c := good()
	c.Discover = map[string]Discover{"mesh": {Source: Source{DNS: &DNSSource{URL: "h2c://{service}.example:80"}}}}
	c.Routes = append(c.Routes, Route{Discover: "mesh", Match: Match{GRPC: "*"}})
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	finds(t, "routes[2].match.grpc", "names the service itself", "*", func(all *Config) {
		c.Routes[2].Match.GRPC = "shop.Cart/*"
		*all = c
	})
}

func TestPathOfCalls(t *testing.T) {
	for _, c := range []struct {
		match Match
		want  string
	}{
		{Match{}, ""},
		{Match{Path: "/a/**"}, "/a/**"},
		{Match{GRPC: "*"}, "/{service}/{method}"},
		{Match{GRPC: "shop.Cart/*"}, "/shop.Cart/{method}"},
		{Match{GRPC: "Cart/Add_2"}, "/Cart/Add_2"},
		{Match{GRPC: "shop.v1.Cart/Add"}, "/shop.v1.Cart/Add"},
	} {
		if got := c.match.PathPattern(); got != c.want {
			t.Errorf("%+v matches %q, want %q", c.match, got, c.want)
		}
	}
}

func TestChecksOfGRPC(t *testing.T) {
	for _, c := range []struct {
		check, service string
		ok             bool
	}{
		{"grpc", "", true}, {"grpc shop.Cart", "shop.Cart", true}, {"grpc  a", "a", true},
		{"tcp", "", false}, {"GET /grpc", "/grpc", false}, {"grpcs", "", false},
	} {
		service, ok := Health{Check: c.check}.GRPC()
		if ok != c.ok || ok && service != c.service {
			t.Errorf("%q: %q, %v", c.check, service, ok)
		}
		if _, _, err := (Health{Check: c.check}).Request(); c.ok && err != nil {
			t.Errorf("%q: %v", c.check, err)
		}
	}
}
