package simulate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/accesslines"
)

// logOf is a log of n requests, 2 ms apart, of which those at the third of three endpoints took
// three times as long. They stand in it in the order in which they ended.
func logOf(t testing.TB, n int) *Recorded {
	t.Helper()
	rand := rand.New(rand.NewPCG(1, 2))
	log := NewRecorded()
	began := time.Date(2026, 11, 28, 20, 0, 0, 0, time.UTC)
	for i := range n {
		took := time.Duration((1 + rand.ExpFloat64()) * 5e6)
		if i%3 == 2 {
			took *= 3
		}
		e := accesslines.Entry{Began: began.Add(time.Duration(i) * 2 * time.Millisecond), Method: "GET", Client: fmt.Sprint(i % 100), Whole: took + 100*time.Microsecond, Took: took, Endpoint: fmt.Sprintf("10.0.0.%d:80", i%3+1)}
		if i%2 == 1 {
			e.Began = e.Began.Add(-3 * time.Millisecond)
		}
		if err := log.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	times := config.Fill(Time{})
	if err := log.Finish(1, &times); err != nil {
		t.Fatal(err)
	}
	return log
}

// TestReplay: the log tells how fast its endpoints were; round robin, by which it was made, gives
// back what it says; and a policy that looks at latency sends the slow endpoint less.
func TestReplay(t *testing.T) {
	log := logOf(t, 9000)
	if f := log.factor("10.0.0.3:80"); f < 2.7 || f > 3.3 || log.factor("10.0.0.1:80") != 1 {
		t.Errorf("the third endpoint takes %.2f times as long", f)
	}
	s := FromLog(log)
	sc := Scenario{Workers: 1000, Network: 100 * time.Microsecond}.WithDefaults()
	turns := run(t, s, sc, "round_robin")
	for _, q := range []float64{0.5, 0.9, 0.99} {
		got, want := float64(turns.Latency.Quantile(q)), float64(log.Logged.Quantile(q))
		if got < 0.9*want || got > 1.1*want {
			t.Errorf("quantile %g: %.2f ms replayed, %.2f ms logged", q, got/1e6, want/1e6)
		}
	}
	peak := run(t, s, sc, "peak_ewma")
	if peak.Endpoints[2].Attempts > turns.Endpoints[2].Attempts/2 || peak.Latency.Mean() > turns.Latency.Mean()*9/10 {
		t.Errorf("peak_ewma sent %d to the slow endpoint, round_robin %d; mean %v and %v", peak.Endpoints[2].Attempts, turns.Endpoints[2].Attempts, peak.Latency.Mean(), turns.Latency.Mean())
	}
	sc.Load.Speed = 2
	if fast := run(t, s, sc, "round_robin"); s.Duration(&sc) != log.Span(1)/2 || fast.Requests == 0 {
		t.Errorf("twice as fast it takes %v instead of %v", s.Duration(&sc), log.Span(1))
	}
}

// TestFailuresOfALog say nothing about how long requests take; zones are those of the log.
func TestFailuresOfALog(t *testing.T) {
	log := NewRecorded()
	for i := range 2000 {
		e := accesslines.Entry{Began: time.Unix(0, int64(i)*1e7), Status: 200, Took: 20 * time.Millisecond, Endpoint: fmt.Sprintf("10.0.0.%d:80", i%4), Zone: fmt.Sprint("z", i%2)}
		if i%4 == 1 && i%8 < 4 {
			e.Status, e.Took = 503, 10*time.Microsecond
		}
		if err := log.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	times := config.Fill(Time{})
	if err := log.Finish(1, &times); err != nil {
		t.Fatal(err)
	}
	s := FromLog(log)
	sc := Scenario{Workers: 9}.WithDefaults()
	if r := run(t, s, sc, "p2c"); log.factor("10.0.0.1:80") != 1 || r.Latency.Quantile(0.001) < 20*time.Millisecond {
		t.Errorf("factor %v, the fastest took %v", log.factor("10.0.0.1:80"), r.Latency.Quantile(0.001))
	}
	if zones := s.Zones(&sc); fmt.Sprint(zones) != "[z0 z1]" {
		t.Error(zones)
	}
}

// TestAtOnce: 500 requests a second that take 16.7 ms on average are 8.3 at once, at three
// endpoints; in 99 % of the time there are less than twice as many.
func TestAtOnce(t *testing.T) {
	if n := logOf(t, 9000).AtOnce(); n < 3 || n > 6 {
		t.Errorf("%d at once", n)
	}
}

// TestLogsWithoutTimes have them from the scenario, and made-up endpoints.
func TestLogsWithoutTimes(t *testing.T) {
	log := NewRecorded()
	for i := range 1000 {
		if err := log.Add(&accesslines.Entry{Began: time.Unix(int64(i/100), int64(i))}); err != nil {
			t.Fatal(err)
		}
	}
	times := config.Fill(Time{Mean: 7 * time.Millisecond, Distribution: "constant"})
	if err := log.Finish(1, &times); err != nil {
		t.Fatal(err)
	}
	s := FromLog(log)
	sc := Scenario{Time: times, Workers: 100}.WithDefaults()
	r := run(t, s, sc, "p2c")
	if s.Endpoints() != madeUp || s.Note == "" || r.Latency.Quantile(0.5) < 7*time.Millisecond || r.Latency.Quantile(0.5) > 8*time.Millisecond {
		t.Errorf("%d endpoints, p50 %v", s.Endpoints(), r.Latency.Quantile(0.5))
	}
	empty := NewRecorded()
	if err := empty.Finish(1, &times); err == nil || !strings.Contains(err.Error(), "no request") {
		t.Error(err)
	}
	one := NewRecorded()
	one.Add(&accesslines.Entry{Began: time.Unix(5, 0)})
	if err := one.Finish(1, &times); err == nil || !strings.Contains(err.Error(), "same instant") {
		t.Error(err)
	}
}
