package health

// Which endpoints of a service are outliers among their peers. The breaker judges each endpoint by
// itself and has to find it failing again and again; beside the others, one that fails one time in
// five stands out. And what fails everywhere, since a common dependency does, stands out nowhere.
//
//	of three endpoints    failed of requests in 10 s    verdict
//	a                     63 of 210 (30 %)              failing: its peers fail 1 %
//	b, c                  2 of 200, 3 of 200            alike
//
//	a, b, c               60, 70 and 50 of 200          alike: all of them fail
//	a                     2 of 4                        none: too few requests
//	a                     40 of 200, in one second      alike: a burst is no way to be
//
// What an endpoint is compared with is the mean of the others or their median, whichever is worse.
// The median withstands up to half of them being odd; but where most have no failure at all it
// is 0, and the mean knows better. A multiple of the standard deviation, which is used elsewhere,
// fails in small sets: among five endpoints none can be more than 1.8 deviations away. And the median
// absolute deviation of endpoints that never fail is 0, so that any failure would be far away.
// How much a rate varies by chance is known instead: by how many requests it is of.
//
// Compare has no state; who has been slow before is for the caller to know.

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// peersMin is how many endpoints with enough requests there have to be besides the one that is
	// judged. Of two that differ, nothing says which is the odd one.
	peersMin = 2
	// factorMin is how many times as often as its peers an endpoint must fail, beside the difference
	// that is configured: where half of all requests fail, it is not the endpoint.
	factorMin = 2
	// certain is the least likelihood ratio of a difference that is no chance, as a square of
	// standard deviations: five.
	certain = 25
	// SlowInARow is how many comparisons in a row have to find an endpoint slow.
	SlowInARow = 5
)

// Limits are what makes an outlier.
type Limits struct {
	MinRequests int     // attempts that an endpoint must have had to be compared
	FailureRate int     // percentage points by which it fails more often; 0: failures are not compared
	Latency     float64 // times as slow as its peers; 0: latency is not compared
}

// A Peer is what an endpoint has done over the last Span.
type Peer struct {
	Requests, Failures int64
	// BurstRequests and BurstFailures are the part of that in the second with the most failures,
	// which is not held against it.
	BurstRequests, BurstFailures int64
	Latency                      time.Duration // typical; 0: not known
}

// rate is the share of attempts that failed.
func (p *Peer) rate() float64 { return float64(p.Failures) / float64(p.Requests) }

// A Verdict is what a comparison says of one endpoint. The zero value: nothing, since it, or the
// others, had too few requests.
type Verdict struct {
	Alike   bool // like its peers; false: an outlier, or nothing is known
	Failing bool // it fails clearly more often than its peers
	Slow    bool // it is slower, as far as this comparison goes: see SlowInARow
	Finding
}

// A Finding has the figures of a Verdict.
type Finding struct {
	Requests     int64         `json:"requests"`
	Failures     int64         `json:"failures"`
	Peers        float64       `json:"peers"` // the rate of failures that it is compared with, from 0 to 1
	Latency      time.Duration `json:"latency,omitempty"`
	PeersLatency time.Duration `json:"peers_latency,omitempty"` // 0: latency was not compared
	ByLatency    bool          `json:"by_latency,omitempty"`    // it was found slow, and not failing
}

// String is for people.
func (f Finding) String() string {
	if f.ByLatency {
		return fmt.Sprintf("took %v, its peers %v", shortened(f.Latency), shortened(f.PeersLatency))
	}
	return fmt.Sprintf("failed %.0f %% of %d requests, its peers %.0f %%",
		100*float64(f.Failures)/float64(max(f.Requests, 1)), f.Requests, 100*f.Peers)
}

// shortened has about three digits.
func shortened(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// Excess is by how much an outlier is worse than its peers, for the question which is the worst:
// those that fail come before those that are slow.
func (v *Verdict) Excess() float64 {
	switch {
	case v.Failing:
		return 2 + float64(v.Failures)/float64(v.Requests) - v.Peers
	case v.Slow:
		return 1 - float64(v.PeersLatency)/float64(v.Latency)
	}
	return 0
}

// Compare compares the endpoints of a service with each other. The verdicts are in the order of all.
func Compare(all []Peer, l Limits) []Verdict {
	verdicts := make([]Verdict, len(all))
	var rates, latencies []float64
	var requests, failures int64
	for i := range all {
		p := &all[i]
		if p.Requests < max(int64(l.MinRequests), 1) {
			continue
		}
		rates = append(rates, p.rate())
		requests, failures = requests+p.Requests, failures+p.Failures
		if p.Latency > 0 {
			latencies = append(latencies, float64(p.Latency))
		}
	}
	if len(rates) <= peersMin {
		return verdicts
	}
	slices.Sort(rates)
	slices.Sort(latencies)
	for i := range all {
		p, v := &all[i], &verdicts[i]
		if p.Requests < max(int64(l.MinRequests), 1) {
			continue
		}
		others, failed := requests-p.Requests, failures-p.Failures
		v.Finding = Finding{
			Requests: p.Requests, Failures: p.Failures, Latency: p.Latency,
			Peers: max(float64(failed)/float64(others), medianOfOthers(rates, p.rate())),
		}
		v.Failing = l.FailureRate > 0 && p.fails(v.Peers, others, float64(l.FailureRate)/100)
		if l.Latency > 0 && p.Latency > 0 && len(latencies) > peersMin {
			v.PeersLatency = time.Duration(medianOfOthers(latencies, float64(p.Latency)))
			v.Slow = float64(p.Latency) >= l.Latency*float64(v.PeersLatency)
		}
		v.ByLatency = v.Slow && !v.Failing
		v.Alike = !v.Failing && !v.Slow
	}
	return verdicts
}

// fails reports whether p, its worst second left out, fails clearly more often than peers do, which
// is the rate of that many requests: by points at least, by a factor, and not by chance.
func (p *Peer) fails(peers float64, requests int64, points float64) bool {
	n, f := float64(p.Requests-p.BurstRequests), float64(p.Failures-p.BurstFailures)
	if n < 1 || f < 1 {
		return false
	}
	rate := f / n
	return rate >= peers+points && rate >= factorMin*peers && likelihood(f, n, peers*float64(requests), float64(requests)) >= certain
}

// likelihood is twice the logarithm of how much better two rates, f of n and g of m, explain what
// happened than one rate does (the G-test): about the square of the distance in standard deviations,
// and of use where these are not, since next to nothing has failed on one side.
func likelihood(f, n, g, m float64) float64 {
	same := (f + g) / (n + m)
	part := func(k, n float64) float64 {
		sum := 0.0
		if k > 0 {
			sum += k * math.Log(k/n/same)
		}
		if k < n {
			sum += (n - k) * math.Log((1-k/n)/(1-same))
		}
		return sum
	}
	return 2 * (part(f, n) + part(g, m))
}

// medianOfOthers is the median, the upper one of two, of a sorted list without one, which is in it.
func medianOfOthers(sorted []float64, one float64) float64 {
	middle := (len(sorted) - 1) / 2
	if at, _ := slices.BinarySearch(sorted, one); at <= middle {
		middle++
	}
	return sorted[middle]
}
