package nacos

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
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

// words are updates as tests compare them. How many errors come one after the other does
// not matter here.
func words(updates []discovery.Update) string {
	var out []string
	for _, u := range updates {
		switch {
		case u.Err == nil:
			out = append(out, "["+shown(u)+"]")
		case len(out) == 0 || out[len(out)-1] != "stale":
			out = append(out, "stale")
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

// scene is a fake at one:8848 and one:9848 in a bubble of virtual time.
func scene(t *testing.T, f func(t *testing.T, e *fake, c Config)) {
	synctest.Test(t, func(t *testing.T) {
		n := fakes.NewNetwork()
		f(t, newFake(t, n), Config{Servers: []string{"one:8848"}, dial: n.Dial})
	})
}

var webConfig = ServiceConfig{Service: "web"}

func TestChangesArePushed(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		l, _ := start(t, New(c, webConfig))
		pass(time.Second)
		l.expect(t, "[]")
		e.put(webSubject, host("10.0.0.1", 80, "a"))
		pass(fakePushDelay)
		l.expect(t, "[http://10.0.0.1:80 a]")
		off := host("10.0.0.1", 80, "a")
		off["healthy"] = false
		e.put(webSubject, off)
		pass(fakePushDelay)
		l.expect(t, "[]")
		pass(10 * time.Minute)
		l.expect(t, "")
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.conns != 1 {
			t.Errorf("%d connections", e.conns)
		}
		for _, c := range e.clients {
			if p := <-c.replies; p.kind != "NotifySubscriberResponse" || !strings.Contains(string(p.body), `"requestId":"7"`) {
				t.Errorf("a push was answered by %s %s", p.kind, p.body)
			}
		}
	})
}

// A server that was restarted knows nobody at first. Sources must not believe it at once.
func TestRestartIsNotAnOutage(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		var journals []*journal
		for i := range 5 {
			j, _ := announce(t, c, discovery.Instance{Service: "web", Address: fmt.Sprint("10.0.0.", i, ":80")})
			journals = append(journals, j)
		}
		pass(time.Second)
		l, _ := start(t, New(c, webConfig))
		pass(time.Second)
		all := "[http://10.0.0.0:80 , http://10.0.0.1:80 , http://10.0.0.2:80 , http://10.0.0.3:80 , http://10.0.0.4:80 ]"
		l.expect(t, all)
		for range 20 {
			e.restart(rand.N(20 * time.Second))
			pass(7 * time.Second)
			l.expect(t, "stale "+all)
		}
		for _, j := range journals {
			if got := strings.Join(j.words, " "); strings.Count(got, "announced") != 21 {
				t.Errorf("reported %s", got)
			}
		}
	})
}

// What does not come back within the grace time is believed to be gone.
func TestRestartWithDataLost(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		e.put(webSubject, host("10.0.0.1", 80, ""))
		e.put(webSubject, host("10.0.0.2", 80, ""))
		l, _ := start(t, New(c, webConfig))
		pass(time.Second)
		l.expect(t, "[http://10.0.0.1:80 , http://10.0.0.2:80 ]")
		e.restart(time.Second)
		e.put(webSubject, host("10.0.0.2", 80, ""))
		pass(2 * time.Second)
		l.expect(t, "stale")
		pass(5 * time.Second)
		l.expect(t, "[http://10.0.0.2:80 ]")
		c.Grace = -1 // without grace
		l, _ = start(t, New(c, webConfig))
		pass(time.Second)
		e.restart(time.Second)
		pass(4 * time.Second)
		l.expect(t, "[http://10.0.0.2:80 ] stale []")
	})
}

func TestServerThatHangs(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		e.put(webSubject, host("10.0.0.1", 80, ""))
		l, _ := start(t, New(c, webConfig))
		pass(time.Second)
		l.expect(t, "[http://10.0.0.1:80 ]")
		for range 10 {
			wake := make(chan struct{})
			e.set(func() { e.silent = wake })
			pass(8100 * time.Millisecond)
			l.expect(t, "stale")
			pass(rand.N(time.Minute))
			if n := len(l.take()); n > 3 {
				t.Errorf("%d errors in one outage", n)
			}
			e.set(func() { e.silent = nil })
			close(wake)
			pass(4 * time.Second)
			l.expect(t, "[http://10.0.0.1:80 ]")
		}
	})
}

