package poise_test

// HTTP/2 to endpoints: net/http's servers are the endpoints, over TLS and without it.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

// endpointH2 starts a server that speaks HTTP/2, and HTTP/1.1 too unless only. secure: over TLS.
func endpointH2(t testing.TB, secure, only bool, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	var protocols http.Protocols
	protocols.SetHTTP1(!only)
	protocols.SetHTTP2(secure)
	protocols.SetUnencryptedHTTP2(!secure)
	s.Config.Protocols = &protocols
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// echoes answers with the protocol, the content and its length as a trailer.
var echoes = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex() // for HTTP/1.1
	w.Header().Set("Trailer", "Length")
	w.Header().Set("Protocol", r.Proto)
	w.(http.Flusher).Flush() // or else net/http adds Content-Length, with which HTTP/1.1 has no trailers
	n, _ := io.Copy(w, r.Body)
	w.Header().Set("Length", fmt.Sprint(n, r.Trailer.Get("Sum")))
})

// engines are ways to serve p: on event loops, where the machine has them, and on goroutines.
var engines = map[string]func(testing.TB, *poise.Proxy) string{
	"serve": serve,
	"handler": func(t testing.TB, p *poise.Proxy) string {
		s := httptest.NewServer(p)
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	},
}

func TestHTTP2ToEndpoints(t *testing.T) {
	plain := endpointH2(t, false, false, echoes)
	secure := endpointH2(t, true, false, echoes)
	old := httptest.NewUnstartedServer(echoes) // no HTTP/2
	old.StartTLS()
	defer old.Close()
	insecure := &poise.EndpointTLS{Insecure: true}
	h2c := strings.Replace(plain.URL, "http://", "h2c://", 1)
	for name, test := range map[string]struct {
		service poise.Service
		want    string
	}{
		"h2c":                {poise.Service{Endpoints: []poise.Endpoint{{URL: h2c}}}, "HTTP/2.0"},
		"http, http2":        {poise.Service{Endpoints: []poise.Endpoint{{URL: plain.URL}}, Protocol: "http2"}, "HTTP/2.0"},
		"http, auto":         {poise.Service{Endpoints: []poise.Endpoint{{URL: plain.URL}}, Protocol: "auto"}, "HTTP/1.1"},
		"https":              {poise.Service{Endpoints: []poise.Endpoint{{URL: secure.URL}}, TLS: insecure}, "HTTP/1.1"},
		"https, http2":       {poise.Service{Endpoints: []poise.Endpoint{{URL: secure.URL}}, TLS: insecure, Protocol: "http2"}, "HTTP/2.0"},
		"https, auto":        {poise.Service{Endpoints: []poise.Endpoint{{URL: secure.URL}}, TLS: insecure, Protocol: "auto"}, "HTTP/2.0"},
		"https of old, auto": {poise.Service{Endpoints: []poise.Endpoint{{URL: old.URL}}, TLS: insecure, Protocol: "auto"}, "HTTP/1.1"},
	} {
		for engine, up := range engines {
			t.Run(name+", "+engine, func(t *testing.T) {
				test.service.Connections.ConnectTimeout = time.Minute // handshakes are slow under the race detector
				p := start(t, poise.Config{Services: map[string]poise.Service{"all": test.service}, Routes: []poise.Route{{Service: "all"}}, Logger: quiet})
				at := up(t, p)
				var all sync.WaitGroup
				for i := range 40 {
					all.Add(1)
					go func() {
						defer all.Done()
						echoed(t, at, test.want, []int{0, 7, 20 << 10, 300 << 10}[i%4])
					}()
				}
				all.Wait()
			})
		}
	}
}

// echoed sends content and checks what comes back.
func echoed(t testing.TB, at, protocol string, size int) {
	content := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
	q, _ := http.NewRequest("POST", "http://"+at+"/echo", struct{ io.Reader }{bytes.NewReader(content)})
	q.Trailer = http.Header{"Sum": {"!"}}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 || !bytes.Equal(got, content) {
		t.Errorf("status %d, %d bytes of %d: %v; %s", r.StatusCode, len(got), size, err, r.Header.Get("Poise-Reason"))
	}
	if p := r.Header.Get("Protocol"); p != protocol {
		t.Errorf("the endpoint was spoken to with %s", p)
	}
	if n := r.Trailer.Get("Length"); n != fmt.Sprint(size, "!") {
		t.Errorf("trailer %q of %d bytes", n, size)
	}
}

