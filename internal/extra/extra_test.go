package extra

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var usual = Limits{Share: 0.2, Floor: 3, Hedges: 0.05}

func TestBudgetAllowsAShareAndAFloor(t *testing.T) {
	for _, c := range []struct{ requests, retries, hedges int }{{0, 30, 0}, {100, 50, 5}, {10000, 2030, 500}} {
		for k, want := range []int{c.retries, c.hedges} {
			var b Budget
			n := 0
			for b.Take(time.Second, uint64(c.requests), Kind(k), usual) {
				n++
			}
			if n != want {
				t.Errorf("%d requests: %d of kind %d, want %d", c.requests, n, k, want)
			}
			s := b.Spent(time.Second, uint64(c.requests))
			if s.Taken[k] != uint64(n) || s.Refused[k] != 1 || s.Requests != uint64(c.requests) {
				t.Errorf("spent: %+v", s)
			}
			if n > 0 { // what is given back can be taken again, and after ten seconds all of it
				if b.Return(Kind(k)); !b.Take(time.Second, uint64(c.requests), Kind(k), usual) {
					t.Error("what was given back is not there")
				}
			}
		}
	}
}

// Hedges count towards the share of all extra attempts, and retries leave them room only there.
func TestHedgesAndRetriesShareOneBudget(t *testing.T) {
	var b Budget
	for b.Take(0, 1000, Retry, usual) {
	}
	if b.Take(0, 1000, Hedge, usual) {
		t.Error("a hedge beyond the budget")
	}
	if !b.Take(0, 1000, Retry, Limits{Share: -1}) {
		t.Error("a budget without a limit refuses")
	}
}

// An oracle: in every ten seconds, by slots, no more is taken than the sums of a plain list allow.
func TestBudgetAgainstAList(t *testing.T) {
	type second struct{ requests, extra, hedges float64 }
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var b Budget
		seq := r.Uint64()
		b.Start(seq)
		var list [200]second
		for now := time.Duration(0); now < 200*time.Second; now += time.Duration(r.IntN(400)) * time.Millisecond {
			if r.IntN(40) == 0 {
				now += time.Duration(r.IntN(15)) * time.Second
			}
			if now >= 200*time.Second {
				break
			}
			at := int(now / time.Second)
			b.Turn(now, seq)
			n := r.IntN(50)
			seq += uint64(n)
			list[at].requests += float64(n)
			for range r.IntN(30) {
				k := Kind(r.IntN(2))
				var sum second
				for _, s := range list[max(0, at-9) : at+1] {
					sum.requests, sum.extra, sum.hedges = sum.requests+s.requests, sum.extra+s.extra, sum.hedges+s.hedges
				}
				want := sum.extra+1 <= 0.2*sum.requests+30 && (k == Retry || sum.hedges+1 <= 0.05*sum.requests)
				if got := b.Take(now, seq, k, usual); got != want {
					t.Fatalf("seed %d at %v: kind %d taken %v, want %v of %+v", seed, now, k, got, want, sum)
				}
				if want {
					list[at].extra++
					list[at].hedges += float64(k)
				}
			}
		}
	}
}

func TestTailIsThePercentile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	tail := NewTail(3)
	var all []time.Duration
	for i := range 20000 {
		d := time.Duration(r.ExpFloat64() * float64(5*time.Millisecond))
		all = append(all, d)
		tail.At(i % 3).Add(d)
	}
	if tail.Due() != 0 {
		t.Error("known before the first turn")
	}
	slices.Sort(all)
	for _, p := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
		tail.Turn(time.Second, p)
		exact, got := all[int(p*float64(len(all)))], tail.Due()
		if got < exact*7/8 || got > exact*9/8 {
			t.Errorf("p%g: %v, exactly %v", p*100, got, exact)
		}
	}
}

func TestTailForgets(t *testing.T) {
	tail := NewTail(1)
	for range 1000 {
		tail.At(0).Add(100 * time.Millisecond)
	}
	now := time.Second
	tail.Turn(now, 0.95)
	if d := tail.Due(); d < 90*time.Millisecond || d > 110*time.Millisecond {
		t.Fatalf("p95 is %v", d)
	}
	for tail.Due() > 12*time.Millisecond {
		for range 1000 {
			tail.At(0).Add(10 * time.Millisecond)
		}
		if now += time.Second; now > 20*time.Second {
			t.Fatalf("after 20 s of 10 ms p95 is still %v", tail.Due())
		}
		tail.Turn(now, 0.95)
	}
	if tail.Turn(now+10*time.Minute, 0.95); tail.Due() != 0 {
		t.Errorf("after ten minutes of silence p95 is %v", tail.Due())
	}
}

func TestBucketsAreInOrder(t *testing.T) {
	for i := range bucketCount {
		from, to := boundsOf(i)
		if bucketOf(from) != i || bucketOf(to-1) != i || to <= from {
			t.Errorf("bucket %d from %v to %v: those are in %d and %d", i, from, to, bucketOf(from), bucketOf(to-1))
		}
	}
	if bucketOf(-1) != 0 || bucketOf(time.Hour) != bucketCount-1 {
		t.Error("what is out of bounds has no bucket")
	}
}
