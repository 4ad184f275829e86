package compile

import (
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// placesOf are the places of a service of three endpoints, one of them a backup, two in zone a.
func placesOf(t *testing.T, change func(*config.Config, *config.Service)) []policy.Place {
	t.Helper()
	s := config.Service{Endpoints: []config.Endpoint{
		{URL: "http://10.0.0.1:1", Zone: "a"}, {URL: "http://10.0.0.2:1", Zone: "b"}, {URL: "http://10.0.0.3:1", Zone: "a", Backup: true},
	}}
	c := config.Config{Routes: []config.Route{{Service: "s"}}}
	change(&c, &s)
	c.Services = map[string]config.Service{"s": s}
	p, err := Config(c, Static)
	if err != nil {
		t.Fatal(err)
	}
	var members []*endpoint.Endpoint
	for _, spec := range p.Services["s"].Feed.Static {
		members = append(members, endpoint.New(spec))
	}
	if placer, ok := p.Services["s"].Settings.Policy.Build(members, members, nil).(policy.Placer); ok {
		return placer.Places()
	}
	return nil
}

// The configuration's keys and the environment decide which places there are.
func TestPlacesOfAConfiguration(t *testing.T) {
	for _, test := range []struct {
		name, variable string
		change         func(*config.Config, *config.Service)
		want           int
		first          string
	}{
		{"no zone", "", func(*config.Config, *config.Service) {}, 2, "priority 0"},
		{"a zone", "", func(c *config.Config, _ *config.Service) { c.Zone = "a" }, 3, "priority 0, zone a"},
		{"of the environment", "b", func(*config.Config, *config.Service) {}, 3, "priority 0, zone b"},
		{"the file's first", "b", func(c *config.Config, _ *config.Service) { c.Zone = "a" }, 3, "priority 0, zone a"},
		{"ignored", "a", func(_ *config.Config, s *config.Service) { s.Zones.Mode = "ignore" }, 2, "priority 0"},
		{"by key", "a", func(_ *config.Config, s *config.Service) { s.Policy.Type = "consistent_hash" }, 2, "priority 0"},
		{"by key, preferred", "a", func(_ *config.Config, s *config.Service) {
			s.Policy.Type, s.Zones.Mode = "consistent_hash", "prefer"
		}, 3, "priority 0, zone a"},
		{"nothing", "", func(_ *config.Config, s *config.Service) { s.Endpoints = s.Endpoints[:2] }, 0, ""},
		{"a subset", "", func(_ *config.Config, s *config.Service) { s.Endpoints, s.Subset.Size = s.Endpoints[:2], 1 }, 1, "priority 0"},
	} {
		t.Setenv(zoneVariable, test.variable)
		got := placesOf(t, test.change)
		if len(got) != test.want || len(got) > 0 && got[0].String() != test.first {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}
