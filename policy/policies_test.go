package policy_test

import (
	"testing"

	"github.com/poise-lb/poise/policy"
	"github.com/poise-lb/poise/policy/policytest"
)

func TestSuite(t *testing.T) {
	hash := func(algorithm string, bound float64) policy.Policy {
		return policy.ConsistentHash(policy.HashConfig{Algorithm: algorithm, BoundedLoad: bound})
	}
	for name, c := range map[string]struct {
		policy policy.Policy
		claims []policytest.Option
	}{
		"round_robin":          {policy.RoundRobin(), nil},
		"weighted_round_robin": {policy.WeightedRoundRobin(), []policytest.Option{policytest.ByWeight()}},
		"random":               {policy.Random(), []policytest.Option{policytest.ByWeight()}},
		"p2c":                  {policy.P2C(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"peak_ewma":            {policy.PeakEWMA(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"least_connections":    {policy.LeastConnections(), []policytest.Option{policytest.ByWeight(), policytest.ByLoad()}},
		"ring":                 {hash(policy.Ring, 0), []policytest.Option{policytest.ByKey(0.02)}},
		"maglev":               {hash(policy.Maglev, 0), []policytest.Option{policytest.ByKey(0.03)}},
		"rendezvous":           {hash(policy.Rendezvous, 0), []policytest.Option{policytest.ByWeight(), policytest.ByKey(0.003)}},
		"ring, bounded":        {hash(policy.Ring, 1.25), nil},
		"maglev, bounded":      {hash(policy.Maglev, 1.25), nil},
		"rendezvous, bounded":  {hash(policy.Rendezvous, 1.25), nil},
	} {
		t.Run(name, func(t *testing.T) {
			policytest.Run(t, c.policy, c.claims...)
		})
	}
}
