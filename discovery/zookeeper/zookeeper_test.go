package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// limit is for a test that fails only.
const limit = 20 * time.Second

// A run is a source at work.
type run struct {
	t    *testing.T
	news chan string
	stop func()
}

func start(t *testing.T, c Config) *run {
	r := &run{t: t, news: make(chan string, 10_000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(c).Run(ctx, func(u discovery.Update) { r.news <- text(u) }) }()
	stopped := false
	r.stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(r.stop)
	return r
}

// text is an update in one line.
func text(u discovery.Update) string {
	if u.Err != nil {
		return "error: " + u.Err.Error()
	}
	var parts []string
	for _, s := range u.Endpoints {
		parts = append(parts, fmt.Sprintf("%s*%v", s.Address, s.Weight))
	}
	for _, r := range u.Rejected {
		parts = append(parts, "!"+r.ID)
	}
	return strings.Join(parts, " ")
}

// want waits for an update that reads so; errors in front of it are passed over.
func (r *run) want(want string) {
	r.t.Helper()
	var seen []string
	for {
		select {
		case got := <-r.news:
			if seen = append(seen, got); got == want {
				return
			}
			if !strings.HasPrefix(got, "error: ") {
				r.t.Fatalf("published %q, want %q", seen, want)
			}
		case <-time.After(limit):
			r.t.Fatalf("published %q, want %q", seen, want)
		}
	}
}

// fails waits for an error with these words, and is content with nothing before it.
func (r *run) fails(words string) {
	r.t.Helper()
	select {
	case got := <-r.news:
		if !strings.HasPrefix(got, "error: zookeeper: ") || !strings.Contains(got, words) {
			r.t.Fatalf("published %q, want an error with %q", got, words)
		}
	case <-time.After(limit):
		r.t.Fatalf("nothing was published, want an error with %q", words)
	}
}

func (s *server) config() Config { return Config{Servers: []string{s.address}, Path: "/services/e"} }

func instanceJSON(address string, weight int) string {
	data, err := render(discovery.Instance{Service: "e", Address: address, Weight: weight}, time.Now())
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestChanges(t *testing.T) {
	s := newServer(t)
	r := start(t, s.config())
	r.want("") // the parent is missing
	s.set("/services/e", "")
	s.set("/services/e/a", instanceJSON("10.0.0.1:80", 3))
	r.want("10.0.0.1:80*3")
	s.set("/services/e/b", "10.0.0.2:80")
	r.want("10.0.0.1:80*3 10.0.0.2:80*0")
	s.set("/services/e/a", instanceJSON("10.0.0.1:80", 7)) // no event of the list
	r.want("10.0.0.1:80*7 10.0.0.2:80*0")
	s.set("/services/e/a", "bad")
	r.want("10.0.0.2:80*0 !a")
	s.set("/services/e/a", instanceJSON("10.0.0.1:80", 7))
	r.want("10.0.0.1:80*7 10.0.0.2:80*0")
	s.set("/services/e/a2", instanceJSON("10.0.0.1:80", 8)) // registered again under another name
	r.want("10.0.0.1:80*8 10.0.0.2:80*0")
	s.delete("/services/e/a2")
	r.want("10.0.0.1:80*7 10.0.0.2:80*0")
	s.delete("/services/e/a")
	r.want("10.0.0.2:80*0")
	s.delete("/services/e/b")
	r.want("")
	s.delete("/services/e")
	time.Sleep(2 * gather)
	s.set("/services/e/c", "10.0.0.3:80")
	r.want("10.0.0.3:80*0")
	r.stop()
	if len(r.news) > 0 {
		t.Errorf("more was published: %q", <-r.news)
	}
}

// TestOracle plays random changes, cuts and expiries, and compares the end.
func TestOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := newServer(t)
	r := start(t, s.config())
	want := make(map[string]string)
	for range 300 {
		name := fmt.Sprint(random.IntN(8))
		switch random.IntN(12) {
		case 0:
			s.cut()
		case 1:
			s.mu.Lock()
			n := len(s.nodes)
			s.mu.Unlock()
			if n > 1 {
				s.expire()
			}
		case 2, 3, 4:
			if _, there := want[name]; there {
				s.delete("/services/e/" + name)
				delete(want, name)
			}
		default:
			w := 1 + random.IntN(9)
			s.set("/services/e/"+name, instanceJSON("10.0.0."+name+":80", w))
			want[name] = fmt.Sprintf("10.0.0.%s:80*%d", name, w)
		}
		time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
	}
	s.set("/services/e/last", "10.0.1.1:80")
	want["last"] = "10.0.1.1:80*0"
	end := strings.Join(slices.Sorted(maps.Values(want)), " ")
	for deadline := time.After(limit); ; {
		select {
		case got := <-r.news:
			if got == end {
				return
			}
		case <-deadline:
			t.Fatalf("the end %q was never published", end)
		}
	}
}

// TestOutages: the set is published again after each, and never a part of it.
func TestOutages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.timeout = 300 // pings every 100 ms; silence is noticed after 200 ms
	s.set("/services/e/a", "10.0.0.1:80")
	s.set("/services/e/b", "10.0.0.2:80")
	const all = "10.0.0.1:80*0 10.0.0.2:80*0"
	r := start(t, s.config())
	r.want(all)

	s.cut() // is nobody's business
	s.set("/services/e/c", "10.0.0.3:80")
	r.want(all + " 10.0.0.3:80*0")
	s.delete("/services/e/c")
	r.want(all)

	s.freeze()
	r.fails("")
	s.thaw()
	r.want(all)

	address := s.address
	s.stop()
	r.fails("")
	s.start(t, address)
	r.want(all)

	s.stop()
	s.forget()
	s.set("/services/e/d", "10.0.0.4:80")
	s.start(t, address)
	r.want("10.0.0.4:80*0")
}

