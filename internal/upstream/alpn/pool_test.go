package alpn

// Endpoints under TLS that choose a version of HTTP, and change it: on goroutines, since the virtual
// engine has no TLS.

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/mux"
	"github.com/poise-lb/poise/internal/upstream"
)

// serve starts an endpoint at address that says in a field what it is spoken to with.
func serve(t *testing.T, address string, two bool) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Spoken", r.Proto)
	}))
	s.Listener.Close()
	s.Listener, s.EnableHTTP2 = l, two
	s.StartTLS()
	return s
}

// TestAnEndpointChanges: what it chooses last is what it is asked with, probes included. No request
// fails, and a connection on which it has chosen HTTP/1.1 is used.
func TestAnEndpointChanges(t *testing.T) {
	rt := goroutine.New()
	site := serve(t, "127.0.0.1:0", false)
	address := site.Listener.Addr().String()
	e := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "https", Address: address}})
	p := NewPool(e, &upstream.Settings{
		ConnectTimeout: 10 * time.Second, IdleTimeout: time.Minute, StallTimeout: 10 * time.Second, MaxIdle: 10,
		TLS: &tls.Config{InsecureSkipVerify: true}, Version: upstream.Negotiated,
	}, nil, mux.NewSpares(1))
	spoken := func(want string) {
		t.Helper()
		for i := range 3 {
			c, err := p.Call(rt, 0, i == 0, nil) // what was open before may be dead
			if err != nil {
				t.Fatal(err)
			}
			c.Head(&message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a"), Minor: 1, KeepAlive: true})
			c.Flush()
			var r message.Response
			if err := c.ReadHead(&r, []byte("GET"), rt.Now()+10*time.Second); err != nil {
				t.Fatal(err)
			}
			if v, _ := message.Get(r.Fields, "Spoken"); string(v) != want {
				t.Errorf("spoken to with %s, want %s", v, want)
			}
			if r.Body != message.NoBody {
				c.Content(true, rt.Now()+10*time.Second)
			}
			c.Done(true)
		}
		probe := &upstream.Probe{Method: "GET", Path: "/", Expect: func(status int) bool { return status == 200 }}
		if err := probe.Do(rt, p, e, rt.Now()+10*time.Second); err != nil {
			t.Error(err)
		}
		if err := p.Connect(rt, 0, rt.Now()+10*time.Second); err != nil {
			t.Error(err)
		}
	}
	for _, step := range []struct {
		two  bool
		want string
	}{{false, "HTTP/1.1"}, {true, "HTTP/2.0"}, {false, "HTTP/1.1"}, {true, "HTTP/2.0"}} {
		site.CloseClientConnections()
		site.Close()
		site = serve(t, address, step.two)
		spoken(step.want)
	}
	p.Close()
	site.Close()
}

func TestVersions(t *testing.T) {
	for _, test := range []struct {
		scheme  string
		version upstream.Version
		two     bool
	}{
		{"http", upstream.HTTP1, false}, {"http", upstream.Negotiated, false}, {"http", upstream.HTTP2, true},
		{"https", upstream.HTTP1, false}, {"https", upstream.Negotiated, true}, {"https", upstream.HTTP2, true},
		{"h2c", upstream.HTTP1, true}, {"h2c", upstream.Negotiated, true},
	} {
		e := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: test.scheme, Address: "10.0.0.1:1"}})
		p := NewPool(e, &upstream.Settings{Version: upstream.HTTP1}, nil, mux.NewSpares(1))
		p.Configure(&upstream.Settings{Version: test.version})
		if p.now.Load() == p.two != test.two {
			t.Errorf("%s, version %d: HTTP/2 %v", test.scheme, test.version, !test.two)
		}
		if open, idle := p.Counts(); open != 0 || idle != 0 {
			t.Errorf("%d connections, %d idle", open, idle)
		}
	}
}
