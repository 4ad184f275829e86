package config

import (
	"errors"
	"strings"
	"testing"
)

func TestRouteIdentity(t *testing.T) {
	for _, c := range []struct {
		route Route
		want  string
	}{
		{Route{}, "/**"},
		{Route{Name: "shop", Match: Match{Path: "/x"}}, "shop"},
		{Route{Match: Match{Host: "a.example.com"}}, "a.example.com/**"},
		{Route{Match: Match{Host: "*.example.com", Path: "/cart/{id}"}}, "*.example.com/cart/{id}"},
		{Route{Match: Match{GRPC: "shop.Cart/*"}}, "grpc shop.Cart/*"},
		{Route{Match: Match{Host: "a.example.com", GRPC: "*"}}, "grpc a.example.com/*"},
		{Route{Match: Match{Path: "/x", Methods: []string{"PUT", "GET"}}}, "GET,PUT /x"},
		{Route{Match: Match{Listener: "in"}}, "@in /**"},
		{Route{Match: Match{Listener: "in", Host: "a", Methods: []string{"GET"}}}, "@in GET a/**"},
	} {
		if got := c.route.Identity(); got != c.want {
			t.Errorf("%+v is %q, want %q", c.route, got, c.want)
		}
	}
}

func TestRouteNames(t *testing.T) {
	for _, c := range []struct{ first, second, problem string }{
		{"shop", "shop.cart-2_x", ""},
		{"", "", ""},
		{"shop", "a/b", "is no name"},
		{"shop", "-a", "is no name"},
		{"shop", strings.Repeat("x", 129), "is no name"},
		{"shop", "shop", `routes[0] has the name "shop" already`},
	} {
		full := Config{
			Services: map[string]Service{"users": {Endpoints: []Endpoint{{URL: "http://127.0.0.1:1"}}}},
			Routes:   []Route{{Name: c.first, Service: "users", Match: Match{Path: "/a"}}, {Name: c.second, Service: "users"}},
		}
		err := full.Validate()
		var all *Errors
		switch {
		case c.problem == "" && err != nil:
			t.Errorf("%q, %q: %v", c.first, c.second, err)
		case c.problem == "":
		case !errors.As(err, &all) || len(all.Problems()) != 1:
			t.Errorf("%q, %q: %v", c.first, c.second, err)
		default:
			if p := all.Problems()[0]; p.Path != "routes[1].name" || !strings.Contains(p.Message, c.problem) {
				t.Errorf("%q, %q: %+v", c.first, c.second, p)
			}
		}
	}
}
