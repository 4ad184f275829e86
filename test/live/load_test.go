package live

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// A load sends GET requests through poise, one after the other on a few connections, from
// the time poise is ready until it is stopped.
type load struct {
	address string
	request []byte
	group   sync.WaitGroup
	over    atomic.Bool

	mu     sync.Mutex
	seen   map[string]sight // by endpoint
	total  int
	judged int      // of total: flawless has looked at them
	failed int      // since then
	lost   int      // in all
	first  []string // the first failures
}

// A sight is when an endpoint answered last.
type sight struct {
	count int
	began time.Time // of the latest request that it answered
}

// pause is between two requests on a connection: the load leaves the processors alone most
// of the time, and still asks each of a few endpoints every few milliseconds.
const pause = 3 * time.Millisecond

// begin starts a load with n connections on a path.
func begin(t *testing.T, address, path string, n int) *load {
	l := &load{address: address, request: []byte("GET " + path + " HTTP/1.1\r\nHost: live\r\n\r\n"), seen: make(map[string]sight)}
	for range n {
		l.group.Go(l.run)
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.over.Store(true)
	l.group.Wait()
}

func (l *load) run() {
	var c *rig.Conn
	for !l.over.Load() {
		began := time.Now()
		name, next, err := ask(c, l.address, l.request)
		c = next
		l.note(began, name, err)
		time.Sleep(pause)
	}
	if c != nil {
		c.Close()
	}
}

// ask sends a request, over c unless that is nil, and returns who answered.
func ask(c *rig.Conn, address string, request []byte) (name string, next *rig.Conn, err error) {
	if c == nil {
		conn, err := net.DialTimeout("tcp", address, rig.Patience)
		if err != nil {
			return "", nil, err
		}
		c = rig.NewConn(conn)
	}
	a, err := c.Do(request)
	if err != nil {
		c.Close()
		return "", nil, err
	}
	name = string(a.Field(nameField))
	if a.Status != 200 || name == "" {
		err = fmt.Errorf("status %d: %s", a.Status, a.Body)
	}
	if a.Close {
		c.Close()
		return name, nil, err
	}
	return name, c, err
}

func (l *load) note(began time.Time, name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	if err != nil {
		l.lost++
		if l.failed++; len(l.first) < 5 {
			l.first = append(l.first, fmt.Sprintf("%s: %v", began.Format("15:04:05.000"), err))
		}
		return
	}
	s := l.seen[name]
	s.count++
	if began.After(s.began) {
		s.began = began
	}
	l.seen[name] = s
}

// flawless fails the test if a request has failed since the last call.
func (l *load) flawless(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed > 0 {
		t.Errorf("%d of %d requests failed:\n%s", l.failed, l.total, strings.Join(l.first, "\n"))
	}
	if l.total == l.judged && !l.over.Load() {
		t.Error("no request was answered in this step")
	}
	l.judged, l.failed, l.first = l.total, 0, nil
}

// counts is how many answers each endpoint has given.
func (l *load) counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := make(map[string]int, len(l.seen))
	for name, s := range l.seen {
		n[name] = s.count
	}
	return n
}

func (l *load) last(name string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[name].began
}

// comes waits until name answers a request that began after since, and returns when that
// began.
func (l *load) comes(t *testing.T, name string, since time.Time, within time.Duration) time.Duration {
	t.Helper()
	for limit := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		if at := l.last(name); at.After(since) {
			return at.Sub(since)
		}
		if time.Now().After(limit) {
			t.Fatalf("%s did not answer within %v; who did, since the load began: %v", name, within, l.counts())
		}
	}
}

// silence is without an answer of an endpoint that is not used any more. In use, each of a
// few endpoints answers every few milliseconds.
const silence = 400 * time.Millisecond

// goes waits until name has not answered for a while, and returns when the last request
// that it answered began.
func (l *load) goes(t *testing.T, name string, since time.Time, within time.Duration) time.Duration {
	t.Helper()
	for limit := time.Now().Add(within + silence); ; time.Sleep(time.Millisecond) {
		at := l.last(name)
		quiet := time.Since(at)
		if at.Before(since) {
			quiet = time.Since(since)
		}
		if quiet > silence {
			return max(at.Sub(since), 0)
		}
		if time.Now().After(limit) {
			t.Fatalf("%s still answers after %v", name, within)
		}
	}
}

// share is the part of the answers of the next n that name gives.
func (l *load) share(name string, n int) float64 {
	before := l.counts()
	for {
		time.Sleep(10 * time.Millisecond)
		all, mine := 0, 0
		for who, count := range l.counts() {
			all += count - before[who]
			if who == name {
				mine = count - before[who]
			}
		}
		if all >= n || l.over.Load() {
			return float64(mine) / float64(max(all, 1))
		}
	}
}