// TestFaults: answers that are cut short, that are no answers, and that are too long
// neither end the program nor lose the set.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(s *server){
		"not ZooKeeper":    func(s *server) { s.greet = []byte("HTTP/1.1 400 Bad Request\r\n\r\n") },
		"a short greeting": func(s *server) { s.greet = []byte{0, 0, 0, 3, 1, 2, 3} },
		"half a greeting":  func(s *server) { s.greet = []byte{0, 0, 0, 37, 1, 2, 3} },
		"an empty frame":   func(s *server) { s.reply = func(int32, string, []byte) []byte { return []byte{} } },
		"a broken list":    func(s *server) { s.reply = cutShort(12) },
		"broken data":      func(s *server) { s.reply = cutShort(4) },
		"breaks off in data": func(s *server) {
			s.reply = func(op int32, _ string, b []byte) []byte {
				if op == 4 {
					return nil
				}
				return b
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.timeout = 300
			s.set("/services/e/a", "10.0.0.1:80")
			s.set("/services/e/b", "10.0.0.2:80")
			s.mu.Lock()
			fault(s)
			s.mu.Unlock()
			r := start(t, s.config())
			r.fails("")
			s.mu.Lock()
			s.greet, s.reply = nil, nil
			s.mu.Unlock()
			r.want("10.0.0.1:80*0 10.0.0.2:80*0")
		})
	}
}

// cutShort leaves an answer of this kind without its end.
func cutShort(kind int32) func(int32, string, []byte) []byte {
	return func(op int32, _ string, b []byte) []byte {
		if op == kind {
			return b[:min(len(b), 22)]
		}
		return b
	}
}

func TestServersTakeTurns(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("/services/e/a", "10.0.0.1:80")
	c := s.config()
	c.Servers = []string{"127.0.0.1:1", s.address, "127.0.0.1:2"}
	r := start(t, c)
	r.want("10.0.0.1:80*0")
	s.cut()
	s.set("/services/e/b", "10.0.0.2:80")
	r.want("10.0.0.1:80*0 10.0.0.2:80*0")
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("/services/e/a", "10.0.0.1:80")
	s.set("/services/e/b", "10.0.0.2:80")
	s.acl = map[string]string{"/services/e": "u:secret", "/services/e/b": "other:x"}
	c := s.config()
	c.Username, c.Password = "u", "secret"
	start(t, c).want("10.0.0.1:80*0 !b")
	c.Password = "wrong-password"
	r := start(t, c)
	select {
	case got := <-r.news:
		if !strings.Contains(got, "may not read") || strings.Contains(got, "wrong-password") {
			t.Errorf("published %q", got)
		}
	case <-time.After(limit):
		t.Error("nothing was published")
	}
}

