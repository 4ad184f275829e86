package quality

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// A load is an open loop: requests are due at instants that were drawn beforehand,
// exponentially apart, whatever becomes of those before.
type load struct {
	address string
	rate    float64 // per second
	warmUp  time.Duration
	lasts   time.Duration // after the warm-up
	seed    uint64
}

// connectionsMax is how many requests may be under way; more wait, and their time runs.
const connectionsMax = 192

var request = []byte("GET /some/path HTTP/1.1\r\nHost: quality.example.com\r\nUser-Agent: load\r\n\r\n")

// A result is what a load met with after its warm-up.
type result struct {
	latencies []time.Duration
	errs      []error
	late      []time.Duration // by how much requests left our hands too late
}

// run puts the load on the proxy and waits for all answers.
func (l load) run(t *testing.T) result {
	t.Helper()
	total := l.warmUp + l.lasts
	due := make(chan time.Duration, int(2*l.rate*total.Seconds())+1000) // room for all
	senders := make([]sender, connectionsMax)
	for i := range senders {
		c, err := rig.Dial(l.address)
		if err != nil {
			t.Fatal(err)
		}
		senders[i] = sender{load: &l, conn: c}
	}
	began := time.Now().Add(10 * time.Millisecond)
	var group sync.WaitGroup
	for i := range senders {
		group.Go(func() { senders[i].run(began, due) })
	}
	r := rand.New(rand.NewPCG(l.seed, 1))
	var all result
	for at := time.Duration(0); ; {
		at += time.Duration(r.ExpFloat64() / l.rate * float64(time.Second))
		if at >= total {
			break
		}
		pause(time.Until(began.Add(at)))
		all.late = append(all.late, time.Since(began)-at)
		due <- at
	}
	close(due)
	group.Wait()
	for i := range senders {
		all.latencies = append(all.latencies, senders[i].result.latencies...)
		all.errs = append(all.errs, senders[i].result.errs...)
	}
	return all
}

// A sender sends requests when they are due, on a connection of its own.
type sender struct {
	*load
	conn *rig.Conn
	result
}

func (s *sender) run(began time.Time, due <-chan time.Duration) {
	defer func() { s.conn.Close() }()
	for at := range due {
		a, err := s.conn.Do(request)
		latency := time.Since(began) - at
		if err == nil && a.Status != 200 {
			err = fmt.Errorf("status %d", a.Status)
		}
		switch {
		case err != nil:
			s.errs = append(s.errs, err)
		case at >= s.warmUp:
			s.latencies = append(s.latencies, latency)
		}
		if err != nil || a.Close {
			s.conn.Close()
			if s.conn, err = rig.Dial(s.address); err != nil {
				s.errs = append(s.errs, err)
				return
			}
		}
	}
}

// add pools results.
func (r *result) add(other result) {
	r.latencies = append(r.latencies, other.latencies...)
	r.errs = append(r.errs, other.errs...)
}

// quantile of a sample; q beyond its ends is the end.
func quantile(sample []time.Duration, q float64) time.Duration {
	if len(sample) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(sample))
	return sorted[min(max(int(q*float64(len(sorted))), 0), len(sorted)-1)]
}

func (r *result) quantile(q float64) time.Duration { return quantile(r.latencies, q) }

// punctual reports whether the load itself was on time. If it was not, the processors
// were taken by another program, and what was measured is the machine.
func (r *result) punctual() bool { return quantile(r.late, 0.99) < lateMax }

// lateMax is far above what a free machine needs to wake a thread.
const lateMax = 5 * time.Millisecond

// flawless fails the test if a request failed.
func (r *result) flawless(t *testing.T, through string) {
	t.Helper()
	if n := len(r.errs); n > 0 {
		t.Errorf("%s: %d requests failed: %v", through, n, errors.Join(r.errs[:min(n, 5)]...))
	}
	if len(r.latencies) == 0 {
		t.Errorf("%s: no request was answered", through)
	}
}