func TestPushThatWasLost(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		l, _ := start(t, New(c, webConfig))
		pass(time.Second)
		l.expect(t, "[]")
		e.set(func() { e.losePush = true })
		e.put(webSubject, host("10.0.0.1", 80, ""))
		pass(reconcileEvery + healthEvery + time.Second)
		l.expect(t, "[http://10.0.0.1:80 ]")
	})
}

// An answer that was made before a change and comes after the push of it must not win.
func TestAnswerThatIsOlderThanAPush(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		e.set(func() { e.answers = 600 * time.Millisecond })
		l, _ := start(t, New(c, webConfig))
		for e.count("SubscribeServiceRequest") == 0 {
			pass(10 * time.Millisecond)
		}
		e.put(webSubject, host("10.0.0.1", 80, ""))
		pass(3 * time.Second)
		l.expect(t, "[http://10.0.0.1:80 ]")
	})
}

func TestServerAsks(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		l, _ := start(t, New(c, webConfig))
		pass(time.Second)
		send := func(kind string) *fakeClient {
			e.mu.Lock()
			defer e.mu.Unlock()
			for _, to := range e.clients {
				for len(to.replies) > 0 {
					<-to.replies
				}
				e.handlers.run(func() { to.out <- payload{kind: kind, body: []byte(`{"requestId":"9"}`)} })
				return to
			}
			t.Fatal("no client")
			return nil
		}
		to := send("ClientDetectionRequest")
		pass(time.Second)
		if p := <-to.replies; p.kind != "ClientDetectionResponse" || !strings.Contains(string(p.body), `"requestId":"9"`) {
			t.Errorf("%s %s", p.kind, p.body)
		}
		to = send("SetupAckRequest")
		pass(time.Second)
		if len(to.replies) > 0 {
			t.Error("answered what wants no answer")
		}
		l.expect(t, "[]")
		send("ConnectResetRequest")
		pass(time.Second)
		l.expect(t, "stale []")
		if e.conns != 2 {
			t.Errorf("%d connections", e.conns)
		}
	})
}

func TestLogin(t *testing.T) {
	for _, version3 := range []bool{false, true} {
		scene(t, func(t *testing.T, e *fake, c Config) {
			e.set(func() { e.tokens, e.version3, e.ttl = make(map[string]bool), version3, 100 })
			none, stop := start(t, New(c, webConfig))
			pass(time.Second)
			if u := none.take(); len(u) == 0 || u[0].Err == nil || !strings.Contains(u[0].Err.Error(), "asks for a user") {
				t.Errorf("without a user: %v", u)
			}
			stop()
			c.User, c.Password = "me", "wr0ng"
			wrong, stop := start(t, New(c, webConfig))
			pass(time.Second)
			if u := wrong.take(); len(u) == 0 || u[0].Err == nil || !strings.Contains(u[0].Err.Error(), "user or password not accepted") || strings.Contains(fmt.Sprint(u), "wr0ng") {
				t.Errorf("wrong password: %v", u)
			}
			stop()
			c.Password = "right"
			e.set(func() { e.logins = 0 })
			l, _ := start(t, New(c, webConfig))
			pass(time.Second)
			l.expect(t, "[]")
			pass(10 * time.Minute) // renewed every 80 s, and never seen
			l.expect(t, "")
			if e.logins < 7 || e.logins > 9 {
				t.Errorf("%d logins", e.logins)
			}
			e.set(func() { clear(e.tokens) }) // the server has forgotten
			pass(10 * time.Second)
			l.expect(t, "")
		})
	}
}

// 2.3 answers a wrong password with a status line that is none.
func TestLoginThatIsAnsweredWithNonsense(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		e.stopHTTP()
		l := e.n.Listen("one:8848")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err == nil {
					io.Copy(io.Discard, r.Body)
					io.WriteString(conn, "HTTP/1.1 0 \r\nContent-Length: 0\r\n\r\n")
				}
				conn.Close()
			}
		}()
		c.User, c.Password = "me", "wrong"
		got, stop := start(t, New(c, webConfig))
		pass(time.Second)
		if u := got.take(); len(u) == 0 || u[0].Err == nil || !strings.Contains(u[0].Err.Error(), "user or password not accepted") {
			t.Errorf("%v", u)
		}
		stop()
		l.Close()
		<-done
	})
}

