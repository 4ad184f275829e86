// Package openload puts an open loop of requests on a proxy: requests are due at instants that were
// drawn beforehand, whatever becomes of those before. Latency counts from the instant a request was
// due, so that a proxy gains nothing by holding requests up.
package openload

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// A Load is what is put on one or more proxies. Requests are exponentially apart.
type Load struct {
	Addresses   []string // of proxies, which share the load by connections
	Rate        float64  // per second
	WarmUp      time.Duration
	Lasts       time.Duration // after the warm-up
	Seed        uint64
	Connections int // how many requests may be under way; more wait, and their time runs; 0: 192
}

var request = []byte("GET /some/path HTTP/1.1\r\nHost: quality.example.com\r\nUser-Agent: load\r\n\r\n")

// A Result is what a load met with after its warm-up.
type Result struct {
	Latencies []time.Duration
	Errs      []error         // with the warm-up's
	Late      []time.Duration // by how much requests left our hands too late
	Answered  int             // answers of 200 that came after the warm-up and before the load's end
}

// Run puts the load on the proxies and waits for all answers.
func (l Load) Run(t *testing.T) Result {
	t.Helper()
	total := l.WarmUp + l.Lasts
	due := make(chan time.Duration, int(2*l.Rate*total.Seconds())+1000) // room for all
	senders := make([]sender, cmp.Or(l.Connections, 192))
	for i := range senders {
		address := l.Addresses[i%len(l.Addresses)]
		c, err := rig.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		senders[i] = sender{load: &l, address: address, conn: c}
	}
	began := time.Now().Add(10 * time.Millisecond)
	var group sync.WaitGroup
	for i := range senders {
		group.Go(func() { senders[i].run(began, due) })
	}
	r := rand.New(rand.NewPCG(l.Seed, 1))
	var all Result
	for at := time.Duration(0); ; {
		at += time.Duration(r.ExpFloat64() / l.Rate * float64(time.Second))
		if at >= total {
			break
		}
		pause(time.Until(began.Add(at)))
		all.Late = append(all.Late, time.Since(began)-at)
		due <- at
	}
	close(due)
	group.Wait()
	for i := range senders {
		all.Latencies = append(all.Latencies, senders[i].Latencies...)
		all.Errs = append(all.Errs, senders[i].Errs...)
		all.Answered += senders[i].Answered
	}
	return all
}

// A sender sends requests when they are due, on a connection of its own.
type sender struct {
	load    *Load
	address string
	conn    *rig.Conn
	Result
}

func (s *sender) run(began time.Time, due <-chan time.Duration) {
	defer func() { s.conn.Close() }()
	for at := range due {
		a, err := s.conn.Do(request)
		now := time.Since(began)
		if err == nil && a.Status != 200 {
			err = fmt.Errorf("status %d", a.Status)
		}
		switch {
		case err != nil:
			s.Errs = append(s.Errs, err)
		case at >= s.load.WarmUp:
			s.Latencies = append(s.Latencies, now-at)
		}
		if err == nil && now >= s.load.WarmUp && now < s.load.WarmUp+s.load.Lasts {
			s.Answered++
		}
		if err != nil || a.Close {
			s.conn.Close()
			if s.conn, err = rig.Dial(s.address); err != nil {
				s.Errs = append(s.Errs, err)
				return
			}
		}
	}
}

// Add pools results.
func (r *Result) Add(other Result) {
	r.Latencies = append(r.Latencies, other.Latencies...)
	r.Errs = append(r.Errs, other.Errs...)
	r.Answered += other.Answered
}

// Quantile of a sample; q beyond its ends is the end.
func Quantile(sample []time.Duration, q float64) time.Duration {
	if len(sample) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(sample))
	return sorted[min(max(int(q*float64(len(sorted))), 0), len(sorted)-1)]
}

// Quantile is that of the latencies.
func (r *Result) Quantile(q float64) time.Duration { return Quantile(r.Latencies, q) }

// Punctual reports whether the load itself was on time. If it was not, the processors
// were taken by another program, and what was measured is the machine.
func (r *Result) Punctual() bool { return Quantile(r.Late, 0.99) < lateMax }

// lateMax is far above what a free machine needs to wake a thread.
const lateMax = 5 * time.Millisecond
