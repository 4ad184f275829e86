package policy

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/poise-lb/poise/endpoint"
)

// Each clever algorithm beside a naive one.

func testEndpoints(weights []int) []*endpoint.Endpoint {
	eps := make([]*endpoint.Endpoint, len(weights))
	for i, w := range weights {
		eps[i] = endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: fmt.Sprintf("10.0.%03d.%03d:80", i>>8, i&255)}, Weight: float64(w)})
	}
	return eps
}

func randomWeights(r *rand.Rand, n, most int) []int {
	weights := make([]int, n)
	for i := range weights {
		weights[i] = 1 + r.IntN(most)
	}
	return weights
}

// smooth is smooth weighted round robin as it is usually written: every member gains its
// weight, the richest is picked and pays for all.
func smooth(weights []int, turns int) []int {
	current := make([]int, len(weights))
	var order []int
	for range turns {
		total, best := 0, 0
		for i, w := range weights {
			current[i] += w
			total += w
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order = append(order, best)
	}
	return order
}

func TestRotaIsSmooth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	cases := [][]int{{5, 1, 1}, {1}, {3, 3, 3}, {4, 2}, {10, 20, 30}, {1, 1000}, {1, 1, 1, 1, 97}}
	for range 200 {
		cases = append(cases, randomWeights(r, 1+r.IntN(12), 1+r.IntN(20)))
	}
	for _, weights := range cases {
		eps := testEndpoints(weights)
		p := WeightedRoundRobin().Build(eps, eps, nil).(*weightedPicker)
		want := smooth(weights, 2*len(p.rota))
		for seq, i := range want {
			if got := p.Pick(&Attempt{Seq: uint64(seq)}); got != eps[i] {
				t.Fatalf("weights %v: turn %d is %v, want endpoint %d", weights, seq, got.ID(), i)
			}
		}
	}
	var names []byte
	for _, i := range newRota([]int64{5, 1, 1}, 7, 1) {
		names = append(names, byte('a'+i))
	}
	if string(names) != "aabacaa" {
		t.Errorf("weights 5, 1, 1: %s", names)
	}
}

// bigWeights need more turns than a rota may have.
func bigWeights(r *rand.Rand, n int) []int {
	weights := randomWeights(r, n, 1000)
	weights[0], weights[n-1] = 997, 991
	return weights
}

// TestCircleOracle looks arcs up by going through all of them, at their ends, too.
func TestCircleOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	skewed := make([]int, 600)
	for i := range skewed {
		skewed[i] = 1 + 999*(i/500) // 500 light ones crowd at the start
	}
	for _, weights := range [][]int{bigWeights(r, 40), bigWeights(r, 300), skewed} {
		eps := testEndpoints(weights)
		p := WeightedRoundRobin().Build(eps, eps, nil).(*weightedPicker)
		if p.rota != nil {
			t.Fatal("a rota where a circle was expected")
		}
		probes := []uint64{0, math.MaxUint64}
		for _, end := range p.ends {
			probes = append(probes, end-1, end, end+1)
		}
		for range 2000 {
			probes = append(probes, r.Uint64())
		}
		for _, x := range probes {
			sum := uint64(0)
			want := 0
			for i, w := range weights {
				sum += uint64(w)
				// x/2^64 < sum/total, in whole numbers
				if hi, _ := bits.Mul64(x, uint64(p.total)); hi < sum {
					want = i
					break
				}
			}
			if got := p.at(x); got != want {
				// An end is rounded down: the one position it cuts may be either's.
				if p.ends[min(got, want)] != x || got != want+1 {
					t.Fatalf("%d endpoints: %#x is on the arc of %d, want %d", len(weights), x, got, want)
				}
			}
		}
	}
}

// TestCircleIsSmooth: in any run of picks, every endpoint has had what is due within a few
// turns, and no two of its turns are much further apart than its weight says.
func TestCircleIsSmooth(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	weights := bigWeights(r, 60)
	eps := testEndpoints(weights)
	p := WeightedRoundRobin().Build(eps, eps, nil).(*weightedPicker)
	const picks = 100_000
	index := make(map[*endpoint.Endpoint]int)
	for i, e := range eps {
		index[e] = i
	}
	counts, last := make([]float64, len(eps)), make([]int, len(eps))
	start := r.Uint64()
	for k := range picks {
		i := index[p.Pick(&Attempt{Seq: start + uint64(k)})]
		every := float64(p.total) / float64(weights[i])
		if gap := k - last[i]; counts[i] > 0 && float64(gap) > 3*every+2 {
			t.Fatalf("weight %d of %d: %d picks between two turns", weights[i], p.total, gap)
		}
		last[i] = k
		counts[i]++
		if due := float64(k+1) / every; math.Abs(counts[i]-due) > 5 {
			t.Fatalf("weight %d of %d: %v turns of %d, %.1f are due", weights[i], p.total, counts[i], k+1, due)
		}
	}
}

