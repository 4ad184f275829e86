package policy_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// An index is what least connections could keep and does not: the endpoints in lists by
// attempts in flight, under a lock, moved by every begin and end. It knows no weights. It
// is here to be measured: docs/decisions/0002-least-connections-and-rendezvous.md.
type index struct {
	mu    sync.Mutex
	lists [64]int32 // first endpoint by attempts in flight; -1: none
	next  []int32
	prev  []int32
	busy  []int32
}

func newIndex(n int) *index {
	x := &index{next: make([]int32, n), prev: make([]int32, n), busy: make([]int32, n)}
	for i := range x.lists {
		x.lists[i] = -1
	}
	for i := range int32(n) {
		x.insert(i)
	}
	return x
}

func (x *index) insert(i int32) {
	head := &x.lists[x.busy[i]]
	x.next[i], x.prev[i] = *head, -1
	if *head >= 0 {
		x.prev[*head] = i
	}
	*head = i
}

func (x *index) remove(i int32) {
	if p := x.prev[i]; p >= 0 {
		x.next[p] = x.next[i]
	} else {
		x.lists[x.busy[i]] = x.next[i]
	}
	if n := x.next[i]; n >= 0 {
		x.prev[n] = x.prev[i]
	}
}

// begin picks the least busy endpoint and counts an attempt.
func (x *index) begin() int32 {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, i := range x.lists {
		if i >= 0 {
			x.remove(i)
			x.busy[i]++
			x.insert(i)
			return i
		}
	}
	return -1
}

func (x *index) end(i int32) {
	x.mu.Lock()
	x.remove(i)
	x.busy[i]--
	x.insert(i)
	x.mu.Unlock()
}

// BenchmarkLeast compares ways to the least busy endpoint, each with the begin and end of
// an attempt, some of which are always in flight.
func BenchmarkLeast(b *testing.B) {
	const open = 256
	for _, n := range []int{32, 1_000, 10_000} {
		for name, p := range map[string]policy.Policy{"all": trueLeast{}, "policy": policy.LeastConnections()} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				eps := busyEndpoints(n, func(int) int { return 1 })
				picker := p.Build(eps, eps, nil)
				b.RunParallel(func(pb *testing.PB) {
					var queue [open]*endpoint.Endpoint
					r := uint64(1)
					for a := (policy.Attempt{Now: time.Second}); pb.Next(); a.Seq++ {
						r = r*6364136223846793005 + 1442695040888963407
						a.Rand = r ^ r>>32
						if old := queue[a.Seq%open]; old != nil {
							old.End(endpoint.Outcome{Now: a.Now, Latency: 1})
						}
						e := picker.Pick(&a)
						e.Begin(a.Now)
						queue[a.Seq%open] = e
					}
				})
			})
		}
		b.Run(fmt.Sprintf("index/%d", n), func(b *testing.B) {
			x := newIndex(n)
			b.RunParallel(func(pb *testing.PB) {
				var queue [open]int32
				k := 0
				for ; pb.Next(); k++ {
					if k >= open {
						x.end(queue[k%open])
					}
					queue[k%open] = x.begin()
				}
				for _, i := range queue[:min(k, open)] {
					x.end(i)
				}
			})
		})
	}
}
