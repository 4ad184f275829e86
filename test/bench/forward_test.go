package bench

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/test/internal/rig"
)

// request is what a browser's might look like.
var request = []byte("GET /api/v1/users/42?with=orders HTTP/1.1\r\n" +
	"Host: api.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Cookie: sid=0123456789abcdef0123456789abcdef\r\n" +
	"X-User-Id: 4711\r\n\r\n")

var response = []byte("HTTP/1.1 200 OK\r\nServer: endpoint\r\nDate: Tue, 04 Aug 2026 12:00:00 GMT\r\n" +
	"Content-Type: text/plain\r\nContent-Length: 6\r\nCache-Control: no-store\r\n\r\nhello\n")

// endpoint answers every request alike and allocates nothing for it.
func endpoint(b testing.TB) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	return l.Addr().String()
}

func answer(c net.Conn) { // ends when the proxy closes the connection
	defer c.Close()
	buf := make([]byte, 16<<10)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			continue
		}
		n = 0
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

// setups are ways to configure one service behind a proxy.
var setups = []struct {
	name  string
	route poise.Route
	setup func(*poise.Service)
}{
	{name: "plain", route: poise.Route{}},
	{name: "rewriting", route: poise.Route{
		Match:   poise.Match{Host: "api.example.com", Path: "/api/v1/users/**"},
		Rewrite: poise.Rewrite{StripPrefix: "/api/v1"},
		Headers: poise.Headers{
			Request:  poise.HeaderEdit{Set: map[string]string{"X-Gateway": "poise"}, Remove: []string{"Cookie"}},
			Response: poise.HeaderEdit{Add: map[string]string{"X-Served-By": "poise"}},
		},
		Timeout: 3 * time.Second,
	}},
	{name: "hashing", setup: func(s *poise.Service) {
		s.Policy = poise.Policy{Type: "consistent_hash", Key: "header(X-User-Id) | client_ip", BoundedLoad: 1.25}
	}},
	{name: "latency", setup: func(s *poise.Service) { s.Policy = poise.Policy{Type: "peak_ewma"} }},
}

// proxied starts a proxy on the goroutine engine and returns a connection to it.
func proxied(b testing.TB, route poise.Route, setup func(*poise.Service)) *rig.Conn {
	b.Helper()
	var s poise.Service
	for range 3 {
		s.Endpoints = append(s.Endpoints, poise.Endpoint{URL: "http://" + endpoint(b)})
	}
	if setup != nil {
		setup(&s)
	}
	route.Service = "users"
	p, err := poise.New(poise.Config{
		Services: map[string]poise.Service{"users": s},
		Routes:   []poise.Route{route},
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }() // ends with Close
	c, err := rig.Dial(l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			b.Error(err)
		}
		if err := <-served; err != poise.ErrClosed {
			b.Error(err)
		}
	})
	return c
}

// do sends the request and looks at the answer.
func do(b testing.TB, c *rig.Conn) {
	a, err := c.Do(request)
	if err != nil || a.Status != 200 || string(a.Body) != "hello\n" {
		b.Fatalf("%v, status %d, %q", err, a.Status, a.Body)
	}
}

// BenchmarkForward is a request and its response on connections that are kept, client and
// endpoint included, through real sockets.
func BenchmarkForward(b *testing.B) {
	for _, s := range setups {
		b.Run(s.name, func(b *testing.B) {
			c := proxied(b, s.route, s.setup)
			b.ReportAllocs()
			for b.Loop() {
				do(b, c)
			}
		})
	}
}

// TestForwardAllocates: on connections that are kept a proxied request allocates nothing,
// whatever the route does to it. Everything in the process counts, so the client and the
// endpoints allocate nothing either; what is left is what a collection makes the pools of
// buffers forget.
func TestForwardAllocates(t *testing.T) {
	if underRace {
		t.Skip("the race detector empties pools at random")
	}
	for _, s := range setups {
		t.Run(s.name, func(t *testing.T) {
			c := proxied(t, s.route, s.setup)
			for range 100 {
				do(t, c)
			}
			if n := testing.AllocsPerRun(2000, func() { do(t, c) }); n > 0 {
				t.Errorf("%v allocations per request", n)
			}
		})
	}
}