// TestMissedEvent: the list is compared from time to time, in case an event was lost.
func TestMissedEvent(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two pulses")
	}
	t.Parallel()
	s := newServer(t)
	s.set("/services/e/a", "10.0.0.1:80")
	r := start(t, s.config())
	r.want("10.0.0.1:80*0")
	s.mu.Lock()
	for p := range s.conns {
		clear(p.list)
	}
	s.mu.Unlock()
	s.set("/services/e/b", "10.0.0.2:80")
	r.want("10.0.0.1:80*0 10.0.0.2:80*0")
}

func TestPoolSharesConnections(t *testing.T) {
	s := newServer(t)
	pool := new(Pool)
	var runs []*run
	for i := range 50 {
		s.set(fmt.Sprintf("/services/%d/a", i), fmt.Sprintf("10.0.0.%d:80", i))
		c := s.config()
		c.Path, c.Pool = fmt.Sprintf("/services/%d", i), pool
		runs = append(runs, start(t, c))
	}
	for i, r := range runs {
		r.want(fmt.Sprintf("10.0.0.%d:80*0", i))
	}
	if s.mu.Lock(); s.accepted != 1 {
		t.Errorf("%d connections", s.accepted)
	}
	s.mu.Unlock()
	s.cut()
	for i, r := range runs {
		s.set(fmt.Sprintf("/services/%d/a", i), "10.1.1.1:80")
		r.want("10.1.1.1:80*0")
	}
	for _, r := range runs {
		r.stop()
	}
	pool.wait()
	for range 500 {
		if s.mu.Lock(); len(s.conns) == 0 {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a connection is left open")
}

// TestReconnectsLeaveNothing cuts 500 connections.
func TestReconnectsLeaveNothing(t *testing.T) {
	s := newServer(t)
	s.set("/services/e/a", "10.0.0.1:80")
	pool := new(Pool)
	k := key{servers: s.address}
	seen := 0
	once := func() {
		l, err := pool.acquire(t.Context(), k, &seen)
		if err != nil {
			t.Fatal(err)
		}
		w := watch{link: l, config: s.config(), out: &client.Reporter{Publish: func(discovery.Update) { s.cut() }}}
		if err := w.run(t.Context()); !errors.Is(err, errLost) {
			t.Fatal(err)
		}
		pool.release(l)
	}
	measure := func() (int, uint64) {
		time.Sleep(1100 * time.Millisecond) // the library's last goroutine of a dead link
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	once()
	goroutines, heap := measure()
	for range 500 {
		once()
	}
	now, bytes := measure()
	if now > goroutines+2 || bytes > heap+1<<20 {
		t.Errorf("%d goroutines and %d kB, were %d and %d kB", now, bytes>>10, goroutines, heap>>10)
	}
}

func TestStrayWatchesEndALink(t *testing.T) {
	s := newServer(t)
	l, err := open(t.Context(), s.address, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for range 2 {
		l.unsubscribe("/x", l.subscribe("/x"), straysMax/2)
	}
	if l.why() != nil {
		t.Error("too early")
	}
	l.unsubscribe("/x", l.subscribe("/x"), 1)
	if !errors.Is(l.why(), client.Again) {
		t.Error(l.why())
	}
}

func TestImpossible(t *testing.T) {
	for name, c := range map[string]Config{
		"no path":        {},
		"relative":       {Path: "a"},
		"empty part":     {Path: "/a//b"},
		"final slash":    {Path: "/a/"},
		"dots":           {Path: "/a/../b"},
		"a URL":          {Path: "/a", Servers: []string{"zk://u:secret@h:1"}},
		"several in one": {Path: "/a", Servers: []string{"a:1,b:2"}},
		"no host":        {Path: "/a", Servers: []string{":2181"}},
	} {
		err := New(c).Run(t.Context(), func(discovery.Update) { t.Error("published") })
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := addresses([]string{"a", "b:1", "::1", "[::1]:2"})
	if fmt.Sprint(got) != "[a:2181 b:1 [::1]:2181 [::1]:2]" || err != nil {
		t.Error(got, err)
	}
}
