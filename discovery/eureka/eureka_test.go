package eureka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// A log is what a source published.
type log struct {
	mu      sync.Mutex
	updates []discovery.Update
}

func (l *log) publish(u discovery.Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.updates = append(l.updates, u)
}

// take returns what was published since it was last called.
func (l *log) take() []discovery.Update {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.updates
	l.updates = nil
	return out
}

// words are updates as tests compare them.
func words(updates []discovery.Update) string {
	var out []string
	for _, u := range updates {
		if u.Err != nil {
			out = append(out, "stale")
		} else {
			out = append(out, "["+shown(u)+"]")
		}
	}
	return strings.Join(out, " ")
}

func (l *log) expect(t *testing.T, want string) {
	t.Helper()
	updates := l.take()
	if got := words(updates); got != want {
		t.Fatalf("published %s, want %s (%v)", got, want, updates)
	}
}

// start runs a source until the test ends or the result is called.
func start(t *testing.T, s discovery.Source) (*log, func()) {
	t.Helper()
	l := new(log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l.publish) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return l, stop
}

// pass lets time go by and everybody come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const base = "http://one:8761/eureka"

// scene is a fake at one:8761 in a bubble of virtual time.
func scene(t *testing.T, f func(t *testing.T, n *fakes.Network, e *fake, c Config)) {
	synctest.Test(t, func(t *testing.T) {
		n, e := fakes.NewNetwork(), newFake()
		e.serve(t, n, "one:8761")
		f(t, n, e, Config{Servers: []string{base}, dial: n.Dial})
	})
}

func TestChangesArriveWithTheNextPoll(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		l, _ := start(t, New(c, "web"))
		pass(time.Second)
		l.expect(t, "[]")
		e.put(instance("WEB", "w1", "10.0.0.1", 80, map[string]string{"zone": "a"}))
		e.put(instance("OTHER", "o1", "10.0.0.9", 80, nil))
		pass(6 * time.Second)
		l.expect(t, "[http://10.0.0.1:80 a]")
		pass(time.Minute)
		l.expect(t, "") // unchanged
		e.put(instance("WEB", "w1", "10.0.0.1", 80, map[string]string{"zone": "b"}))
		pass(6 * time.Second)
		l.expect(t, "[http://10.0.0.1:80 b]")
		down := instance("WEB", "w2", "10.0.0.2", 80, nil)
		down["status"] = "STARTING"
		e.put(down)
		pass(6 * time.Second)
		l.expect(t, "[http://10.0.0.1:80 b, http://10.0.0.2:80 out]")
		e.remove("WEB", "w1")
		pass(6 * time.Second)
		l.expect(t, "[http://10.0.0.2:80 out]")
		if got := e.count("GET "); got < 15 {
			t.Errorf("%d polls", got)
		}
	})
}

func TestOnlyTheFirstPollIsFull(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		l, _ := start(t, New(c, "web"))
		for i := range 40 { // three minutes
			e.put(instance("WEB", fmt.Sprint(i), "10.0.0.1", 80+i, nil))
			pass(5 * time.Second)
		}
		l.take()
		e.mu.Lock()
		full := 0
		for _, r := range e.requests {
			if r == "GET " {
				full++
			}
		}
		e.mu.Unlock()
		if full != 1 {
			t.Errorf("%d full fetches, want 1", full)
		}
	})
}

// A wrong checksum must cost one full fetch per poll, and no loop; the result is right.
func TestChecksumThatDiffers(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		e.put(instance("WEB", "w1", "10.0.0.1", 80, nil))
		l, _ := start(t, New(c, "web"))
		pass(time.Second)
		l.expect(t, "[http://10.0.0.1:80 ]")
		e.set(func() {
			e.hash = "UP_7_"
			e.changes = nil // and the list has lost something
			delete(e.apps["WEB"], "w1")
			e.requests = nil
		})
		pass(time.Minute)
		l.expect(t, "[]")
		all := e.count("GET ")
		if all < 20 || all > 28 {
			t.Errorf("%d requests in a minute, want two for each of about 12 polls", all)
		}
	})
}

// After a gap the checksum proves nothing: here it is the same.
func TestGapIsFetchedInFull(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		e.put(instance("WEB", "w1", "10.0.0.1", 80, nil))
		l, _ := start(t, New(c, "web"))
		pass(time.Second)
		e.set(func() { e.status = 503 })
		pass(4 * time.Minute)
		e.remove("WEB", "w1")
		e.put(instance("WEB", "w2", "10.0.0.2", 80, nil))
		e.set(func() { e.status, e.changes = 0, nil })
		pass(4 * time.Second)
		l.expect(t, "[http://10.0.0.1:80 ] stale [http://10.0.0.2:80 ]")
	})
}

