package service

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/concurrency"
	"github.com/poise-lb/poise/policy"
)

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	for name, set := range map[string]Settings{
		"healthy": {Policy: policy.P2C()},
		"rated":   {Policy: policy.P2C(), Breaker: health.Breaker{FailureRate: 50}},
		"found":   {Policy: policy.P2C(), Overload: Overload{Found: concurrency.Bounds{Min: 1, Max: 100}}},
		"bounded": {Policy: policy.ConsistentHash(policy.HashConfig{BoundedLoad: 1.25})},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, set)
			st.Update(specs(addresses(20)...))
			e := st.pick0()
			var a policy.Attempt
			hot := func(failed bool) {
				a.Rand, a.Seq = a.Rand*6364136223846793005+1442695040888963407, st.Seq()
				picked := st.Pick(&a)
				st.Begin(picked, time.Second)
				st.Settle(picked, endpoint.Outcome{Now: time.Second, Latency: time.Millisecond, Failed: failed}, true)
			}
			if n := testing.AllocsPerRun(1000, func() { hot(false) }); n != 0 {
				t.Errorf("%v allocations for a success", n)
			}
			// Nor where an endpoint left since the view was built.
			for range 5 {
				st.attempt(e, true)
			}
			if n := testing.AllocsPerRun(1000, func() { hot(false) }); n != 0 {
				t.Errorf("%v allocations while re-picking", n)
			}
		})
	}
}

// pick0 picks whatever comes.
func (st *stage) pick0() *endpoint.Endpoint { return st.Pick(new(policy.Attempt)) }

// BenchmarkAttempt is Seq, Pick, Begin and Settle of a success; Floor is the same without a
// service: a picker and the endpoint.
func BenchmarkAttempt(b *testing.B) {
	for _, n := range []int{2, 1000, 10000} {
		st := newStage(nil, Settings{Policy: policy.P2C()})
		st.Update(specs(many(n)...))
		picker := st.view.Load().picker
		b.Run(fmt.Sprintf("Floor/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			r := rand.New(rand.NewPCG(1, 2))
			var a policy.Attempt
			for i := range b.N {
				a.Rand, a.Seq = r.Uint64(), uint64(i)
				e := picker.Pick(&a)
				e.Begin(time.Duration(i))
				e.End(endpoint.Outcome{Now: time.Duration(i), Latency: time.Millisecond})
			}
		})
		b.Run(fmt.Sprintf("Service/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			r := rand.New(rand.NewPCG(1, 2))
			var a policy.Attempt
			for i := range b.N {
				a.Rand, a.Seq = r.Uint64(), st.Seq()
				e := st.Pick(&a)
				st.Begin(e, time.Duration(i))
				st.Settle(e, endpoint.Outcome{Now: time.Duration(i), Latency: time.Millisecond}, true)
			}
		})
	}
}

func BenchmarkAttemptParallel(b *testing.B) {
	st := newStage(nil, Settings{Policy: policy.P2C()})
	st.Update(specs(many(100)...))
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(rand.Uint64(), 2))
		var a policy.Attempt
		for pb.Next() {
			a.Rand, a.Seq = r.Uint64(), st.Seq()
			e := st.Pick(&a)
			st.Begin(e, time.Second)
			st.Settle(e, endpoint.Outcome{Now: time.Second, Latency: time.Millisecond}, true)
		}
	})
}

// BenchmarkFailure is the cold lock: an endpoint that fails every attempt, the last one.
func BenchmarkFailure(b *testing.B) {
	st := newStage(nil, Settings{Policy: policy.P2C()})
	st.Update(specs("10.0.0.1:80"))
	e := st.pick0()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			st.Begin(e, time.Second)
			st.Settle(e, endpoint.Outcome{Now: time.Second, Failed: true}, true)
		}
	})
}

// BenchmarkUpdate is an update that changes one of many endpoints, and the build.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			st := newStage(nil, Settings{Policy: policy.RoundRobin()})
			all := specs(many(n)...)
			st.Update(all)
			for i := range b.N {
				st.builds.next = 0
				st.Update(all[:n-i%2])
			}
		})
	}
}

func many(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255))
	}
	return all
}
