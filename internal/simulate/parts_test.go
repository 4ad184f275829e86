package simulate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestQueueSorts: events come in the order of time, those of one instant in that of their adding.
func TestQueueSorts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var q queue
	var want []event
	take := func() {
		slices.SortFunc(want, func(a, b event) int {
			if a.before(&b) {
				return -1
			}
			return 1
		})
		got, ok := q.first()
		q.drop()
		if !ok || got != want[0] {
			t.Fatalf("%+v, %v, want %+v", got, ok, want[0])
		}
		want = want[1:]
	}
	for range 3000 {
		if r.IntN(5) < 3 || len(want) == 0 {
			e := event{at: time.Duration(r.IntN(50)), n: int32(r.IntN(9))}
			q.add(e)
			e.seq = q.seq
			want = append(want, e)
		} else {
			take()
		}
	}
	for len(want) > 0 {
		take()
	}
	if _, ok := q.first(); ok {
		t.Error("something is left")
	}
}

// TestBucketsAreNarrow: every value is in its bucket, which is at most 1.6 % wide.
func TestBucketsAreNarrow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		v := r.Int64() >> r.IntN(63)
		i := bucket(time.Duration(v))
		if low, high := from(i), from(i+1); float64(v) < low || float64(v) > high || high-low > max(1, low/60) {
			t.Fatalf("%d is in bucket %d, from %.0f to %.0f", v, i, low, high)
		}
	}
}

// TestQuantiles are those of the sorted values, to one percent.
func TestQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h := newHistogram()
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(r.ExpFloat64() * 5e6)
		all = append(all, d)
		h.add(d, Parts{Work: d})
	}
	slices.Sort(all)
	for _, q := range []float64{0.1, 0.5, 0.9, 0.99, 0.999} {
		want := float64(all[int(q*float64(len(all)))])
		if got := float64(h.Quantile(q)); got < 0.98*want || got > 1.02*want {
			t.Errorf("quantile %g is %.0f, want %.0f", q, got, want)
		}
	}
	if h.Quantile(1) != all[len(all)-1] || h.Max() != h.Quantile(1) || h.N() != len(all) {
		t.Error("the longest is not the last quantile")
	}
	var tail time.Duration
	for _, d := range all[len(all)-200:] {
		tail += d
	}
	if got, want := h.Slowest(0.01).Work, tail/200; got < want*97/100 || got > want*103/100 {
		t.Errorf("the slowest percent took %v, want %v", got, want)
	}
	if empty := newHistogram(); empty.Quantile(0.5) != 0 || empty.Mean() != 0 || empty.Slowest(1).Work != 0 {
		t.Error("an empty histogram has values")
	}
}

// TestShow: three digits in one unit.
func TestShow(t *testing.T) {
	for d, want := range map[time.Duration]string{
		950 * time.Microsecond: "0.95 ms", 23587 * time.Microsecond: "23.6 ms", 48248 * time.Millisecond: "48248 ms",
		9996 * time.Microsecond: "10.0 ms", 99960 * time.Microsecond: "100 ms", 0: "0.00 ms",
	} {
		if got := Show(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
	for share, want := range map[float64]string{0: "0 %", 0.00001: "0.0010 %", 0.0123: "1.2 %", 0.0042: "0.42 %", 0.5: "50 %", 0.9999: "99.9 %", 1: "100 %"} {
		if got := percent(share); got != want {
			t.Errorf("%g is shown as %s, want %s", share, got, want)
		}
	}
}
