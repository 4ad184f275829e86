package config

import (
	"errors"
	"strings"
	"testing"
)

// TestEndpointLimit: a number, auto, or nothing.
func TestEndpointLimit(t *testing.T) {
	for text, want := range map[string]struct {
		n    int
		auto bool
	}{"": {}, "auto": {auto: true}, "1": {n: 1}, "1000000": {n: 1000000}} {
		if n, auto, err := (EndpointLimit{Limit: text}).Read(); n != want.n || auto != want.auto || err != nil {
			t.Errorf("%q: %d, %v, %v", text, n, auto, err)
		}
	}
	for _, text := range []string{"0", "-1", "1000001", "07", "Auto", "1.5", "50%"} {
		if _, _, err := (EndpointLimit{Limit: text}).Read(); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// TestValidateFindsOfLimits: mistakes are found where they are.
func TestValidateFindsOfLimits(t *testing.T) {
	for _, c := range []struct {
		limit               EndpointLimit
		path, message, near string
	}{
		{EndpointLimit{Limit: "auot"}, "limit", `"auot" is neither a number from 1 to 1000000 nor auto`, "auto"},
		{EndpointLimit{Limit: "auto", Min: 20, Max: 10}, "min", "20 is more than max, which is 10", ""},
		{EndpointLimit{Limit: "auto", Min: 2000}, "min", "2000 is more than max, which is 1000", ""},
		{EndpointLimit{Limit: "auto", Max: 3}, "min", "4 is more than max, which is 3", ""},
	} {
		conf := Config{
			Version:  1,
			Listen:   []Listen{{Address: "127.0.0.1:80"}},
			Services: map[string]Service{"a": {Endpoints: []Endpoint{{URL: "http://127.0.0.1:1"}}, Overload: Overload{EndpointMaxInFlight: c.limit}}},
			Routes:   []Route{{Service: "a"}},
		}
		var errs *Errors
		if err := conf.Validate(); !errors.As(err, &errs) || len(errs.Problems()) != 1 {
			t.Errorf("%+v: %v", c.limit, err)
			continue
		}
		p := errs.Problems()[0]
		if p.Path != "services.a.overload.endpoint_max_in_flight."+c.path || !strings.Contains(p.Message, c.message) || p.Near != c.near {
			t.Errorf("%+v: %+v", c.limit, p)
		}
	}
}