func TestChangeListsSwitchedOff(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		e.set(func() { e.noDelta = true })
		l, _ := start(t, New(c, "web"))
		pass(7 * time.Second)
		e.put(instance("WEB", "w1", "10.0.0.1", 80, nil))
		pass(6 * time.Second)
		l.expect(t, "[] [http://10.0.0.1:80 ]")
		e.count("")
		pass(time.Minute)
		if got := e.count("GET /delta"); got != 0 {
			t.Errorf("a list that is switched off was asked for %d times", got)
		}
	})
}

// Whatever goes wrong, it is said once, nothing is published but whole sets, and all is
// well soon after.
func TestOutages(t *testing.T) {
	text := func(s string) func(*fake) { return func(e *fake) { e.body = &s } }
	cases := map[string]func(*fake){
		"status 500":     func(e *fake) { e.status = 500 },
		"status 404":     func(e *fake) { e.status = 404 },
		"silent":         func(e *fake) { e.silent = make(chan struct{}) },
		"cut":            func(e *fake) { e.cut = true },
		"drip":           func(e *fake) { e.drip = 2 * time.Second },
		"html":           text("<html>sign in</html>"),
		"another object": text(`{}`),
		"null":           text(`null`),
		"not whole":      text(`{"applications":{"apps__hashcode":"UP_3_","application":[]}}`),
		"truncated":      text(`{"applications":{"apps__hashcode":"UP_1_","application":[{"name":"WEB"`),
		"wrong types":    text(`{"applications":{"apps__hashcode":"UP_1_","application":[7]}}`),
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
				e.put(instance("WEB", "w1", "10.0.0.1", 80, nil))
				l, _ := start(t, New(c, "web"))
				pass(time.Second)
				l.expect(t, "[http://10.0.0.1:80 ]")
				e.set(func() { fault(e) })
				pass(17 * time.Second) // poll, then at most 4 times the time-out
				l.expect(t, "stale")
				pass(5 * time.Minute)
				l.expect(t, "")
				e.set(func() {
					if e.silent != nil {
						close(e.silent)
					}
					e.silent, e.body, e.status, e.cut, e.drip = nil, nil, 0, false, 0
				})
				pass(4 * time.Second)
				if name == "drip" {
					pass(12 * time.Second) // the last byte of the old answer
				}
				if got := words(l.take()); !strings.HasSuffix(got, "[http://10.0.0.1:80 ]") {
					t.Fatalf("published %q after the outage", got)
				}
			})
		})
	}
}

func TestServerThatHangsIsNoticed(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		l, _ := start(t, New(c, "web"))
		pass(time.Second)
		l.expect(t, "[]")
		e.set(func() { e.silent = make(chan struct{}) })
		began := time.Now()
		for len(l.take()) == 0 {
			pass(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
}

func TestOtherServerIsAsked(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		other := newFake()
		other.serve(t, n, "two:8761")
		other.put(instance("WEB", "w2", "10.0.0.2", 80, nil))
		e.put(instance("WEB", "w1", "10.0.0.1", 80, nil))
		c.Servers = append([]string{"http://nowhere:1/eureka"}, base, "http://two:8761/eureka/")
		l, _ := start(t, New(c, "web"))
		pass(time.Second)
		l.expect(t, "[http://10.0.0.1:80 ]")
		e.set(func() { e.status = 500 })
		pass(6 * time.Second)
		l.expect(t, "[http://10.0.0.2:80 ]") // the checksums are equal, the lists are not
		e.count("")
		pass(time.Minute)
		if n := e.count(""); n != 0 {
			t.Errorf("the server that failed was asked %d times, though another answers", n)
		}
	})
}

func TestSourcesShareThePolls(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		r := NewRegistry(c)
		var logs []*log
		var stops []func()
		for i := range 100 {
			e.put(instance(fmt.Sprintf("APP%d", i), "x", "10.0.0.1", 1000+i, nil))
		}
		for i := range 100 {
			l, stop := start(t, r.Source(fmt.Sprintf("app%d", i)))
			logs, stops = append(logs, l), append(stops, stop)
		}
		pass(58 * time.Second)
		for i, l := range logs {
			l.expect(t, fmt.Sprintf("[http://10.0.0.1:%d ]", 1000+i))
		}
		if got := e.count("GET "); got > 14 {
			t.Errorf("%d requests in a minute for 100 sources", got)
		}
		late, stop := start(t, r.Source("APP7")) // gets what is known, without a request
		synctest.Wait()
		late.expect(t, "[http://10.0.0.1:1007 ]")
		stops = append(stops, stop)
		for _, stop := range stops {
			stop()
		}
		e.count("")
		pass(time.Minute)
		if got := e.count(""); got != 0 {
			t.Errorf("%d requests though no source runs", got)
		}
		l, _ := start(t, r.Source("APP7")) // and again
		pass(time.Second)
		l.expect(t, "[http://10.0.0.1:1007 ]")
	})
}

