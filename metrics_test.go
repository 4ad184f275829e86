package poise_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/metric"
)

// served is a Proxy before an endpoint that answers with the status that the path ends with.
func served(t *testing.T, c poise.Config) (*poise.Proxy, *httptest.Server) {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bad":
			w.WriteHeader(http.StatusBadGateway)
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Write([]byte("hello"))
		}
	}))
	t.Cleanup(backend.Close)
	c.Services = map[string]poise.Service{"users": {Endpoints: []poise.Endpoint{{URL: backend.URL}}}}
	c.Routes = []poise.Route{{Name: "all", Match: poise.Match{Path: "/**", Host: "a.example"}, Service: "users"}}
	p, err := poise.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(t.Context()) })
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	return p, front
}

func ask(t *testing.T, front *httptest.Server, host, path string) {
	t.Helper()
	r, _ := http.NewRequest("GET", front.URL+path, nil)
	r.Host = host
	res, err := front.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// scrape returns the metrics as text.
func scrape(t *testing.T, p *poise.Proxy, open bool, o metric.Options) string {
	t.Helper()
	var b strings.Builder
	if err := p.WriteMetrics(&b, open, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every request is counted once, with its exact status, under its route and at its endpoint.
func TestMetrics(t *testing.T) {
	p, front := served(t, poise.Config{})
	for range 3 {
		ask(t, front, "a.example", "/")
	}
	ask(t, front, "a.example", "/missing")
	ask(t, front, "a.example", "/bad")
	ask(t, front, "b.example", "/")
	call, _ := http.NewRequest("POST", front.URL+"/shop.Cart/Add", nil)
	call.Host = "b.example"
	call.Header.Set("Content-Type", "application/grpc")
	if res, err := http.DefaultClient.Do(call); err != nil || res.Body.Close() != nil || res.Header.Get("Grpc-Status") != "12" {
		t.Errorf("a call of gRPC: %v, %v", res, err)
	}
	var text string
	want := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("there is no line %s in\n%s", line, text)
			}
		}
	}
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // the end of an exchange comes after its response
		text = scrape(t, p, false, metric.Options{})
		if strings.Contains(text, `poise_requests_total{route="",service="",code="404"} 1`) && strings.Contains(text, "poise_grpc") && strings.Contains(text, `code="502"} 1`) || time.Now().After(limit) {
			break
		}
	}
	at := regexp.MustCompile(`endpoint="([^"]*)"`).FindStringSubmatch(text)[1]
	want(
		`# TYPE poise_requests_total counter`,
		`poise_requests_total{route="all",service="users",code="200"} 3`,
		`poise_requests_total{route="all",service="users",code="404"} 1`,
		`poise_requests_total{route="all",service="users",code="502"} 1`,
		`poise_requests_total{route="",service="",code="404"} 1`,
		`poise_requests_total{route="",service="",code="200"} 1`,
		`poise_grpc_requests_total{route="",service="",code="UNIMPLEMENTED"} 1`,
		`poise_failures_total{route="",service="",reason="no-route"} 2`,
		`poise_retries_refused_total{route="all",service="users",cause="no-endpoint"} 1`,
		`poise_request_duration_seconds_count{route="all",service="users"} 5`,
		`poise_request_duration_seconds_bucket{route="all",service="users",le="+Inf"} 5`,
		`poise_requests_in_flight{route="all",service="users"} 0`,
		`poise_endpoints{service="users",state="healthy"} 1`,
		`poise_endpoint_attempts_total{service="users",endpoint="`+at+`",class="2xx"} 3`,
		`poise_endpoint_attempts_total{service="users",endpoint="`+at+`",class="5xx"} 1`,
		`poise_endpoint_failures_total{service="users",endpoint="`+at+`",reason="status"} 1`,
		`poise_endpoint_connections_opened_total{service="users",endpoint="`+at+`"} 1`,
		`poise_endpoint_usable{service="users",endpoint="`+at+`"} 1`,
		`poise_config_generation 1`,
		`poise_config_last_reload_successful 1`,
	)
	open := scrape(t, p, true, metric.Options{})
	for _, line := range []string{"# TYPE poise_requests counter", "# UNIT poise_request_duration_seconds seconds", `poise_requests_created{route="all",service="users",code="200"} 1`} {
		if !strings.Contains(open, line) {
			t.Errorf("OpenMetrics lacks %s", line)
		}
	}
	if !strings.HasSuffix(open, "# EOF\n") {
		t.Error("OpenMetrics does not end with EOF")
	}
}

