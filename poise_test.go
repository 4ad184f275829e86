package poise_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/testcert"
)

var quiet = slog.New(slog.DiscardHandler)

// named is an endpoint that answers with its name and what it saw of the request.
func named(t testing.TB, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Name", name)
		fmt.Fprintf(w, "%s %s %s for=%s proto=%s body=%d", name, r.Method, r.URL.Path, r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"), len(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// toAll is a configuration that leads everything to one service.
func toAll(urls ...string) poise.Config {
	s := poise.Service{Policy: poise.Policy{Type: "round_robin"}}
	for _, u := range urls {
		s.Endpoints = append(s.Endpoints, poise.Endpoint{URL: u})
	}
	return poise.Config{
		Services: map[string]poise.Service{"all": s},
		Routes:   []poise.Route{{Service: "all"}},
		Logger:   quiet,
	}
}

func start(t testing.TB, c poise.Config) *poise.Proxy {
	t.Helper()
	p, err := poise.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, p) })
	return p
}

func shut(t testing.TB, p *poise.Proxy) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// serve runs p on a loopback listener of its own and returns its address.
func serve(t testing.TB, p *poise.Proxy) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Serve(l) }()
	t.Cleanup(func() {
		shut(t, p)
		if err := <-done; !errors.Is(err, poise.ErrClosed) {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return l.Addr().String()
}

func get(t testing.TB, c *http.Client, url string) (status int, body string) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestMountedAsAHandler(t *testing.T) {
	p := start(t, toAll(named(t, "a"), named(t, "b")))
	front := httptest.NewServer(http.StripPrefix("/gateway", p))
	defer front.Close()
	seen := map[string]int{}
	for range 10 {
		status, body := get(t, front.Client(), front.URL+"/gateway/x")
		if status != 200 || !strings.Contains(body, " GET /x for=127.0.0.1 proto=http ") {
			t.Fatalf("%d %q", status, body)
		}
		seen[body[:1]]++
	}
	if seen["a"] != 5 || seen["b"] != 5 {
		t.Errorf("shares %v, want 5 and 5", seen)
	}
}

func TestServesListenersItself(t *testing.T) {
	p := start(t, toAll(named(t, "a")))
	addr := serve(t, p)
	r, err := http.Post("http://"+addr+"/p", "text/plain", strings.NewReader(strings.Repeat("x", 300_000)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	if r.StatusCode != 200 || !strings.HasSuffix(string(body), "body=300000") {
		t.Errorf("%d %q", r.StatusCode, body)
	}
}

func TestApplyMovesTrafficAndKeepsState(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	p := start(t, toAll(a))
	addr := serve(t, p)
	for range 3 {
		get(t, http.DefaultClient, "http://"+addr+"/")
	}
	if err := p.Apply(toAll(a, b)); err != nil {
		t.Fatal(err)
	}
	seen := map[byte]int{}
	for range 4 {
		_, body := get(t, http.DefaultClient, "http://"+addr+"/")
		seen[body[0]]++
	}
	if seen['a'] != 2 || seen['b'] != 2 {
		t.Errorf("shares after Apply: %v", seen)
	}
	attempts := uint64(0)
	for range 100 { // an attempt is counted a moment after the client has its response
		for _, e := range p.Status().Services[0].Endpoints {
			if e.URL == a {
				attempts = e.Attempts
			}
		}
		if attempts >= 5 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if attempts != 5 {
		t.Errorf("endpoint a has %d attempts, want 5: its state must survive Apply", attempts)
	}
}

func TestMistakesAreNamedAndChangeNothing(t *testing.T) {
	a := named(t, "a")
	p := start(t, toAll(a))
	bad := toAll(a)
	bad.Routes = append(bad.Routes,
		poise.Route{Match: poise.Match{Path: "/x"}, Service: "al"},
		poise.Route{Match: poise.Match{Path: "/y"}, Service: "all", Headers: poise.Headers{Request: poise.HeaderEdit{Set: map[string]string{"Content-Length": "1"}}}})
	err := p.Apply(bad)
	if err == nil || !strings.Contains(err.Error(), "routes[1].service") || !strings.Contains(err.Error(), "all") {
		t.Fatalf("error %v", err)
	}
	front := httptest.NewServer(p)
	defer front.Close()
	if status, _ := get(t, front.Client(), front.URL); status != 200 {
		t.Errorf("status %d after a refused Apply", status)
	}
}

func TestNothingAvailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p := start(t, toAll("http://"+l.Addr().String()))
	front := httptest.NewServer(p)
	defer front.Close()
	req, _ := http.NewRequest("GET", front.URL, nil)
	req.Header.Set("Accept", "application/json")
	r, err := front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var said struct {
		Status int
		Reason string
	}
	if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != 502 || said.Status != 502 || said.Reason != "connect-failed" || r.Header.Get("Poise-Reason") != "connect-failed" {
		t.Errorf("%d %+v %v", r.StatusCode, said, r.Header)
	}
}

// selfSigned is a new certificate for 127.0.0.1 and localhost.
func selfSigned(t testing.TB) poise.TLS {
	t.Helper()
	cert, key := testcert.New(t, testcert.Template{}).Files(t)
	return poise.TLS{Certificates: []poise.Certificate{{Cert: cert, Key: key}}}
}

func TestTerminatesTLSForBothVersionsOfHTTP(t *testing.T) {
	p := start(t, toAll(named(t, "a")))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	terms := selfSigned(t)
	go func() { served <- p.ServeTLS(l, terms) }()
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2}
		if !h2 {
			tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		r, err := (&http.Client{Transport: tr}).Get("https://" + l.Addr().String() + "/t")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if want := 1 + b2i(h2); r.ProtoMajor != want || !strings.Contains(string(body), "/t for=127.0.0.1 proto=https") {
			t.Errorf("h2=%v: %s %q", h2, r.Proto, body)
		}
		tr.CloseIdleConnections()
	}
	shut(t, p)
	if err := <-served; !errors.Is(err, poise.ErrClosed) {
		t.Errorf("ServeTLS ended with %v", err)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestEndpointsOverHTTPS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "sni=%s", r.TLS.ServerName)
	}))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600)

	c := toAll(s.URL)
	svc := c.Services["all"]
	for _, test := range []struct {
		tls  *poise.EndpointTLS
		want string
	}{
		{nil, "502 connect-failed"}, // an unknown authority
		{&poise.EndpointTLS{CA: ca}, "sni="},
		{&poise.EndpointTLS{CA: ca, ServerName: "example.com"}, "sni=example.com"},
		{&poise.EndpointTLS{CA: ca, ServerName: "other.test"}, "502 connect-failed"},
		{&poise.EndpointTLS{Insecure: true}, "sni="},
	} {
		svc.TLS = test.tls
		c.Services["all"] = svc
		p := start(t, c)
		front := httptest.NewServer(p)
		if _, body := get(t, front.Client(), front.URL); !strings.HasPrefix(body, test.want) {
			t.Errorf("%+v: %q, want %q", test.tls, body, test.want)
		}
		front.Close()
	}
}

