package endpoint

import (
	"math"
	"sync"
	"testing"
	"time"
)

// What a report tells of others is kept, whatever this process sends meanwhile, until it is stale.
func TestReportTellsOfOthers(t *testing.T) {
	e := newTest("192.0.2.1:80")
	const now = 40 * 24 * time.Hour // ticks of a report begin anew after 52 days
	if _, ok := e.Others(now); ok {
		t.Error("others before any report")
	}
	if _, ok := e.LastReport(now); ok {
		t.Error("a report before any")
	}
	for range 3 {
		e.Begin(now)
	}
	e.Report(Report{InFlight: 10, Utilization: 0.5}, now)
	for _, c := range []struct {
		at    time.Duration
		fresh bool
	}{{now - 500*time.Millisecond, true}, {now, true}, {now + 2900*time.Millisecond, true}, {now + 3100*time.Millisecond, false}, {now + 30*24*time.Hour, false}, {now + 51*24*time.Hour, false}} {
		n, ok := e.Others(c.at)
		u, also := e.Busy(c.at)
		if ok != c.fresh || also != c.fresh || c.fresh && (n != 7 || u != 0.5) {
			t.Errorf("%v after the report: others %d, %v; busy %v, %v", c.at-now, n, ok, u, also)
		}
		if r, ok := e.LastReport(c.at); !ok || r.Stale == c.fresh || r.InFlight != 10 || r.Others != 7 || r.Utilization != 0.5 {
			t.Errorf("%v after the report: %+v", c.at-now, r)
		}
	}
	e.Begin(now)
	if n, _ := e.Others(now); n != 7 {
		t.Errorf("others %d after an attempt of our own", n)
	}
	e.Report(Report{InFlight: 2, Utilization: -1}, now)
	if n, ok := e.Others(now); n != 0 || !ok {
		t.Errorf("fewer than our own are reported: others %d, %v", n, ok)
	}
	if _, ok := e.Busy(now); ok {
		t.Error("busy is known, though it was not said")
	}
}

// Whatever an endpoint says is bounded.
func TestReportIsBounded(t *testing.T) {
	const now = time.Second
	for _, r := range []Report{
		{math.MaxInt64, math.Inf(1)}, {1 << 40, 1e300}, {math.MinInt64, math.Inf(-1)}, {-1, math.NaN()}, {0, 0}, {othersMost, busyMost},
	} {
		e := newTest("192.0.2.1:80")
		e.Report(r, now)
		n, ok := e.Others(now)
		if ok != (r.InFlight >= 0) || n < 0 || n > othersMost {
			t.Errorf("%+v: others %d, %v", r, n, ok)
		}
		u, ok := e.Busy(now)
		if ok != (r.Utilization >= 0) || !(u >= 0 && u <= busyMost) {
			t.Errorf("%+v: busy %v, %v", r, u, ok)
		}
	}
}

// Readers see a whole report: both numbers are of the same one.
func TestReportsConcurrently(t *testing.T) {
	e := newTest("192.0.2.1:80")
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 5000 {
				n := int64(w*1000 + i%1000)
				e.Report(Report{InFlight: n, Utilization: float64(n) / 4096}, time.Second)
			}
		})
	}
	for range 5000 {
		w := e.report.Load()
		if w>>48 != w>>32&0xffff {
			t.Fatalf("others %d, busy %d", w>>48, w>>32&0xffff)
		}
	}
	writers.Wait()
}
