package health

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// limits are those of the configuration's defaults, with a limit of latency.
var limits = Limits{MinRequests: 20, FailureRate: 10, Latency: 3}

// of is a peer that has failed some requests, evenly.
func of(failures, requests int64) Peer {
	return Peer{Requests: requests, Failures: failures, BurstRequests: requests / 10, BurstFailures: (failures + 9) / 10, Latency: 5 * time.Millisecond}
}

// same are n peers that are alike.
func same(n int, p Peer) []Peer { return slices.Repeat([]Peer{p}, n) }

func TestCompare(t *testing.T) {
	slow := of(0, 200)
	slow.Latency = 20 * time.Millisecond
	unmeasured := of(0, 200)
	unmeasured.Latency = 0
	burst := of(40, 200)
	burst.BurstFailures, burst.BurstRequests = 40, 40
	for name, c := range map[string]struct {
		all  []Peer
		want string // of each: F failing, S slow, = alike, . nothing
	}{
		"one fails":                             {append(same(4, of(2, 200)), of(60, 200)), "====F"},
		"of three":                              {append(same(2, of(2, 200)), of(60, 200)), "==F"},
		"of two, nothing says which":            {append(same(1, of(2, 200)), of(60, 200)), ".."},
		"all fail alike":                        {same(5, of(60, 200)), "====="},
		"a dependency, unevenly":                {[]Peer{of(60, 200), of(75, 200), of(50, 200), of(90, 200)}, "===="},
		"fails three times as often":            {append(same(4, of(30, 300)), of(90, 300)), "====F"},
		"fails a little more":                   {append(same(4, of(0, 2000)), of(100, 2000)), "====="},
		"too few requests":                      {append(same(4, of(0, 200)), of(4, 5)), "====."},
		"peers with too few":                    {append(same(4, of(0, 5)), of(60, 200)), "....."},
		"by chance":                             {append(same(4, of(0, 20)), of(4, 20)), "====="},
		"no chance any more":                    {append(same(4, of(0, 20)), of(14, 20)), "====F"},
		"in one second":                         {append(same(4, of(0, 200)), burst), "====="},
		"nearly half are odd":                   {append(same(4, of(0, 200)), same(3, of(90, 200))...), "====FFF"},
		"half are odd":                          {append(same(3, of(0, 200)), same(3, of(90, 200))...), "===FFF"},
		"most are odd":                          {append(same(2, of(0, 200)), same(4, of(90, 200))...), "======"},
		"all but one fail":                      {append(same(4, of(200, 200)), of(0, 200)), "====="},
		"one is slow":                           {append(same(4, of(2, 200)), slow), "====S"},
		"all are slow":                          {same(4, slow), "===="},
		"one is slow, most are not measured":    {append(same(4, unmeasured), slow), "====="},
		"one is slow, another was not measured": {append(same(3, of(0, 200)), slow, unmeasured), "===S="},
		"none":                                  {nil, ""},
	} {
		got := ""
		for _, v := range Compare(c.all, limits) {
			got += map[bool]string{v.Failing: "F", v.Slow && !v.Failing: "S", v.Alike: "="}[true]
			if v == (Verdict{}) {
				got += "."
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// What is not asked for is not compared.
func TestCompareLimits(t *testing.T) {
	odd := of(200, 200)
	odd.Latency = time.Second
	if v := Compare(append(same(4, of(0, 200)), odd), Limits{MinRequests: 20, Latency: 3})[4]; v.Failing || !v.Slow || !v.ByLatency {
		t.Errorf("by latency only: %+v", v)
	}
	if v := Compare(append(same(4, of(0, 200)), odd), Limits{MinRequests: 20, FailureRate: 10})[4]; !v.Failing || v.Slow || v.PeersLatency != 0 {
		t.Errorf("by failures only: %+v", v)
	}
	if v := Compare(append(same(4, of(0, 200)), odd), Limits{MinRequests: 201, FailureRate: 10})[4]; v != (Verdict{}) {
		t.Errorf("too few requests: %+v", v)
	}
}

// random makes a set of any kind.
func random(r *rand.Rand) []Peer {
	all := make([]Peer, r.IntN(12))
	for i := range all {
		n := 1 + r.Int64N(400)
		all[i] = of(int64(r.Float64()*r.Float64()*float64(n)), n)
		all[i].Latency = time.Duration(1+r.IntN(50)) * time.Millisecond
	}
	return all
}

// Whatever the figures: the order of the endpoints, the unit of latency and the speed at which the
// requests come make no difference, no endpoint is better by failing more, those that are alike are all alike, and less
// than half are outliers by either measure.
func TestCompareProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range 20_000 {
		all := random(r)
		verdicts := Compare(all, limits)
		shuffled, order := make([]Peer, len(all)), r.Perm(len(all))
		scaled, more := slices.Clone(all), slices.Clone(all)
		for i, k := range order {
			shuffled[k] = all[i]
			scaled[i].Latency *= 64
			more[i].Requests, more[i].Failures, more[i].BurstRequests, more[i].BurstFailures = 3*all[i].Requests, 3*all[i].Failures, 3*all[i].BurstRequests, 3*all[i].BurstFailures
		}
		failing, slow, judged := 0, 0, 0
		byOrder, byScale, byMore := Compare(shuffled, limits), Compare(scaled, limits), Compare(more, limits)
		for i, v := range verdicts {
			if v != byOrder[order[i]] {
				t.Fatalf("%+v: %+v, and in another order %+v", all, v, byOrder[order[i]])
			}
			if v.Slow != byScale[i].Slow || v.Failing != byScale[i].Failing {
				t.Fatalf("%+v: %+v, and with another unit %+v", all, v, byScale[i])
			}
			if enough := all[i].Requests >= 20; v.Failing && !byMore[i].Failing && enough && len(byMore) == len(verdicts) && judgeable(all) == len(all) {
				t.Fatalf("%+v: failing, and not with three times as many of all: %+v", all, byMore[i])
			}
			if v.Failing {
				failing++
				worse := slices.Clone(all)
				worse[i].Failures = min(worse[i].Failures+1, worse[i].Requests)
				if worse[i].Failures-worse[i].BurstFailures <= worse[i].Requests-worse[i].BurstRequests && !Compare(worse, limits)[i].Failing {
					t.Fatalf("%+v: endpoint %d is an outlier, and is none if it fails once more", all, i)
				}
			}
			if v.Slow {
				slow++
			}
			if v != (Verdict{}) {
				judged++
			}
		}
		found += failing
		if 2*failing > judged || 2*slow > judged {
			t.Fatalf("%+v: %d and %d outliers of %d", all, failing, slow, judged)
		}
	}
	if found == 0 {
		t.Error("no outlier was found: the test proves nothing")
	}
}

// judgeable is how many have enough requests.
func judgeable(all []Peer) (n int) {
	for _, p := range all {
		if p.Requests >= 20 {
			n++
		}
	}
	return n
}

// binomial draws how many of n requests fail.
func binomial(r *rand.Rand, n int, rate float64) (failures int64) {
	for range n {
		if r.Float64() < rate {
			failures++
		}
	}
	return failures
}

// Endpoints that fail at the same rate are ejected less than once in a hundred thousand windows,
// whatever the rate and however few the requests. Seconds are drawn one by one, so bursts are as
// they are by chance.
func TestCompareByChance(t *testing.T) {
	windows := 200_000
	if testing.Short() {
		windows = 20_000
	}
	r := rand.New(rand.NewPCG(3, 4))
	wrong, judged := 0, 0
	for _, rate := range []float64{0.01, 0.05, 0.2, 0.5} {
		for _, n := range []int{3, 10} {
			for _, second := range []int{2, 10} {
				for range windows / n / second {
					all := make([]Peer, n)
					for i := range all {
						all[i] = drawn(r, second, rate)
					}
					for _, v := range Compare(all, Limits{MinRequests: 20, FailureRate: 10}) {
						judged++
						if v.Failing {
							wrong++
						}
					}
				}
			}
		}
	}
	t.Logf("%d of %d", wrong, judged)
	if wrong > judged/100_000 {
		t.Errorf("%d of %d endpoints that are like the others are outliers", wrong, judged)
	}
}

// drawn is a peer with so many requests in each of ten seconds.
func drawn(r *rand.Rand, second int, rate float64) (p Peer) {
	for range 10 {
		f := binomial(r, second, rate)
		p.Requests += int64(second)
		p.Failures += f
		if f > p.BurstFailures || p.BurstRequests == 0 {
			p.BurstRequests, p.BurstFailures = int64(second), f
		}
	}
	return p
}

// One that fails three requests of ten among others that fail one of a hundred is found within a
// window, be there three endpoints of 20 requests a second or ten of ten.
func TestCompareFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct{ n, second int }{{3, 20}, {10, 10}, {10, 100}} {
		found := 0
		for range 300 {
			all := make([]Peer, c.n)
			for i := range all {
				all[i] = drawn(r, c.second, 0.01)
			}
			all[0] = drawn(r, c.second, 0.3)
			if Compare(all, limits)[0].Failing {
				found++
			}
		}
		if found < 285 {
			t.Errorf("%d endpoints with %d requests a second: found %d times of 300", c.n, c.second, found)
		}
	}
}

// The likelihood ratio is about the square of the distance in standard deviations, where these are
// of use, and is what it should be where nothing failed.
func TestLikelihood(t *testing.T) {
	for _, c := range []struct{ f, n, g, m float64 }{{550, 1000, 500, 1000}, {1100, 10000, 1000, 10000}} {
		p := (c.f + c.g) / (c.n + c.m)
		z := (c.f/c.n - c.g/c.m) / math.Sqrt(p*(1-p)*(1/c.n+1/c.m))
		if got := likelihood(c.f, c.n, c.g, c.m); math.Abs(got-z*z) > 0.01*z*z {
			t.Errorf("%+v: %v, want %v", c, got, z*z)
		}
	}
	for _, c := range []struct{ f, n, g, m, want float64 }{
		{5, 10, 50, 100, 0}, {10, 10, 100, 100, 0}, {10, 10, 0, 10, 2 * 20 * math.Ln2},
	} {
		if got := likelihood(c.f, c.n, c.g, c.m); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestFindingInWords(t *testing.T) {
	for want, f := range map[string]Finding{
		"failed 31 % of 210 requests, its peers 1 %": {Requests: 210, Failures: 65, Peers: 0.01},
		"took 23.4ms, its peers 5.12ms":              {Requests: 210, Latency: 23_412_345, PeersLatency: 5_123_456, ByLatency: true},
		"failed 0 % of 0 requests, its peers 0 %":    {},
	} {
		if got := f.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := fmt.Sprint(shortened(999), shortened(1234*time.Microsecond)); got != "999ns 1.23ms" {
		t.Error(got)
	}
}