func TestPollingWithoutTheGRPCPort(t *testing.T) {
	for _, version3 := range []bool{false, true} {
		scene(t, func(t *testing.T, e *fake, c Config) {
			var notes []string
			c.Note = func(s string) { notes = append(notes, s) }
			e.set(func() { e.version3 = version3 })
			e.stopGRPC()
			e.put(webSubject, host("10.0.0.1", 80, "a"))
			s := webConfig
			if version3 { // all clusters cannot be had there, and a part must not be taken for all
				all, stop := start(t, New(c, s))
				pass(time.Second)
				all.expect(t, "stale")
				stop()
				notes = nil
				s.Clusters = []string{"DEFAULT"}
			}
			l, _ := start(t, New(c, s))
			pass(time.Second)
			l.expect(t, "[http://10.0.0.1:80 a]")
			e.put(webSubject, host("10.0.0.2", 80, "a"))
			pass(12 * time.Second)
			l.expect(t, "[http://10.0.0.1:80 a, http://10.0.0.2:80 a]")
			e.stopHTTP()
			pass(12 * time.Second)
			l.expect(t, "stale")
			e.set(func() { clear(e.services) }) // restarted without data
			e.startHTTP()
			pass(4 * time.Second)
			l.expect(t, "")
			e.put(webSubject, host("10.0.0.1", 80, "a"))
			pass(6 * time.Second)
			l.expect(t, "[http://10.0.0.1:80 a]")
			e.startGRPC()
			pass(12 * time.Second)
			l.expect(t, "")
			e.put(webSubject, host("10.0.0.3", 80, "a"))
			pass(time.Second)
			l.expect(t, "[http://10.0.0.1:80 a, http://10.0.0.3:80 a]")
			if len(notes) < 2 || !strings.Contains(notes[0], "polling") || !strings.Contains(notes[len(notes)-1], "pushes") {
				t.Errorf("%q", notes)
			}
		})
	}
}

func TestSourcesShareTheConnection(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		r := NewRegistry(c)
		var logs []*log
		var stops []func()
		for i := range 200 {
			s := fmt.Sprint("s", i)
			e.put(subject{"DEFAULT_GROUP", s}, host("10.0.0.1", 1000+i, ""))
			l, stop := start(t, r.Source(ServiceConfig{Service: s}))
			logs, stops = append(logs, l), append(stops, stop)
		}
		again, stopAgain := start(t, r.Source(ServiceConfig{Service: "s7", Clusters: []string{"far"}}))
		pass(2 * time.Second)
		for i, l := range logs {
			l.expect(t, fmt.Sprintf("[http://10.0.0.1:%d ]", 1000+i))
		}
		again.expect(t, "[]")
		e.set(func() {
			if e.conns != 1 || len(e.clients) != 1 {
				t.Errorf("%d connections", e.conns)
			}
		})
		stopAgain()
		stops[0]()
		pass(time.Second)
		for _, to := range e.clients {
			if to.watches[subject{"DEFAULT_GROUP", "s0"}] || !to.watches[subject{"DEFAULT_GROUP", "s7"}] {
				t.Error("what nobody watches is still subscribed, or the other way round")
			}
		}
		for _, stop := range stops {
			stop()
		}
		pass(time.Second)
		if len(e.clients) != 0 {
			t.Error("connected though no source runs")
		}
	})
}

// What the server says about one service is of no concern to the others.
func TestServiceThatIsRefused(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		e.set(func() { e.refuse = map[string]bool{"bad": true} })
		r := NewRegistry(c)
		bad, _ := start(t, r.Source(ServiceConfig{Service: "bad"}))
		good, _ := start(t, r.Source(webConfig))
		pass(time.Minute)
		good.expect(t, "[]")
		if u := bad.take(); len(u) != 1 || u[0].Err == nil || !strings.Contains(u[0].Err.Error(), "no such thing") {
			t.Errorf("%v", u)
		}
		e.set(func() { e.refuse = nil })
		pass(6 * time.Second)
		bad.expect(t, "[]")
	})
}

