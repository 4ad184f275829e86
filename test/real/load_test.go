package real

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// An answer is what became of one request of a load.
type answer struct {
	began, at time.Time
	site      string // "": no site answered as asked
	gateway   string // X-Gateway as the site saw it
	err       error
}

// A load sends the same request over and over on a few connections, each with a short
// pause between two of them, until it is stopped.
type load struct {
	dial    func() (net.Conn, error)
	request []byte
	pause   time.Duration
	fresh   bool // a connection of its own for each request

	group sync.WaitGroup
	over  atomic.Bool

	mu      sync.Mutex
	answers []answer
}

// tcp dials address.
func tcp(address string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.DialTimeout("tcp", address, rig.Patience) }
}

// start begins with n connections. The test ends the load if nothing else did.
func (l *load) start(t *testing.T, n int) *load {
	for range n {
		l.group.Go(l.run)
	}
	t.Cleanup(func() { l.stop() })
	return l
}

// stop ends the load and returns what became of its requests.
func (l *load) stop() []answer {
	l.over.Store(true)
	l.group.Wait()
	return l.answers
}

func (l *load) run() {
	var c *rig.Conn
	for !l.over.Load() {
		a := answer{began: time.Now()}
		c = l.ask(c, &a)
		a.at = time.Now()
		l.mu.Lock()
		l.answers = append(l.answers, a)
		l.mu.Unlock()
		time.Sleep(l.pause)
	}
	if c != nil {
		c.Close()
	}
}

// ask sends one request, over c unless that is nil, and returns the connection for the
// next one.
func (l *load) ask(c *rig.Conn, a *answer) *rig.Conn {
	if c == nil {
		conn, err := l.dial()
		if err != nil {
			a.err = err
			return nil
		}
		c = rig.NewConn(conn)
	}
	got, err := c.Do(l.request)
	if err != nil {
		a.err = err
		c.Close()
		return nil
	}
	a.site, a.gateway = string(got.Field("X-Site")), string(got.Field("X-Seen-Gateway"))
	if got.Status != 200 {
		a.err = fmt.Errorf("status %d: %s", got.Status, got.Body)
	}
	if got.Close || l.fresh {
		c.Close()
		return nil
	}
	return c
}

// recent waits for an answer to a request sent from now on that ok agrees with.
func (l *load) recent(t *testing.T, within time.Duration, what string, ok func(answer) bool) time.Duration {
	t.Helper()
	began := time.Now()
	for seen := 0; time.Since(began) < within; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		fresh := l.answers[seen:]
		seen = len(l.answers)
		l.mu.Unlock()
		for _, a := range fresh {
			if a.began.After(began) && ok(a) {
				return a.at.Sub(began)
			}
		}
	}
	t.Fatalf("within %v no answer %s", within, what)
	return 0
}

// failures lists the requests that failed, at most a few of them.
func failures(answers []answer) error {
	var errs []error
	n := 0
	for _, a := range answers {
		if a.err == nil {
			continue
		}
		if n++; n <= 5 {
			errs = append(errs, a.err)
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d requests failed: %w", n, len(answers), errors.Join(errs...))
}

// flawless says so or fails the test.
func flawless(t *testing.T, answers []answer) {
	t.Helper()
	if err := failures(answers); err != nil {
		t.Error(err)
	}
	if len(answers) == 0 {
		t.Error("no request was sent")
	}
	t.Logf("%d requests, none may fail", len(answers))
}

// bySite counts answers.
func bySite(answers []answer) map[string]int {
	n := map[string]int{}
	for _, a := range answers {
		n[a.site]++
	}
	return n
}

// wrkLoad is wrk at work.
type wrkLoad struct{ *rig.Process }

// wrk starts wrk with a few connections for a time.
func wrk(t *testing.T, connections int, lasts time.Duration, host, url string) wrkLoad {
	t.Helper()
	return wrkLoad{rig.Start(t, rig.Command{Path: rig.Program(t, "wrk"), Args: []string{
		"-t1", "-c" + strconv.Itoa(connections), "-d" + strconv.Itoa(int(lasts.Seconds())) + "s", "--timeout", "10s", "-H", "Host: " + host, url}})}
}

var wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)

// flawless waits for the end of wrk and fails the test if a request failed or none was sent.
func (w wrkLoad) flawless(t *testing.T) {
	t.Helper()
	code := w.Exit()
	m := wrkRequests.FindStringSubmatch(w.Text())
	if code != 0 || m == nil || m[1] == "0" || w.Said("Socket errors|Non-2xx") > 0 {
		t.Errorf("wrk: exit code %d\n%s", code, w.Text())
		return
	}
	t.Logf("wrk: %s requests, none failed", m[1])
}