// TestACancelReachesAnHTTP2Endpoint: the client leaves, the endpoint's handler is cancelled, and the
// connection serves others.
// TestContentIsOverWithItsLength: a client of HTTP/1.1 knows by Content-Length that a response is
// whole. What the endpoint does to the stream afterwards costs it neither the connection nor time.
func TestContentIsOverWithItsLength(t *testing.T) {
	hold := make(chan struct{})
	e := endpointH2(t, false, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4")
		io.WriteString(w, "fine")
		w.(http.Flusher).Flush() // without END_STREAM
		switch r.URL.Path {
		case "/reset":
			panic(http.ErrAbortHandler)
		case "/late":
			<-hold
		}
	}))
	defer close(hold)
	for name, serving := range engines {
		t.Run(name, func(t *testing.T) {
			p := start(t, poise.Config{
				Services: map[string]poise.Service{"a": {Endpoints: []poise.Endpoint{{URL: "h2c://" + e.Listener.Addr().String()}}}},
				Routes:   []poise.Route{{Match: poise.Match{Path: "/**"}, Service: "a"}},
			})
			c, err := net.Dial("tcp", serving(t, p))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			in := bufio.NewReader(c)
			for _, path := range []string{"/reset", "/late", "/reset", "/"} {
				c.SetDeadline(time.Now().Add(20 * time.Second))
				fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.example\r\n\r\n", path)
				r, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				if body, err := io.ReadAll(r.Body); err != nil || string(body) != "fine" || r.Close {
					t.Fatalf("%s: %q, %v, the last response: %t", path, body, err, r.Close)
				}
			}
		})
	}
}

func TestACancelReachesAnHTTP2Endpoint(t *testing.T) {
	began, ended := make(chan string, 1), make(chan string, 1)
	s := endpointH2(t, false, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			began <- r.RemoteAddr
			<-r.Context().Done()
			ended <- r.RemoteAddr
			return
		}
		io.WriteString(w, r.RemoteAddr)
	}))
	for engine, up := range engines {
		t.Run(engine, func(t *testing.T) {
			p := start(t, toAll(strings.Replace(s.URL, "http://", "h2c://", 1)))
			at := up(t, p)
			client, err := net.Dial("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(client, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
			on := <-began
			client.(*net.TCPConn).SetLinger(0) // a reset: after a FIN a client may still want the response
			client.Close()
			if got := <-ended; got != on {
				t.Errorf("%s has ended, not %s", got, on)
			}
			if engine == "handler" { // one worker: the same connection
				if _, body := get(t, http.DefaultClient, "http://"+at+"/"); body != on {
					t.Errorf("the next request came on %s, not %s", body, on)
				}
			}
		})
	}
}

// TestRollingRestart: endpoints end their connections again and again, by GOAWAY, under load, as
// gRPC servers do by MaxConnectionAge. Not one request fails, POST included.
func TestRollingRestart(t *testing.T) {
	var served atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		io.Copy(w, r.Body)
	})
	sites := make([]*site, 3)
	var list []string
	for i := range sites {
		sites[i] = newSite(t, h)
		list = append(list, "h2c://"+sites[i].address)
	}
	p := start(t, toAll(list...))
	at := serve(t, p)
	var over atomic.Bool
	var all sync.WaitGroup
	sent := atomic.Int64{}
	for range 16 {
		all.Add(1)
		go func() {
			defer all.Done()
			for !over.Load() && !t.Failed() {
				r, err := http.Post("http://"+at+"/", "text/plain", strings.NewReader("content"))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(r.Body)
				r.Body.Close()
				sent.Add(1)
				if r.StatusCode != 200 || string(body) != "content" || err != nil {
					t.Errorf("status %d, %q, %v, %s", r.StatusCode, body, err, r.Header.Get("Poise-Reason"))
				}
			}
		}()
	}
	for range 5 {
		for _, s := range sites {
			for before := sent.Load(); sent.Load() < before+100 && !t.Failed(); {
				runtime.Gosched()
			}
			s.restart(t)
		}
	}
	over.Store(true)
	all.Wait()
	if served.Load() != sent.Load() {
		t.Errorf("%d requests were served, %d sent", served.Load(), sent.Load())
	}
}

// A site is a server that can be replaced at its address.
type site struct {
	address string
	handler http.Handler
	server  *http.Server
}

func newSite(t testing.TB, h http.Handler) *site {
	s := &site{address: "127.0.0.1:0", handler: h}
	s.serve(t)
	t.Cleanup(func() { s.server.Close() })
	return s
}

func (s *site) serve(t testing.TB) {
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s.server = &http.Server{Handler: s.handler, Protocols: &protocols}
	go s.server.Serve(l)
}

// restart says GOAWAY on every connection, and ends when what was under way has been answered.
func (s *site) restart(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	s.serve(t)
}
