package poise_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// closeBound is the context of a Close that meets something that does not end, and slack
// what a busy machine may add.
const (
	closeBound = 300 * time.Millisecond
	slack      = 15 * time.Second
)

// closeInTime demands that Close keeps to its context and returns its error.
func closeInTime(t *testing.T, p *poise.Proxy) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	began := time.Now()
	err := p.Close(ctx)
	if took := time.Since(began); took > closeBound+slack {
		t.Errorf("Close took %v with %v to do so", took, closeBound)
	}
	return err
}

// inTime demands that f returns soon.
func inTime(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not return", what)
	}
}

// stuckHandler is a log handler whose writes never end until it is let go.
type stuckHandler struct{ release <-chan struct{} }

func (stuckHandler) Enabled(context.Context, slog.Level) bool    { return true }
func (h stuckHandler) Handle(context.Context, slog.Record) error { <-h.release; return nil }
func (h stuckHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h stuckHandler) WithGroup(string) slog.Handler             { return h }

// TestNothingWaitsForTheLog: with a logger that hangs, a proxy probes, applies, tells its
// status and closes.
func TestNothingWaitsForTheLog(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var down atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(500)
		}
	}))
	defer s.Close()
	c := toAll(s.URL, named(t, "b"))
	c.Logger = slog.New(stuckHandler{release})
	svc := c.Services["all"]
	svc.Health = &poise.Health{Check: "GET /", Interval: 20 * time.Millisecond, Timeout: 20 * time.Millisecond}
	c.Services["all"] = svc
	p, err := poise.New(c)
	if err != nil {
		t.Fatal(err)
	}
	inTime(t, "Apply", func() { p.Apply(toAll(s.URL)); p.Apply(c) })
	down.Store(true)
	inTime(t, "an ejection", func() {
		for ejected := false; !ejected; time.Sleep(time.Millisecond) {
			for _, e := range p.Status().Services[0].Endpoints {
				ejected = ejected || e.State == "ejected"
			}
		}
	})
	closeInTime(t, p) // its error is whether the log was written
}

// stuckSource ignores its context and goes on publishing.
type stuckSource struct {
	release <-chan struct{}
	spec    endpoint.Spec
}

func (s stuckSource) Run(_ context.Context, publish func(discovery.Update)) error {
	publish(discovery.Update{Endpoints: []endpoint.Spec{s.spec}})
	<-s.release
	return nil
}

// stuckPolicy hangs in its second Build.
type stuckPolicy struct {
	builds  *atomic.Int64
	release <-chan struct{}
}

func (s stuckPolicy) Build(members, usable []*endpoint.Endpoint, prev policy.Picker) policy.Picker {
	if s.builds.Add(1) > 1 {
		<-s.release
	}
	return policy.RoundRobin().Build(members, usable, prev)
}