func TestConfigurationThatCannotWork(t *testing.T) {
	for _, s := range []*Source{
		New(Config{}, webConfig),
		New(Config{Servers: []string{"one:port"}}, webConfig),
		New(Config{Servers: []string{"http://me:s3cr3t@one"}}, webConfig),
		New(Config{Servers: []string{"one:65000"}}, webConfig),
		New(Config{Servers: []string{"one"}}, ServiceConfig{}),
		New(Config{Servers: []string{"one"}}, ServiceConfig{Service: "x", Scheme: "ftp"}),
	} {
		err := s.Run(t.Context(), func(discovery.Update) { t.Error("published") })
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%v", err)
		}
	}
}

// Random histories: only sets that the registry had are published, and in the end the
// last one is.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			scene(t, func(t *testing.T, e *fake, c Config) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				l, _ := start(t, New(c, webConfig))
				for range 150 {
					id := rnd.IntN(6)
					switch k := rnd.IntN(12); {
					case k < 6:
						in := host(fmt.Sprint("10.0.0.", id), 80, fmt.Sprint(rnd.IntN(3)))
						in["healthy"], in["enabled"] = rnd.IntN(4) > 0, rnd.IntN(4) > 0
						e.put(webSubject, in)
					case k < 9:
						e.drop(webSubject, fmt.Sprint("10.0.0.", id, ":80"))
					case k == 9:
						e.set(func() { e.history[""] = true })
						e.restart(rand.N(5 * time.Second))
					case k == 10:
						wake := make(chan struct{})
						e.set(func() { e.silent = wake })
						pass(rand.N(15 * time.Second))
						e.set(func() { e.silent = nil })
						close(wake)
					case k == 11:
						e.set(func() { e.losePush = rnd.IntN(2) == 0 })
					}
					pass(rand.N(3 * time.Second))
				}
				e.set(func() { e.losePush = false })
				pass(time.Minute)
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

// 500 reconnections leave as many goroutines as one, and no memory.
func TestReconnectionsLeaveNothing(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		l, _ := start(t, New(c, webConfig))
		announce(t, c, discovery.Instance{Service: "web", Address: "10.0.0.1:80"})
		measure := func() (int, uint64) {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), m.HeapAlloc
		}
		round := func() {
			e.restart(time.Second)
			pass(6 * time.Second)
			l.take()
			e.count("")
		}
		for range 20 {
			round()
		}
		goroutines, heap := measure()
		for range 500 {
			round()
		}
		g, h := measure()
		if g > goroutines+4 || h > heap+2<<20 {
			t.Errorf("%d goroutines and %d KiB before, %d and %d after", goroutines, heap>>10, g, h>>10)
		}
	})
}

// The same over TCP and TLS, in real time.
func TestTLS(t *testing.T) {
	e := newFake(t, fakes.NewNetwork())
	e.put(webSubject, host("10.0.0.1", 80, "a"))
	server := httptest.NewUnstartedServer(http.HandlerFunc(e.grpc))
	server.EnableHTTP2 = true
	server.Config.ConnContext = e.connection
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of the handshake that is refused
	server.StartTLS()
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	c := Config{Servers: []string{fmt.Sprint("127.0.0.1:", port-1)}, PortOffset: 1}
	for _, trusted := range []bool{true, false} {
		c.TLS = &tls.Config{}
		if trusted {
			c.TLS.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			c.TLS.ServerName = "example.com"
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var first discovery.Update
		err := New(c, webConfig).Run(ctx, func(u discovery.Update) {
			if first.Err == nil && first.Endpoints == nil {
				first = u
			}
			cancel()
		})
		cancel()
		if err != nil || trusted && shown(first) != "http://10.0.0.1:80 a" || !trusted && first.Err == nil {
			t.Errorf("trusted %v: %v, %v", trusted, err, first)
		}
	}
	server.CloseClientConnections()
	e.handlers.wait()
}
