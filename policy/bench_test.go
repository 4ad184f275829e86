package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// A named policy.
type named struct {
	name   string
	policy policy.Policy
}

// policies are all built-in ones that know all endpoints.
var policies = []named{
	{"round_robin", policy.RoundRobin()},
	{"weighted_round_robin", policy.WeightedRoundRobin()},
	{"random", policy.Random()},
	{"p2c", policy.P2C()},
	{"least_time", policy.LeastTime()},
	{"least_time_reported", policy.LeastTimeReported()},
	{"prequal", policy.Prequal()},
	{"peak_ewma", policy.PeakEWMA()},
	{"least_connections", policy.LeastConnections()},
	{"ring", policy.ConsistentHash(policy.HashConfig{})},
	{"maglev", policy.ConsistentHash(policy.HashConfig{Algorithm: policy.Maglev})},
	{"rendezvous", policy.ConsistentHash(policy.HashConfig{Algorithm: policy.Rendezvous})},
	{"ring_bounded", policy.ConsistentHash(policy.HashConfig{BoundedLoad: 1.25})},
	{"maglev_bounded", policy.ConsistentHash(policy.HashConfig{Algorithm: policy.Maglev, BoundedLoad: 1.25})},
}

// composed are policies around others, which may leave an endpoint out on purpose.
var composed = []named{
	{"places", placed{policy.InPlaces(policy.LeastTime(), policy.Places{Zone: "a"})}},
	{"places_ring", placed{policy.InPlaces(policy.ConsistentHash(policy.HashConfig{}), policy.Places{Zone: "a"})}},
	{"subset", policy.InSubset(policy.LeastTime(), 4, "poise-1")},
}

// weighting is how a benchmark's endpoints are weighted.
var weighting = []struct {
	name   string
	weight func(i int) int
}{
	{"equal", func(int) int { return 1 }},
	{"weighted", func(i int) int { return 1 + i*7919%1000 }},
}

// busyEndpoints have served some attempts and carry a few.
func busyEndpoints(n int, weight func(i int) int) []*endpoint.Endpoint {
	r := rand.New(rand.NewPCG(uint64(n), 2))
	eps := make([]*endpoint.Endpoint, n)
	for i := range eps {
		eps[i] = newEndpoint(i, weight(i))
		for range 1 + r.IntN(4) {
			eps[i].Begin(time.Second)
		}
		eps[i].End(endpoint.Outcome{Now: time.Second, Latency: time.Duration(1+r.IntN(9)) * time.Millisecond})
	}
	return eps
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{8, 1_000, 10_000} {
		for _, w := range weighting {
			eps := busyEndpoints(n, w.weight)
			for _, p := range slices.Concat(policies, composed) {
				b.Run(fmt.Sprintf("%s/%s/%d", p.name, w.name, n), func(b *testing.B) {
					picker := p.policy.Build(eps, eps, nil)
					b.ReportAllocs()
					a := policy.Attempt{Now: 2 * time.Second, Load: int64(2 * n)}
					r := uint64(1)
					for b.Loop() {
						// A cheap and full-period sequence of random bits: no two
						// picks in a row touch the same endpoints.
						r = r*6364136223846793005 + 1442695040888963407
						a.Seq++
						a.Rand = r ^ r>>32
						a.Key = a.Rand
						if picker.Pick(&a) == nil {
							b.Fatal("nobody picked")
						}
					}
				})
			}
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, w := range weighting {
		const n = 10_000
		eps := busyEndpoints(n, w.weight)
		for _, p := range slices.Concat(policies, composed) {
			b.Run(fmt.Sprintf("%s/%s/%d", p.name, w.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.policy.Build(eps, eps, nil)
				}
			})
			prev := p.policy.Build(eps, eps, nil)
			b.Run(fmt.Sprintf("%s/%s/%d/flap", p.name, w.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.policy.Build(eps, eps[1:], prev)
				}
			})
		}
	}
}

func BenchmarkHash(b *testing.B) {
	for _, n := range []int{4, 12, 36, 256} {
		key := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				key[0] = byte(policy.Hash(key))
			}
		})
	}
}