func TestCloseDrains(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		io.WriteString(w, "done")
	}))
	defer s.Close()
	p := start(t, toAll(s.URL))
	addr := serve(t, p)
	idle, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	answer := make(chan string, 1)
	go func() {
		_, body := get(t, http.DefaultClient, "http://"+addr+"/")
		answer <- body
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- p.Close(context.Background()) }()
	idle.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection ended with %v, want EOF at once", err)
	}
	close(leave)
	if body := <-answer; body != "done" {
		t.Errorf("the exchange under way got %q", body)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestCloseBreaksOffWhatDoesNotEnd(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-leave }))
	defer s.Close()
	defer close(leave)
	p, err := poise.New(toAll(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	go p.Serve(l)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want that it ran out of time", err)
	}
}

func TestAccessLogTellsEveryAttempt(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	path := filepath.Join(t.TempDir(), "access.log")
	c := toAll("http://"+l.Addr().String(), named(t, "b"))
	c.AccessLog.Path = path
	p := start(t, c)
	addr := serve(t, p)
	for range 2 {
		if status, _ := get(t, http.DefaultClient, "http://"+addr+"/logged?x=1"); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	shut(t, p)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%s", len(lines), data)
	}
	if !bytes.Contains(data, []byte(`"connect-failed"`)) || !bytes.Contains(data, []byte(`"path":"/logged`)) {
		t.Errorf("the failed attempt is not told:\n%s", data)
	}
	for _, line := range lines {
		if !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// settle waits until the number of goroutines has come down to at most want.
func settle(t testing.TB, want int) int {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	looks := 2000
	if want == 0 {
		looks = 200 // they are to come to rest
	}
	n := runtime.NumGoroutine()
	for range looks {
		if n = runtime.NumGoroutine(); n <= want {
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	return n
}

func TestCloseEndsEveryGoroutine(t *testing.T) {
	a := named(t, "a")
	before := settle(t, 0)
	c := toAll(a, "http://localhost:"+a[strings.LastIndex(a, ":")+1:])
	svc := c.Services["all"]
	svc.Health = &poise.Health{Check: "GET /health", Interval: 20 * time.Millisecond, Timeout: 10 * time.Millisecond}
	list := filepath.Join(t.TempDir(), "list.json")
	os.WriteFile(list, []byte(`["`+a+`"]`), 0o600)
	c.Services["all"] = svc
	c.Services["file"] = poise.Service{Source: &poise.Source{File: &poise.FileSource{Path: list}}}
	c.AccessLog.Path = filepath.Join(t.TempDir(), "access.log")
	for range 5 {
		p, err := poise.New(c)
		if err != nil {
			t.Fatal(err)
		}
		l, _ := net.Listen("tcp", "127.0.0.1:0")
		done := make(chan error, 1)
		go func() { done <- p.Serve(l) }()
		for range 3 {
			get(t, http.DefaultClient, "http://"+l.Addr().String()+"/")
		}
		http.DefaultClient.CloseIdleConnections()
		shut(t, p)
		<-done
	}
	if after := settle(t, before); after > before {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after:\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAThousandReloadsLeaveNothingBehind(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	configs := []poise.Config{toAll(a, b), toAll(a)}
	configs[1].Services["other"] = poise.Service{Endpoints: []poise.Endpoint{{URL: b}}, Health: &poise.Health{Check: "HEAD /", Interval: time.Second}}
	configs[1].Routes = append(configs[1].Routes, poise.Route{Match: poise.Match{Path: "/o/**"}, Service: "other"})
	p := start(t, configs[0])
	addr := serve(t, p)

	var failed, asked atomic.Int64
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			r, err := http.Get("http://" + addr + "/o/x")
			asked.Add(1)
			if err != nil || r.StatusCode != 200 {
				failed.Add(1)
				continue
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
	}()
	apply := func(n int) {
		for i := range n {
			if err := p.Apply(configs[i%2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply(200)
	goroutines, bytes := runtime.NumGoroutine(), heap()
	apply(1000)
	close(stop)
	<-done
	time.Sleep(1500 * time.Millisecond) // the housekeeper's next round
	if n := settle(t, goroutines+5); n > goroutines+5 {
		t.Errorf("goroutines: %d, then %d after 1,000 reloads", goroutines, n)
	}
	left := heap()
	for end := time.Now().Add(20 * time.Second); left > bytes+2<<20 && time.Now().Before(end); left = heap() {
		time.Sleep(200 * time.Millisecond) // a busy machine is late with that round
	}
	if left > bytes+2<<20 {
		t.Errorf("heap: %d bytes, then %d after 1,000 reloads", bytes, left)
	}
	if failed.Load() > 0 || asked.Load() == 0 {
		t.Errorf("%d of %d requests failed during reloads", failed.Load(), asked.Load())
	}
}

func TestUpgradeThroughTheHandler(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" || !strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
			http.Error(w, "no upgrade", 400)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(conn, rw)
	}))
	defer s.Close()
	p := start(t, toAll(s.URL))
	front := httptest.NewServer(p)
	defer front.Close()
	for _, addr := range []string{front.Listener.Addr().String(), serve(t, p)} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatalf("%v %v", resp, err)
		}
		io.WriteString(c, " second")
		c.(*net.TCPConn).CloseWrite()
		if echo, err := io.ReadAll(r); string(echo) != "first second" || err != nil {
			t.Errorf("echo %q, %v", echo, err)
		}
	}
}

// What New cannot do it says, with the nearest word.
func TestEngineIsChecked(t *testing.T) {
	for _, c := range []poise.Config{{Engine: "lop"}, {Engine: "std"}, {Workers: -1}} {
		c.Services = map[string]poise.Service{"a": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:9"}}}}
		c.Routes = []poise.Route{{Service: "a"}}
		p, err := poise.New(c)
		if err == nil {
			p.Close(context.Background())
			t.Errorf("engine %q with %d workers was taken", c.Engine, c.Workers)
			continue
		}
		var problems interface{ Problems() []config.Problem }
		if !errors.As(err, &problems) || len(problems.Problems()) != 1 {
			t.Errorf("engine %q with %d workers: %v", c.Engine, c.Workers, err)
		} else if one := problems.Problems()[0]; c.Engine == "lop" && poise.Engines()[0] == "loop" && one.Near != "loop" {
			t.Errorf("%+v", one)
		}
	}
}
