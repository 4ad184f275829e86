package policy_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/tags"
	"github.com/poise-lb/poise/policy"
	"github.com/poise-lb/poise/policy/policytest"
)

func TestSuite(t *testing.T) {
	hash := func(algorithm string, bound float64) policy.Policy {
		return policy.ConsistentHash(policy.HashConfig{Algorithm: algorithm, BoundedLoad: bound})
	}
	cases := map[string]struct {
		policy policy.Policy
		claims []policytest.Option
	}{
		"round_robin":          {policy.RoundRobin(), nil},
		"weighted_round_robin": {policy.WeightedRoundRobin(), []policytest.Option{policytest.ByWeight()}},
		"random":               {policy.Random(), []policytest.Option{policytest.ByWeight()}},
		"p2c":                  {policy.P2C(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"least_time":           {policy.LeastTime(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"least_time, reported": {policy.LeastTimeReported(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"prequal":              {policy.Prequal(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"peak_ewma":            {policy.PeakEWMA(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"least_connections":    {policy.LeastConnections(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"ring":                 {hash(policy.Ring, 0), []policytest.Option{policytest.ByKey(0.02)}},
		"maglev":               {hash(policy.Maglev, 0), []policytest.Option{policytest.ByKey(0.03)}},
		"rendezvous":           {hash(policy.Rendezvous, 0), []policytest.Option{policytest.ByWeight(), policytest.ByKey(0.003)}},
		"ring, bounded":        {hash(policy.Ring, 1.25), nil},
		"maglev, bounded":      {hash(policy.Maglev, 1.25), nil},
		"rendezvous, bounded":  {hash(policy.Rendezvous, 1.25), nil},
		"places, one":          {policy.InPlaces(policy.LeastTime(), policy.Places{Zone: "a"}), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"places, one, by key":  {policy.InPlaces(hash(policy.Ring, 0), policy.Places{}), []policytest.Option{policytest.ByKey(0.02)}},
		"places, random":       {placed{policy.InPlaces(policy.Random(), policy.Places{Zone: "a"})}, nil},
		"places, least_time":   {placed{policy.InPlaces(policy.LeastTime(), policy.Places{Zone: "a"})}, nil},
		"places, ring":         {placed{policy.InPlaces(hash(policy.Ring, 1.25), policy.Places{Zone: "b"})}, nil},
		"places and subsets":   {placed{policy.InPlaces(policy.InSubset(policy.P2C(), 4, "poise-3"), policy.Places{Zone: "a"})}, nil},
		"subset, round robin":  {policy.InSubset(policy.RoundRobin(), 5, "poise-3"), nil},
		"subset, weighted":     {policy.InSubset(policy.WeightedRoundRobin(), 7, "poise-3"), nil},
		"subset, maglev":       {policy.InSubset(hash(policy.Maglev, 0), 6, "poise-3"), nil},
	}
	for _, word := range configured() {
		if _, ok := cases[word]; !ok {
			t.Errorf("the policy %s of the configuration is not tested here: add a line for it", word)
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			policytest.Run(t, c.policy, c.claims...)
		})
	}
}

// placed gives endpoints that have none a zone and a priority, by their IDs.
type placed struct{ policy.Policy }

// Build implements policy.Policy.
func (p placed) Build(members, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker {
	for _, e := range members {
		s, w := *e.Spec(), e.Weight()
		if s.Zone == "" {
			s.Zone, s.Priority = []string{"a", "b", "c"}[e.Hash()%3], int(e.Hash()>>8%3)
			e.Update(s)
			e.SetWeight(w)
		}
	}
	return p.Policy.Build(members, usable, prev)
}

// configured are the policies that a configuration can name: the types and, in place of
// consistent_hash, its algorithms.
func configured() (words []string) {
	for _, f := range make(tags.Model).Of(reflect.TypeFor[config.Policy]()) {
		if f.Name == "type" || f.Name == "algorithm" {
			words = append(words, f.Enum...)
		}
	}
	return slices.DeleteFunc(words, func(w string) bool { return w == "consistent_hash" })
}
