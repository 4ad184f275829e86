package simulate

// Latencies are counted in buckets that are 1.6 % wide, as in HdrHistogram: memory does not grow
// with the number of requests, and quantiles are exact to less than one percent. Each bucket also
// sums what its requests waited for, so the slowest percent can be asked why it was slow.

import (
	"math/bits"
	"time"
)

const (
	mantissa = 6 // bits of a value that buckets tell apart
	buckets  = (64 - mantissa) << mantissa
)

// Parts is what the time of requests was spent on.
type Parts struct {
	Network time.Duration // on the way of the last attempt
	Queue   time.Duration // in that of the service, and in that of the last attempt's endpoint, its stalls included
	Work    time.Duration // worked on there
	Lost    time.Duration // in attempts that failed, and between them
}

func (p *Parts) add(o Parts) {
	p.Network += o.Network
	p.Queue += o.Queue
	p.Work += o.Work
	p.Lost += o.Lost
}

// Total is the sum.
func (p *Parts) Total() time.Duration { return p.Network + p.Queue + p.Work + p.Lost }

// A Histogram counts latencies. Make one with newHistogram.
type Histogram struct {
	n     uint64
	sum   time.Duration
	most  time.Duration
	count []uint64
	parts []Parts
}

func newHistogram() *Histogram {
	return &Histogram{count: make([]uint64, buckets), parts: make([]Parts, buckets)}
}

// bucket is the index of the bucket of d.
func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	exponent := bits.Len64(v >> mantissa)
	if exponent > 0 {
		return exponent<<mantissa + int(v>>(exponent-1))&(1<<mantissa-1)
	}
	return int(v)
}

// from is the least latency of a bucket, in nanoseconds.
func from(i int) float64 {
	exponent, low := i>>mantissa, i&(1<<mantissa-1)
	if exponent == 0 {
		return float64(low)
	}
	return float64(uint64(1<<mantissa+low) << (exponent - 1))
}

func (h *Histogram) add(d time.Duration, p Parts) {
	i := bucket(d)
	h.n++
	h.sum += d
	h.most = max(h.most, d)
	h.count[i]++
	h.parts[i].add(p)
}

// N is the number of latencies.
func (h *Histogram) N() int { return int(h.n) }

// Max is the longest one, exactly.
func (h *Histogram) Max() time.Duration { return h.most }

// Mean is 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return h.sum / time.Duration(h.n)
}

// Quantile is the latency that the share q, from 0 to 1, does not exceed; 0 if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank, below := q*float64(h.n), 0.0
	for i, n := range h.count {
		if n == 0 {
			continue
		}
		if below+float64(n) >= rank {
			share := max(0, (rank-below)/float64(n))
			return min(h.most, time.Duration(from(i)+share*(from(i+1)-from(i))))
		}
		below += float64(n)
	}
	return h.most
}

// Slowest is what the slowest requests, a share of all from 0 to 1, spent their time on, on
// average. They are taken by whole buckets.
func (h *Histogram) Slowest(share float64) Parts {
	var sum Parts
	n, wanted := 0.0, share*float64(h.n)
	for i := len(h.count) - 1; i >= 0 && (n == 0 || n < wanted); i-- {
		n += float64(h.count[i])
		sum.add(h.parts[i])
	}
	each := func(d time.Duration) time.Duration { return time.Duration(float64(d) / max(n, 1)) }
	return Parts{each(sum.Network), each(sum.Queue), each(sum.Work), each(sum.Lost)}
}
