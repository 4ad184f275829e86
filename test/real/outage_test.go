package real

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// probes: a site that says it is unwell leaves in time and comes back in time, though it
// answers all the while, so that each answer shows what is in rotation.
func (w *world) probes(t *testing.T) {
	l := w.users(t)
	l.recent(t, returnTime, "came from b", func(a answer) bool { return a.site == "b" })
	w.b.sick(t, true)
	fell := time.Now()
	time.Sleep(leaveTime + 500*time.Millisecond)
	w.b.sick(t, false)
	rose := time.Now()
	l.recent(t, returnTime, "came from b, which is well again", func(a answer) bool { return a.site == "b" })
	answers := l.stop()
	flawless(t, answers)
	var last, first time.Duration // answer of b before the gap, and after it
	for _, a := range answers {
		if a.site != "b" || a.began.Before(fell) {
			continue
		}
		if a.began.Before(rose) {
			last = max(last, a.began.Sub(fell))
		} else if d := a.at.Sub(rose); first == 0 || d < first {
			first = d
		}
	}
	t.Logf("left after %.2f s of %v, came back after %.2f s of %v", last.Seconds(), leaveTime, first.Seconds(), returnTime)
	if last > leaveTime {
		t.Errorf("b was in rotation %v after it fell ill, want %v at most", last, leaveTime)
	}
	if last < interval*(unhealthyAfter-1)/2 {
		t.Errorf("b left after %v: that were fewer than %d probes", last, unhealthyAfter)
	}
}

// outage: a site is killed under load. Not one GET fails; it is out of rotation in time,
// and back in time when it runs again.
func (w *world) outage(t *testing.T) {
	l := w.users(t)
	fresh := (&load{dial: tcp(w.http), request: get(apiHost, usersURI), pause: 5 * time.Millisecond, fresh: true}).start(t, 1)
	storm := wrk(t, 8, 3*time.Second, apiHost, "http://"+w.http+usersURI)
	time.Sleep(time.Second)
	w.b.process.Kill()
	stopped := time.Now()
	time.Sleep(leaveTime)
	d := newDecoy(t, w.b.address)
	time.Sleep(700 * time.Millisecond)
	probes, others := d.stop()
	if others != "" {
		t.Errorf("%v after it stopped b is still sent requests:\n%s", leaveTime, others)
	}
	w.b.start()
	back := l.recent(t, returnTime, "came from b, which runs again", func(a answer) bool { return a.site == "b" })
	t.Logf("b came back %.2f s after it listened again, of %v; its deputy saw %d probes", back.Seconds(), returnTime, probes)
	storm.flawless(t)
	flawless(t, fresh.stop())
	answers := l.stop()
	flawless(t, answers)
	for _, a := range answers {
		if a.site == "b" && a.began.After(stopped) && a.at.Before(stopped.Add(leaveTime)) {
			t.Fatal("b answered though it was stopped: this test measures nothing")
		}
	}
}

// A decoy listens where a stopped site did, notes each request, and answers nothing.
type decoy struct {
	l     net.Listener
	group sync.WaitGroup

	mu     sync.Mutex
	probes int
	others strings.Builder // request lines
}

func newDecoy(t *testing.T, address string) *decoy {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	d := &decoy{l: l}
	d.group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.note(c)
		}
	})
	t.Cleanup(func() { d.stop() })
	return d
}

func (d *decoy) note(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	line, _ := bufio.NewReader(c).ReadString('\n')
	d.mu.Lock()
	defer d.mu.Unlock()
	if strings.HasPrefix(line, "HEAD /health ") {
		d.probes++
	} else {
		d.others.WriteString(line)
	}
}

// stop closes the decoy and says what it has seen.
func (d *decoy) stop() (probes int, others string) {
	d.l.Close()
	d.group.Wait()
	return d.probes, d.others.String()
}
