package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

// a side is a proxy in front of one good and one dead endpoint, with its admin API.
type side struct {
	*testing.T
	proxy  *poise.Proxy
	server *httptest.Server // of the API
	front  *httptest.Server
}

func newSide(t *testing.T, o Options) *side {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	t.Cleanup(backend.Close)
	p, err := poise.New(poise.Config{
		Logger: slog.New(slog.DiscardHandler),
		Services: map[string]poise.Service{"users": {Endpoints: []poise.Endpoint{{URL: backend.URL}, {URL: "http://127.0.0.1:1"}},
			Health: &poise.Health{Check: "HEAD /", Interval: 50 * time.Millisecond, Timeout: 50 * time.Millisecond}}},
		Routes: []poise.Route{{Name: "all", Service: "users"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &side{T: t, proxy: p, server: httptest.NewServer(Handler(p, o)), front: httptest.NewServer(p)}
	t.Cleanup(s.server.Close)
	t.Cleanup(s.front.Close)
	res, err := http.Get(s.front.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return s
}

// ask sends a request and returns status and content. edit may change it before.
func (s *side) ask(method, path string, edit func(r *http.Request)) (int, string) {
	s.Helper()
	r, err := http.NewRequest(method, s.server.URL+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	if edit != nil {
		edit(r)
	}
	res, err := s.server.Client().Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, string(data)
}

const secret, looker = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"

// Each request is an attack that worked on another proxy, or what an operator does.
func TestGuard(t *testing.T) {
	set := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == "Host" {
					r.Host = pairs[i+1]
				} else {
					r.Header.Set(pairs[i], pairs[i+1])
				}
			}
		}
	}
	change := []string{"Poise-Admin", "1", "Content-Type", "application/json"}
	for _, test := range []struct {
		name   string
		tokens bool
		method string
		path   string
		fields []string
		status int
	}{
		{"an operator at loopback", false, "GET", "/api/v1/status", nil, 200},
		{"by the name localhost", false, "GET", "/api/v1/status", []string{"Host", "localhost:9900"}, 200},
		{"by IPv6", false, "GET", "/api/v1/status", []string{"Host", "[::1]:9900"}, 200},
		{"by a configured name", false, "GET", "/api/v1/status", []string{"Host", "Poise.Internal."}, 200},
		{"a name that resolves to loopback (DNS rebinding)", false, "GET", "/api/v1/status", []string{"Host", "evil.example"}, 403},
		{"a name that ends like ours", false, "GET", "/api/v1/status", []string{"Host", "evil-poise.internal"}, 403},
		{"an address that is not ours", false, "GET", "/api/v1/status", []string{"Host", "10.0.0.1:9900"}, 403},
		{"the metrics by another name", false, "GET", "/metrics", []string{"Host", "evil.example"}, 403},
		{"the page by another name", false, "GET", "/", []string{"Host", "evil.example"}, 403},
		{"a cross-site POST", false, "POST", "/api/v1/nothing", append([]string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, change...), 403},
		{"a form of another page", false, "POST", "/api/v1/nothing", []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site"}, 403},
		{"a no-cors fetch", false, "GET", "/api/v1/status", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Site", "cross-site"}, 403},
		{"an image of another page", false, "GET", "/api/v1/status", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Site", "same-site"}, 403},
		{"a foreign Origin", false, "GET", "/api/v1/status", []string{"Origin", "http://evil.example"}, 403},
		{"another port of this machine", false, "GET", "/api/v1/status", []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"a page without an origin", false, "GET", "/api/v1/status", []string{"Origin", "null"}, 403},
		{"a request forged by a server", false, "POST", "/api/v1/nothing", []string{"Content-Type", "application/json"}, 403},
		{"a change that is no JSON", false, "POST", "/api/v1/nothing", []string{"Poise-Admin", "1", "Content-Type", "text/plain"}, 415},
		{"a change at nothing", false, "POST", "/api/v1/nothing", change, 404},
		{"a change by GET", false, "GET", "/api/v1/nothing", nil, 404},
		{"no token", true, "GET", "/api/v1/status", nil, 401},
		{"no token for the metrics", true, "GET", "/metrics", nil, 401},
		{"no token for readiness", true, "GET", "/readyz", nil, 200},
		{"a wrong token", true, "GET", "/api/v1/status", []string{"Authorization", "Bearer 00000000000000000000000000000000"}, 401},
		{"another scheme", true, "GET", "/api/v1/status", []string{"Authorization", "Basic " + secret}, 401},
		{"an empty token", true, "GET", "/api/v1/status", []string{"Authorization", "Bearer "}, 401},
		{"a token", true, "GET", "/api/v1/status", []string{"Authorization", "Bearer " + secret}, 200},
		{"the role view reads", true, "GET", "/metrics", []string{"Authorization", "bearer " + looker}, 200},
		{"the role view changes nothing", true, "POST", "/api/v1/nothing", append([]string{"Authorization", "Bearer " + looker}, change...), 403},
		{"the role view gets no profile", true, "GET", "/debug/pprof/heap", []string{"Authorization", "Bearer " + looker}, 403},
		{"the role operate gets one", true, "GET", "/debug/pprof/heap", []string{"Authorization", "Bearer " + secret}, 200},
		{"nobody gets a profile without a token", true, "GET", "/debug/pprof/heap", nil, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Hosts: []string{"poise.internal"}, Profiles: true}
			if test.tokens {
				o.Tokens = []Token{{"ops", secret, Operate}, {"wall", looker, View}}
			}
			s := newSide(t, o)
			if status, text := s.ask(test.method, test.path, set(test.fields...)); status != test.status {
				t.Errorf("%d, want %d: %s", status, test.status, text)
			}
		})
	}
}

// Answers never allow another page to read them, and bring the page's policy.
func TestHeaders(t *testing.T) {
	s := newSide(t, Options{})
	r, _ := http.NewRequest("OPTIONS", s.server.URL+"/api/v1/status", nil)
	r.Header.Set("Origin", "http://evil.example")
	r.Header.Set("Access-Control-Request-Method", "POST")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for name := range res.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s: %s", name, res.Header.Get(name))
		}
	}
	if res.StatusCode < 400 {
		t.Errorf("a preflight of another page got %d", res.StatusCode)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Profiles are there only by their flag, and package net/http/pprof is not linked: it would serve
// them on the default mux of the program.
func TestProfiles(t *testing.T) {
	s := newSide(t, Options{})
	if status, _ := s.ask("GET", "/debug/pprof/heap", nil); status != 404 {
		t.Errorf("a profile without the option: %d", status)
	}
	_, pattern := http.DefaultServeMux.Handler(httptest.NewRequest("GET", "/debug/pprof/heap", nil))
	if pattern != "" {
		t.Errorf("the default mux serves %s", pattern)
	}
	s = newSide(t, Options{Profiles: true})
	if status, text := s.ask("GET", "/debug/pprof/goroutine?debug=1", nil); status != 200 || !strings.Contains(text, "goroutine profile") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := s.ask("GET", "/debug/pprof/heapp", nil); status != 404 || !strings.Contains(text, "heap, goroutine") {
		t.Errorf("%d %s", status, text)
	}
}

// The status listener has three paths and nothing else.
func TestStatusListener(t *testing.T) {
	s := newSide(t, Options{})
	h := Status(s.proxy)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/": 404, "/api/v1/status": 404, "/debug/pprof/heap": 404} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	s.proxy.Drain()
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != 503 || !strings.Contains(w.Body.String(), "draining") {
		t.Errorf("readyz of a proxy that drains: %d %s", w.Code, w.Body)
	}
}

// A scrape can ask for a part, in the format that it accepts.
func TestMetricsPath(t *testing.T) {
	s := newSide(t, Options{})
	status, text := s.ask("GET", "/metrics?scope=route,service&service=users", nil)
	if status != 200 || !strings.Contains(text, `poise_requests_total{route="all",service="users",code="200"} 1`) || strings.Contains(text, "poise_build_info") {
		t.Errorf("%d %s", status, text)
	}
	if status, text = s.ask("GET", "/metrics?scope=routes", nil); status != 400 || !strings.Contains(text, "process, route") {
		t.Errorf("%d %s", status, text)
	}
	_, text = s.ask("GET", "/metrics", func(r *http.Request) {
		r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
	})
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Error("no OpenMetrics though that was asked for")
	}
}

// The stream begins with an overview, has what happened, and ticks with rates.
func TestStream(t *testing.T) {
	s := newSide(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", s.server.URL+"/api/v1/stream?service=users", nil)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a load, so that there is something to tick
		for {
			select {
			case <-stop:
				return
			default:
				if res, err := http.Get(s.front.URL); err == nil {
					res.Body.Close()
				}
			}
		}
	}()
	var kinds []string
	kind := ""
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = name
			kinds = append(kinds, name)
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || kind != "tick" {
			continue
		}
		var tick Tick
		if err := json.Unmarshal([]byte(data), &tick); err != nil {
			t.Fatal(err)
		}
		if tick.Services["users"].Requests < 10 || tick.Total.P99 <= 0 || tick.Detail == nil || len(tick.Figures) != 2 || len(tick.States["users"]) != 2 {
			if len(kinds) < 20 {
				continue // the first one may be of a moment before the load
			}
			t.Fatalf("%+v", tick)
		}
		sum := 0.0
		for _, e := range tick.Figures {
			sum += e.Share
		}
		if sum < 0.99 || sum > 1.01 {
			t.Errorf("the shares are %v in all", sum)
		}
		break
	}
	if len(kinds) < 3 || kinds[0] != "hello" || kinds[1] != "event" {
		t.Errorf("%v", kinds)
	}
}

// Viewers are bounded, and with the last one nothing runs any more.
func TestViewersAreBounded(t *testing.T) {
	s := newSide(t, Options{})
	h := Handler(s.proxy, Options{}).(*guard)
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(h)
	defer server.Close()
	open := func() int {
		r, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/stream", nil)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res.StatusCode
	}
	for i := range viewersMax {
		if status := open(); status != 200 {
			t.Fatalf("viewer %d: %d", i, status)
		}
	}
	if status := open(); status != 503 {
		t.Errorf("one viewer too many: %d", status)
	}
	cancel()
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		ctx = t.Context()
		r := httptest.NewRequest("GET", "http://localhost/api/v1/stream", nil)
		if time.Now().After(limit) {
			t.Fatal("a viewer that has left keeps its place")
		}
		short, end := context.WithTimeout(r.Context(), 10*time.Millisecond)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(short))
		end()
		if w.Code == 0 || w.Code == 200 {
			return
		}
	}
}