// TestCloseIsInTime: whatever is stuck.
func TestCloseIsInTime(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	hanging := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	t.Cleanup(hanging.CloseClientConnections)
	for _, test := range []struct {
		name  string
		said  string // of the error, in any case a context's
		setUp func(t *testing.T, c *poise.Config) (then func(p *poise.Proxy))
	}{
		{"source", "", func(t *testing.T, c *poise.Config) func(*poise.Proxy) {
			spec, _, _ := poise.Endpoint{URL: hanging.URL}.Parse()
			c.Services["all"] = poise.Service{Source: &poise.Source{Custom: stuckSource{release, spec}}}
			return nil
		}},
		{"policy", "service all", func(t *testing.T, c *poise.Config) func(*poise.Proxy) {
			svc := c.Services["all"]
			svc.Policy = poise.Policy{Custom: stuckPolicy{new(atomic.Int64), release}}
			c.Services["all"] = svc
			return func(p *poise.Proxy) {
				svc.Endpoints = []poise.Endpoint{{URL: "http://127.0.0.1:1"}}
				other := toAll()
				other.Services["all"] = svc
				go p.Apply(other) // hangs as well
				for p.Status().Services[0].Endpoints[0].URL == hanging.URL {
					time.Sleep(time.Millisecond)
				}
			}
		}},
		{"probe of a black hole", "", func(t *testing.T, c *poise.Config) func(*poise.Proxy) {
			svc := c.Services["all"]
			svc.Health = &poise.Health{Check: "GET /", Interval: time.Minute, Timeout: 30 * time.Second}
			c.Services["all"] = svc
			return nil
		}},
		{"request under way", "", func(t *testing.T, c *poise.Config) func(*poise.Proxy) {
			return func(p *poise.Proxy) {
				front := httptest.NewServer(p)
				t.Cleanup(front.Close)
				go front.Client().Get(front.URL)
				for p.Status().Services[0].Endpoints[0].InFlight == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := toAll(hanging.URL)
			then := test.setUp(t, &c)
			p, err := poise.New(c)
			if err != nil {
				t.Fatal(err)
			}
			if then != nil {
				inTime(t, "what precedes", func() { then(p) })
			}
			err = closeInTime(t, p)
			if !strings.Contains(fmt.Sprint(err), test.said) {
				t.Errorf("Close: %v, want a word of %q", err, test.said)
			}
			inTime(t, "Status after Close", func() { p.Status() })
		})
	}
}

// TestCloseUnderSteadyTraffic: a handler whose server is another's goes on getting
// requests. They are refused, so Close ends without a context that does.
func TestCloseUnderSteadyTraffic(t *testing.T) {
	p, err := poise.New(toAll(named(t, "a")))
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(p)
	defer front.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	stop := make(chan struct{})
	var asking sync.WaitGroup
	var answered, other atomic.Int64
	for range 8 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := client.Get(front.URL)
				if err != nil {
					other.Add(1)
					continue
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if r.StatusCode == 200 || r.StatusCode == 503 && r.Header.Get("Poise-Reason") == "stopping" {
					answered.Add(1)
				} else {
					other.Add(1)
				}
			}
		})
	}
	inTime(t, "traffic", func() {
		for answered.Load() < 50 {
			time.Sleep(time.Millisecond)
		}
	})
	inTime(t, "Close", func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	close(stop)
	asking.Wait()
	if other.Load() > 0 {
		t.Errorf("%d requests were not answered as they should", other.Load())
	}
	r, err := client.Get(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 503 || r.Header.Get("Poise-Reason") != "stopping" || !r.Close || r.Header.Get("Retry-After") == "" {
		t.Errorf("after Close: %v, want 503 stopping that ends the connection", r)
	}
}

// TestAfterClose: every method has an answer.
func TestAfterClose(t *testing.T) {
	c := toAll(named(t, "a"))
	p := start(t, c)
	if s := p.Status(); s.Draining {
		t.Error("draining from the start")
	}
	p.Drain()
	if err := p.Ready(t.Context()); !errors.Is(err, poise.ErrDraining) {
		t.Errorf("Ready while it drains: %v", err)
	}
	if err := p.Apply(c); err != nil {
		t.Errorf("Apply while it drains: %v", err)
	}
	shut(t, p)
	if err := p.Apply(c); !errors.Is(err, poise.ErrClosed) {
		t.Errorf("Apply: %v", err)
	}
	if err := p.Ready(t.Context()); !errors.Is(err, poise.ErrClosed) {
		t.Errorf("Ready: %v", err)
	}
	if s := p.Status(); !s.Draining || len(s.Services) != 1 {
		t.Errorf("Status: %+v", s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Serve(l); !errors.Is(err, poise.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
}

// TestCloseTwice: a second caller waits for the same end, by a context of its own, and
// gets the same result; a context that is done counts for both.
func TestCloseTwice(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-leave }))
	defer s.Close()
	defer close(leave)
	p, err := poise.New(toAll(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(p)
	defer front.Close()
	go front.Client().Get(front.URL)
	<-entered
	first := make(chan error, 1)
	go func() { first <- p.Close(context.Background()) }()
	select {
	case err := <-first:
		t.Fatalf("Close did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := closeInTime(t, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second Close: %v", err)
	}
	inTime(t, "the first Close", func() {
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first Close: %v", err)
		}
	})
}

// TestCloseBreaksOffHandshakes: one that is in progress holds up nothing.
func TestCloseBreaksOffHandshakes(t *testing.T) {
	hello := clientHello(t)
	for _, engine := range poise.Engines() {
		for _, sent := range [][]byte{nil, hello[:20], hello} { // the whole one offers h2: it leaves the loops
			t.Run(fmt.Sprint(engine, " ", len(sent)), func(t *testing.T) {
				c := toAll(named(t, "a"))
				c.Engine = engine
				c.Timeouts.Head = time.Minute
				p, err := poise.New(c)
				if err != nil {
					t.Fatal(err)
				}
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				served := make(chan error, 1)
				terms := selfSigned(t)
				go func() { served <- p.ServeTLS(l, terms) }()
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.Write(sent)
				if len(sent) == len(hello) { // it is far enough once the server has answered
					bufio.NewReader(conn).ReadByte()
				}
				inTime(t, "Close", func() {
					if err := p.Close(context.Background()); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
				<-served
			})
		}
	}
}

// clientHello is the first flight of a client that offers HTTP/2.
func clientHello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	go tls.Client(near, &tls.Config{NextProtos: []string{"h2"}, InsecureSkipVerify: true}).Handshake()
	defer near.Close()
	defer far.Close()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// TestApplyAndCloseAtOnce: nothing that Apply starts outlives Close.
func TestApplyAndCloseAtOnce(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	before := settle(t, 0)
	for range 20 {
		p, err := poise.New(toAll(a))
		if err != nil {
			t.Fatal(err)
		}
		var applying sync.WaitGroup
		for i := range 4 {
			applying.Go(func() {
				for n := range 50 {
					c := toAll(a)
					c.Services[fmt.Sprint("s", i, n)] = poise.Service{Endpoints: []poise.Endpoint{{URL: b}}, Health: &poise.Health{Check: "GET /"}}
					if err := p.Apply(c); err != nil && !errors.Is(err, poise.ErrClosed) {
						t.Error(err)
					}
				}
			})
		}
		shut(t, p)
		applying.Wait()
	}
	if after := settle(t, before); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

// TestDrainDelay: while the delay lasts everything is served, and every response ends its
// connection; then idle connections that are used once more are answered.
func TestDrainDelay(t *testing.T) {
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			c := toAll(named(t, "a"))
			c.Engine = engine
			c.Timeouts.DrainDelay = 1500 * time.Millisecond
			p := start(t, c)
			addr := serve(t, p)
			idle, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
			began := time.Now()
			closed := make(chan error, 1)
			go func() { closed <- p.Close(context.Background()) }()
			for !p.Status().Draining {
				time.Sleep(time.Millisecond)
			}
			r, err := http.Get("http://" + addr + "/") // a new connection
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.StatusCode != 200 || !r.Close {
				t.Errorf("in the delay: %v, want 200 that ends the connection", r)
			}
			io.WriteString(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			r, err = http.ReadResponse(bufio.NewReader(idle), nil)
			if err != nil || r.StatusCode != 200 || !r.Close {
				t.Errorf("on an old connection: %v, %v", r, err)
			}
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took < c.Timeouts.DrainDelay {
				t.Errorf("Close took %v", took)
			}
			if conn, err := net.Dial("tcp", addr); err == nil {
				conn.Close()
				t.Error("it still accepts")
			}
		})
	}
}

// TestDrainOverHTTP2: a drain sends GOAWAY, so a client opens another connection.
func TestDrainOverHTTP2(t *testing.T) {
	p := start(t, toAll(named(t, "a")))
	front := httptest.NewUnstartedServer(p)
	front.EnableHTTP2 = true
	var conns atomic.Int64
	front.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	front.StartTLS()
	defer front.Close()
	client := front.Client()
	for range 3 {
		get(t, client, front.URL)
	}
	if n := conns.Load(); n != 1 {
		t.Fatalf("%d connections for three requests", n)
	}
	p.Drain()
	inTime(t, "a second connection", func() {
		for conns.Load() == 1 {
			if status, _ := get(t, client, front.URL); status != 200 {
				t.Errorf("status %d", status)
			}
		}
	})
}

// TestCloseUnderSteadyHTTP2: connections of the Proxy's own end by GOAWAY. What was sent
// before a client learnt of it is answered by the endpoint, not by a refusal.
func TestCloseUnderSteadyHTTP2(t *testing.T) {
	p, err := poise.New(toAll(named(t, "a")))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	terms := selfSigned(t)
	go func() { served <- p.ServeTLS(l, terms) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	var asking sync.WaitGroup
	var answered atomic.Int64
	for range 8 {
		asking.Go(func() {
			for {
				connected := false
				ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
					GetConn: func(string) { connected = false }, // again, if the server has said that it did not process it
					GotConn: func(httptrace.GotConnInfo) { connected = true },
				})
				q, _ := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+l.Addr().String()+"/", strings.NewReader("x"))
				r, err := client.Do(q)
				if err != nil {
					if connected { // else nothing was sent, and it knows that it is to go elsewhere
						t.Errorf("after %d requests: %v", answered.Load(), err)
					}
					return
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if r.StatusCode != 200 || r.ProtoMajor != 2 {
					t.Errorf("%v %v", r.Proto, r.Status)
					return
				}
				answered.Add(1)
			}
		})
	}
	inTime(t, "traffic", func() {
		for answered.Load() < 50 {
			time.Sleep(time.Millisecond)
		}
	})
	inTime(t, "Close", func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	asking.Wait()
	<-served
}
