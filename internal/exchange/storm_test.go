package exchange

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/policy"
)

// A queue is an endpoint that serves one request after the other, 10 ms each. Where 20 wait it
// refuses with 503. It works on what its client has given up, too, as servers do.
type queue struct{ free time.Duration } // instant at which its work is done

const (
	service10 = 10 * time.Millisecond
	queueMax  = 20 * service10
)

func (q *queue) listen(st *stage, address string) {
	l := st.w.Listen(address)
	st.w.Daemon(address, func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			st.w.Daemon(address, func() { q.serve(st.rt, c) })
		}
	})
}

func (q *queue) serve(rt engine.Runtime, c engine.Stream) {
	defer c.Close()
	buf := make([]byte, 4096)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; !bytes.Contains(buf[:n], []byte("\r\n\r\n")) {
			continue
		}
		n = 0
		now, status := rt.Now(), 200
		if q.free-now >= queueMax {
			status = 503
		} else {
			q.free = max(q.free, now) + service10
			rt.Sleep(q.free)
		}
		fmt.Fprintf(c, "HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n", status)
	}
}

// storm plays 10 s at 120 % of the capacity of four queues and then 10 s at 80 %, with the given
// limits. It returns the most attempts there were for each request, over all prefixes from a second
// on, and the instant of the last failure that a client saw, counted from the end of the overload.
func storm(t *testing.T, limits extra.Limits) (most float64, last time.Duration) {
	st := newStage(t, 1)
	st.policy, st.breaker = policy.Random(), health.Breaker{Off: true}
	addresses := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"}
	for _, a := range addresses {
		new(queue).listen(st, a)
	}
	st.serve(addresses...)
	r := &st.table.Routes[0].Service.Retry
	*r = Retry{Attempts: 2, Connect: true, Reset: true, Timeout: true, AttemptTimeout: 150 * time.Millisecond, Extra: limits}
	r.Statuses[503] = true
	const calm = 2 * time.Second // at 80 %, before it all
	requests, attempts := 0, 0
	st.run(func() {
		var joins []engine.Join
		began := st.rt.Now()
		for st.rt.Now()-began < calm+20*time.Second {
			gap := time.Second / 320
			if at := st.rt.Now() - began; at >= calm && at < calm+10*time.Second {
				gap = time.Second / 480
			}
			st.rt.Sleep(st.rt.Now() + gap)
			joins = append(joins, st.rt.Fork(func() {
				x, v := new(Exchange), &visitor{}
				v.request(x, "GET", "/")
				requests++
				*x.Client() = v.parts()
				x.Run(st.rt, st.table, &Peer{})
				attempts += x.attempts
				at := st.rt.Now() - began
				if v.status != 200 {
					last = at - calm - 10*time.Second
				}
				if at > time.Second {
					most = max(most, float64(attempts)/float64(requests))
				}
			}))
		}
		for _, j := range joins {
			j.Wait()
		}
	})
	return most, last
}

// TestRetriesMakeNoStorm: an overload that is over leaves nothing behind. Without a budget each
// failure is asked again, that is more than the endpoints can serve, and it does not end.
func TestRetriesMakeNoStorm(t *testing.T) {
	most, last := storm(t, extra.Limits{Share: 0.2, Floor: 3})
	t.Logf("with the budget: %.3f attempts for each request, the last failure %v after the overload", most, last)
	if most > 1.25 || last > 5*time.Second {
		t.Errorf("%.3f attempts for each request, the last failure %v after the overload", most, last)
	}
	most, last = storm(t, extra.Limits{Share: -1})
	t.Logf("without: %.3f, %v", most, last)
	if most <= 1.25 || last <= 5*time.Second {
		t.Errorf("without a budget all is well, too: this test shows nothing (%.3f, %v)", most, last)
	}
}