// A source that begins in an outage gets the last copy, and is told that it may be stale.
func TestSourceThatBeginsInAnOutage(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		e.put(instance("WEB", "w1", "10.0.0.1", 80, nil))
		r := NewRegistry(c)
		start(t, r.Source("other"))
		pass(time.Second)
		e.set(func() { e.status = 500 })
		pass(10 * time.Second)
		l, _ := start(t, r.Source("web"))
		synctest.Wait()
		l.expect(t, "[http://10.0.0.1:80 ] stale")
	})
}

func TestCredentials(t *testing.T) {
	const secret = "s3cr3t/%&"
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		req, _ := http.NewRequest("GET", "http://x", nil)
		req.SetBasicAuth("me", secret)
		e.set(func() { e.auth = req.Header.Get("Authorization") })
		for _, c := range []Config{
			{Servers: []string{"http://me:s3cr3t%2F%25&@one:8761/eureka"}, dial: n.Dial},
			{Servers: []string{base}, User: "me", Password: secret, dial: n.Dial},
		} {
			l, stop := start(t, New(c, "web"))
			pass(time.Second)
			l.expect(t, "[]")
			stop()
		}
		for _, servers := range [][]string{
			{"http://me:s3cr3t@one:8761/eureka"},     // wrong
			{"http://me:s3cr3t@nowhere:8761/eureka"}, // refused
			{"http://me:s3cr3t@one:87612222/eureka"},
			{"http://me:s3cr3t@one:port/eureka"},
			{"ftp://me:s3cr3t@one/eureka"},
			{"http://me:s3cr3t%zz@one/eureka"},
		} {
			l := new(log)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := New(Config{Servers: servers, dial: n.Dial}, "web").Run(ctx, l.publish)
			cancel()
			said := fmt.Sprint(err, l.take())
			if strings.Contains(said, "s3cr3t") || strings.Contains(said, "me:") {
				t.Errorf("%s", said)
			}
			if !strings.Contains(said, "eureka: ") {
				t.Errorf("no error: %s", said)
			}
		}
	})
}

func TestConfigurationThatCannotWork(t *testing.T) {
	for _, s := range []*Source{New(Config{}, "web"), New(Config{Servers: []string{"one:8761"}}, "web"), New(Config{Servers: []string{base}}, "")} {
		if err := s.Run(t.Context(), func(discovery.Update) { t.Error("published") }); err == nil {
			t.Error("no error")
		}
	}
}

// Random histories: only sets that the registry had are published, and in the end the
// last one is.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				l, _ := start(t, New(c, "web"))
				for range 200 {
					id := fmt.Sprint(rnd.IntN(8))
					switch k := rnd.IntN(12); {
					case k < 5:
						in := instance("WEB", id, "10.0.0."+id, 80, map[string]string{"zone": fmt.Sprint(rnd.IntN(3))})
						in["status"] = []string{"UP", "UP", "DOWN", "OUT_OF_SERVICE"}[rnd.IntN(4)]
						e.put(in)
					case k < 8:
						e.remove("WEB", id)
					case k == 8: // the change list forgets
						pass(rand.N(4 * time.Minute))
					case k == 9:
						e.set(func() { e.status = []int{0, 500}[rnd.IntN(2)] })
					case k == 10:
						e.set(func() { e.cut = rnd.IntN(2) == 0 })
					case k == 11: // restarted without data
						e.set(func() { clear(e.apps); e.changes = nil; e.note() })
					}
					pass(rand.N(8 * time.Second))
				}
				e.set(func() { e.status, e.cut = 0, false })
				pass(20 * time.Second)
				last := ""
				for _, u := range l.take() {
					if u.Err == nil {
						if last = shown(u); !e.history[last] {
							t.Fatalf("published %q, which the registry never had", last)
						}
					}
				}
				if want := e.oracle(); last != want {
					t.Fatalf("in the end %q, want %q", last, want)
				}
			})
		})
	}
}

// 500 outages leave as many goroutines as one, and no memory.
func TestOutagesLeaveNothing(t *testing.T) {
	scene(t, func(t *testing.T, n *fakes.Network, e *fake, c Config) {
		for i := range 20 {
			e.put(instance("WEB", fmt.Sprint(i), "10.0.0.1", 1000+i, map[string]string{"zone": strings.Repeat("z", 100)}))
		}
		l, stop := start(t, New(c, "web"))
		measure := func() (int, uint64) {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), m.HeapAlloc
		}
		round := func() {
			e.set(func() { e.cut = true })
			pass(6 * time.Second)
			e.set(func() { e.cut = false })
			pass(6 * time.Second)
			l.take()
		}
		for range 20 {
			round()
		}
		goroutines, heap := measure()
		for range 500 {
			round()
		}
		g, h := measure()
		if g > goroutines+2 || h > heap+2<<20 {
			t.Errorf("%d goroutines and %d KiB before, %d and %d after", goroutines, heap>>10, g, h>>10)
		}
		stop()
	})
}