// TestAliasesAreExact adds up the columns: every endpoint has its weight, to the last of
// the 2^64 parts that rounding may cost.
func TestAliasesAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	for range 300 {
		weights := randomWeights(r, 2+r.IntN(50), 1+r.IntN(1000))
		w := newWheel(testEndpoints(weights))
		if w.slots == nil {
			continue // all the same
		}
		share := make([]float64, len(weights))
		for i, s := range w.slots {
			own := float64(s.keep) / (1 << 64)
			share[i] += own
			share[s.other] += 1 - own
		}
		for i, weight := range weights {
			want := float64(weight) / float64(w.total) * float64(len(weights))
			if math.Abs(share[i]-want) > 1e-9*want {
				t.Fatalf("weights %v: endpoint %d has %v columns, want %v", weights, i, share[i], want)
			}
		}
	}
}

// TestRingOracle walks a naive ring: all points in one sorted list.
func TestRingOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	for _, n := range []int{1, 2, 3, 17, 100} {
		eps := testEndpoints(randomWeights(r, n, 5))
		type point struct {
			at    uint64
			index int
		}
		var points []point
		for i, e := range eps {
			h := e.Hash()
			for range e.Weight() * pointsPerWeight {
				h = next(h)
				points = append(points, point{h >> 32, i})
			}
		}
		sort.Slice(points, func(i, j int) bool {
			return points[i].at < points[j].at || points[i].at == points[j].at && points[i].index < points[j].index
		})
		var usable []*endpoint.Endpoint
		up := make(map[*endpoint.Endpoint]bool)
		for i, e := range eps {
			if i == 0 || r.IntN(3) > 0 {
				usable, up[e] = append(usable, e), true
			}
		}
		p := ConsistentHash(HashConfig{Algorithm: Ring}).Build(eps, usable, nil)
		for range 3000 {
			a := Attempt{Key: r.Uint64()}
			at := mix(a.Key) >> 32
			i := sort.Search(len(points), func(i int) bool { return points[i].at >= at })
			for !up[eps[points[i%len(points)].index]] {
				i++
			}
			if got, want := p.Pick(&a), eps[points[i%len(points)].index]; got != want {
				t.Fatalf("%d endpoints: key %#x is at %v, want %v", n, a.Key, got.ID(), want.ID())
			}
		}
	}
}

// TestMinusLog2 compares with the library and checks that the order of hashes is kept.
func TestMinusLog2(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	check := func(x uint64) {
		t.Helper()
		want := 64 - math.Log2(float64(x|1))
		if got := minusLog2(x); math.Abs(got-want) > 1e-5 || got < 0 || math.IsNaN(got) {
			t.Fatalf("minusLog2(%#x) = %v, want %v", x, got, want)
		}
		if least := (1 - float64(x)/(1<<64)) * 1.44; minusLog2(x) < least {
			t.Fatalf("minusLog2(%#x) = %v, below the bound that contests rely on", x, minusLog2(x))
		}
		if y := x + x>>20 + 1; y > x && minusLog2(y) > minusLog2(x) {
			t.Fatalf("minusLog2 rises from %#x to %#x", x, y)
		}
	}
	for shift := range 64 {
		for d := -2; d <= 2; d++ {
			check(uint64(1)<<shift + uint64(d))
		}
		for range 1000 {
			check(r.Uint64() >> shift)
		}
	}
	check(0)
	check(math.MaxUint64)
}

// TestBeaten: a member that is said to be beaten without a logarithm is.
func TestBeaten(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 1))
	told := 0
	for range 100_000 {
		h, share := r.Uint64(), 1/float64(1+r.IntN(1000))
		exact := score(h, share)
		best := exact * (0.5 + r.Float64())
		if beaten(h, share, best) {
			told++
			if exact < best {
				t.Fatalf("%#x of share %v has %v and is not beaten by %v", h, share, exact, best)
			}
		}
	}
	if told < 10_000 {
		t.Errorf("only %d of 100000 could be told", told)
	}
}

// TestRendezvousOracle runs the race with the library's logarithm.
func TestRendezvousOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for _, n := range []int{1, 2, 10, contestMax} {
		weights := randomWeights(r, n, 30)
		eps := testEndpoints(weights)
		p := ConsistentHash(HashConfig{Algorithm: Rendezvous}).Build(eps, eps, nil)
		for range 2000 {
			a := Attempt{Key: r.Uint64()}
			best, second, winner := math.Inf(1), math.Inf(1), 0
			for i, e := range eps {
				score := -math.Log2(float64(mix(a.Key^e.Hash())|1)/(1<<64)) / float64(weights[i])
				if score < best {
					best, second, winner = score, best, i
				} else if score < second {
					second = score
				}
			}
			if got := p.Pick(&a); got != eps[winner] && second-best > 1e-4*best+1e-5 {
				t.Fatalf("%d endpoints: key %#x is at %v, want %v (%v before %v)", n, a.Key, got.ID(), eps[winner].ID(), best, second)
			}
		}
	}
}