// Counters outlive Apply, and Options choose.
func TestMetricsOutliveApply(t *testing.T) {
	c := poise.Config{Metrics: poise.Metrics{Buckets: []time.Duration{time.Millisecond, time.Minute}}}
	p, front := served(t, c)
	ask(t, front, "a.example", "/")
	full := poise.Config{
		Services: map[string]poise.Service{"orders": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:1"}}}},
		Routes:   []poise.Route{{Service: "orders"}},
	}
	if err := p.Apply(full); err != nil {
		t.Fatal(err)
	}
	text := scrape(t, p, false, metric.Options{Scopes: metric.Route})
	if !strings.Contains(text, `poise_requests_total{route="all",service="users",code="200"} 1`) {
		t.Errorf("the counter of a route that is gone was lost:\n%s", text)
	}
	if strings.Contains(text, "poise_endpoint_") || strings.Contains(text, "poise_config_") {
		t.Error("other scopes than that of routes are there")
	}
	if text := scrape(t, p, false, metric.Options{Services: []string{"orders"}}); strings.Contains(text, "users") {
		t.Error("another service is there")
	}
	full.Version = 7
	if p.Apply(full) == nil {
		t.Fatal("a bad configuration was applied")
	}
	text = scrape(t, p, false, metric.Options{Scopes: metric.Process})
	for _, line := range []string{`poise_config_reloads_total{result="refused"} 1`, "poise_config_last_reload_successful 0", "poise_config_generation 2"} {
		if !strings.Contains(text, line) {
			t.Errorf("there is no line %s", line)
		}
	}
}

// thousand is a Proxy with a thousand endpoints that have all been asked, with every counter in
// use that is in use for good ones.
func thousand(t testing.TB) *poise.Proxy {
	c := poise.Config{Routes: []poise.Route{{Service: "s0"}}, Services: map[string]poise.Service{}}
	for i := range 10 {
		var all []poise.Endpoint
		for k := range 100 {
			all = append(all, poise.Endpoint{URL: fmt.Sprintf("http://10.0.%d.%d:80", i, k)})
		}
		c.Services[fmt.Sprintf("s%d", i)] = poise.Service{Endpoints: all}
	}
	c.Logger = slog.New(slog.DiscardHandler)
	p, err := poise.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

// A scrape of a thousand endpoints lets others run many times, those too that wait for a socket: an event
// loop, or a connection, that shares its processor does not wait for the end of it.
func TestAScrapeLetsOthersRun(t *testing.T) {
	p := thousand(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	a, b := tcpPair(t)
	var turns atomic.Int64
	for _, c := range []net.Conn{a, b} { // they send a byte to each other
		go func() {
			var room [1]byte
			for {
				if _, err := c.Read(room[:]); err != nil {
					return
				}
				turns.Add(1)
				c.Write(room[:])
			}
		}()
	}
	a.Write([]byte{1})
	before := turns.Load()
	p.WriteMetrics(io.Discard, false, metric.Options{})
	if n := turns.Load() - before; n < 40 { // some 200; without turns about as many as 10 ms have room for in a scrape
		t.Errorf("others ran %d times", n)
	}
}

// tcpPair is two ends of a connection.
func tcpPair(t *testing.T) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// A scrape of a thousand endpoints allocates little more than the room for the text: it makes no copy of
// the endpoints.
func TestScrapeOfAThousandEndpoints(t *testing.T) {
	p := thousand(t)
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.WriteMetrics(io.Discard, false, metric.Options{})
		}
	})
	lines := strings.Count(scrape(t, p, false, metric.Options{}), "\n")
	t.Logf("%d lines, %v a scrape, %d bytes in %d allocations", lines, time.Duration(r.NsPerOp()), r.AllocedBytesPerOp(), r.AllocsPerOp())
	if lines < 25_000 {
		t.Errorf("only %d lines: the test proves nothing", lines)
	}
	if r.AllocedBytesPerOp() > 80<<10 {
		t.Errorf("%d bytes", r.AllocedBytesPerOp())
	}
}