// TestGroupsKeepShares: asking groups first changes no member's share.
func TestGroupsKeepShares(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	const n, picks = 400, 400_000
	weights := randomWeights(r, n, 10)
	eps := testEndpoints(weights)
	p := ConsistentHash(HashConfig{Algorithm: Rendezvous}).Build(eps, eps, nil).(*hashPicker)
	if p.homes.(*rendezvous).groups == nil {
		t.Fatal("no groups")
	}
	counts := make(map[*endpoint.Endpoint]float64)
	for range picks {
		counts[p.Pick(&Attempt{Key: r.Uint64() | 1})]++
	}
	for i, e := range eps {
		want := picks * float64(weights[i]) / float64(p.total)
		if math.Abs(counts[e]-want) > 6*math.Sqrt(want) {
			t.Errorf("weight %d has %v keys, want %.0f", weights[i], counts[e], want)
		}
	}
}

// TestMaglevSlots counts: every slot is taken, every member has one at least, and no member
// has more or less than its share by more than a slot or two.
func TestMaglevSlots(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 1))
	skewed := make([]int, 1000)
	for i := range skewed {
		skewed[i] = 1
	}
	skewed[500] = 1000
	for name, weights := range map[string][]int{
		"one": {3}, "two": {1, 1}, "mixed": randomWeights(r, 700, 1000), "skewed": skewed, "many": randomWeights(r, 2000, 4),
	} {
		m := newMembers(testEndpoints(weights))
		table := newMaglev(m).(maglev)
		counts := make([]int, len(weights))
		for slot, i := range table {
			if int(i) >= len(weights) {
				t.Fatalf("%s: slot %d is nobody's", name, slot)
			}
			counts[i]++
		}
		for i, c := range counts {
			want := float64(len(table)) * float64(weights[i]) / float64(m.total)
			// The first turn of every member is free: with very light members around, the
			// heavy ones pay for those.
			if c == 0 || math.Abs(float64(c)-want) > 2+0.02*want {
				t.Errorf("%s: weight %d has %d slots, want %.1f", name, weights[i], c, want)
			}
		}
	}
}

// TestMaglevOracle fills a table the way the paper does, where all weights are equal: all
// in turn, every other round backwards.
func TestMaglevOracle(t *testing.T) {
	for _, n := range []int{1, 2, 7, 100} {
		m := newMembers(testEndpoints(make([]int, n)))
		got := newMaglev(m).(maglev)
		size := len(got)
		want := make([]int, size)
		for i := range want {
			want[i] = -1
		}
		tried := make([]int, n) // places in each member's permutation
		order := make([]int, n)
		for i := range order {
			order[i] = n - 1 - i
		}
		for filled := 0; filled < size; slices.Reverse(order) {
			for _, i := range order {
				h := m.rivals[i].hash
				offset, skip := int(h%uint64(size)), int(next(h)%uint64(size-1)+1)
				for {
					slot := (offset + tried[i]*skip) % size
					tried[i]++
					if want[slot] < 0 {
						want[slot] = i
						break
					}
				}
				if filled++; filled == size {
					break
				}
			}
		}
		for slot := range got {
			if int(got[slot]) != want[slot] {
				t.Fatalf("%d members: slot %d is %d's, want %d's", n, slot, got[slot], want[slot])
			}
		}
	}
}

// TestLeastOracle looks at everyone.
func TestLeastOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	for round := range 2000 {
		eps := testEndpoints(randomWeights(r, 1+r.IntN(scanMax), 1+round%3*4))
		for _, e := range eps {
			for range r.IntN(20) {
				e.Begin(0)
			}
		}
		p := LeastConnections().Build(eps, eps, nil)
		a := Attempt{Rand: r.Uint64()}
		for range r.IntN(3) {
			a.Tried.Add(eps[r.IntN(len(eps))])
		}
		got := p.Pick(&a)
		for _, e := range eps {
			if a.Tried.Has(e) {
				continue
			}
			if got == nil || (e.InFlight()+1)*got.Weight() <= got.InFlight()*e.Weight() {
				t.Fatalf("picked %v, but %v has %d of weight %d", got, e.ID(), e.InFlight(), e.Weight())
			}
		}
	}
}

// TestPairsAreDistinct counts the pairs that are compared: all of them, equally often.
func TestPairsAreDistinct(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	const n, picks = 6, 60_000
	w := newWheel(testEndpoints(make([]int, n)))
	counts := make(map[[2]*endpoint.Endpoint]float64)
	for range picks {
		x, y, _ := w.pair(&Attempt{Rand: r.Uint64()})
		counts[[2]*endpoint.Endpoint{x, y}]++
	}
	for _, x := range w.eps {
		for _, y := range w.eps {
			want := float64(picks) / (n * (n - 1))
			if x == y {
				want = 0
			}
			if got := counts[[2]*endpoint.Endpoint{x, y}]; math.Abs(got-want) > 6*math.Sqrt(want) {
				t.Errorf("%v and %v: compared %v times, want %.0f", x.ID(), y.ID(), got, want)
			}
		}
	}
	for range 1000 { // unequal weights, where draws may collide
		w := newWheel(testEndpoints([]int{1000, 1, 1}))
		if x, y, _ := w.pair(&Attempt{Rand: r.Uint64()}); x == y || y == nil {
			t.Fatal("not two")
		}
	}
}
