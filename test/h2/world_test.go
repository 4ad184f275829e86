package h2

// Where the client meets a proxy: in a virtual world, or on sockets. The endpoint behind it is of
// net/http's request reader and plain text.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/downstream/h2"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
)

// A world is a virtual one with a proxy and an endpoint.
type world struct {
	*virtual.World
	t        *testing.T
	proxy    *core.Proxy
	protocol *downstream.Protocol
	endpoint endpoint
	closed   bool
}

// inWorlds plays f in several worlds, which differ in the order of tasks and the pieces in which
// bytes arrive. change may be nil. When f has returned nothing may be left.
func inWorlds(t *testing.T, change func(*config.Config), f func(w *world) error) {
	t.Helper()
	inWorldsOf(t, []int{0, 900, 0, 7}, change, f)
}

// inWorldsOf plays f in a world for each of pieces, the longest in which bytes arrive; 0: as they
// were written. Megabytes in pieces take too long.
func inWorldsOf(t *testing.T, pieces []int, change func(*config.Config), f func(w *world) error) {
	t.Helper()
	for i, longest := range pieces {
		w := &world{t: t, World: virtual.New(uint64(i)), protocol: h2.New(1)}
		w.SegmentMax = longest
		cfg := configuration("http://10.0.0.1:80")
		if change != nil {
			change(&cfg)
		}
		w.play(uint64(i), cfg, func(s engine.Stream) { w.endpoint.serve(s, w.Sleep) }, f)
		if t.Failed() {
			return
		}
	}
}

// play plays f. serve serves the connections to the endpoint at 10.0.0.1:80.
func (w *world) play(seed uint64, cfg config.Config, serve func(engine.Stream), f func(w *world) error) {
	w.t.Helper()
	t := w.t
	w.Go("test", func() {
		w.serve("10.0.0.1:80", serve)
		var err error
		if w.proxy, err = core.New(w.Runtime(), cfg, core.Options{Logger: slog.New(slog.DiscardHandler)}); err != nil {
			t.Error(err)
			return
		}
		if err := f(w); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		w.proxy.Hurry()
		w.shut()
		if n := w.proxy.Connections(); n != 0 {
			t.Errorf("seed %d: %d connections are left", seed, n)
		}
	})
	if err := w.Run(); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

func configuration(endpoints ...string) config.Config {
	s := config.Service{}
	for _, e := range endpoints {
		s.Endpoints = append(s.Endpoints, config.Endpoint{URL: e})
	}
	return config.Config{Services: map[string]config.Service{"s": s}, Routes: []config.Route{{Service: "s"}}}
}

// shut closes the proxy, once.
func (w *world) shut() {
	if !w.closed {
		w.closed = true
		w.proxy.Close()
	}
}

// Dial connects to the proxy, as engine.Stream that a task waits for.
func (w *world) Dial() (wire, error) {
	near, far := w.Pipe()
	w.Go("connection", func() {
		w.proxy.ServeStream(w.Runtime(), far, core.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:1"), Protocol: w.protocol})
	})
	return near, nil
}

// Sleep lets time pass.
func (w *world) Sleep(d time.Duration) { w.Runtime().Sleep(w.Now() + d) }

func (w *world) serve(address string, serve func(engine.Stream)) {
	l := w.Listen(address)
	w.Daemon("endpoint", func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			w.Daemon("connection of the endpoint", func() { serve(s) })
		}
	})
}

// An endpoint answers by the path:
//
//	/fast       the path                     /big/N     N bytes
//	/slow       the path, after a second     /never     nothing; it waits for the end of the connection
//	/echo       the content                  /early     at once, without reading the content
//	/fields     the head as it has come      /cut       half of a response
//	/trailers   trailers, and those that came /interim  103, and the path
//	/stuck      nothing, and it reads no content
//	/websocket  the upgrade that a WebSocket begins with, "hello ", and what comes behind it
//
// Anything else is as /fast, after the content.
type endpoint struct {
	mu    sync.Mutex
	now   int // requests to /never that wait now
	most  int // of them at once so far
	gone  int // of them that the proxy has broken off
	asked int // requests so far
	conns int // connections so far
}

func (e *endpoint) counts() (now, most, gone, asked int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now, e.most, e.gone, e.asked
}

func (e *endpoint) connections() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conns
}

func (e *endpoint) serve(s io.ReadWriteCloser, sleep func(time.Duration)) {
	defer s.Close()
	e.mu.Lock()
	e.conns++
	e.mu.Unlock()
	in := bufio.NewReader(s)
	for {
		q, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		e.mu.Lock()
		e.asked++
		e.mu.Unlock()
		if !e.answer(s, in, q, sleep) {
			return
		}
	}
}

// answer answers one request; false: it is the last of its connection.
func (e *endpoint) answer(s io.Writer, in io.Reader, q *http.Request, sleep func(time.Duration)) bool {
	name, n, _ := strings.Cut(strings.TrimPrefix(q.URL.Path, "/"), "/")
	switch name {
	case "never":
		e.never(in)
		return false
	case "stuck":
		sleep(time.Hour)
		return false
	case "websocket":
		e.websocket(s, in, q)
		return false
	case "early":
		return respond(s, "early") && q.ContentLength == 0
	case "cut":
		io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		return false
	}
	content, err := io.ReadAll(q.Body)
	if err != nil {
		return false
	}
	switch name {
	case "slow":
		sleep(time.Second)
	case "echo":
		return respond(s, string(content))
	case "big":
		size, _ := strconv.Atoi(n)
		return respond(s, strings.Repeat("0123456789abcdef", size/16+1)[:size])
	case "fields":
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s\nHost: %s\nContent: %d\n", q.Method, q.RequestURI, q.Host, len(content))
		q.Header.Write(&b)
		return respond(s, b.String())
	case "trailers":
		fmt.Fprintf(s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSeen: %s\r\nSum: 5\r\n\r\n", q.Trailer.Get("Check"))
		return true
	case "interim":
		io.WriteString(s, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
	}
	if q.Method == "HEAD" {
		_, err := io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
		return err == nil
	}
	return respond(s, q.URL.Path)
}

func respond(s io.Writer, content string) bool {
	_, err := fmt.Fprintf(s, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(content), content)
	return err == nil
}

func (e *endpoint) never(in io.Reader) {
	e.mu.Lock()
	e.now++
	e.most = max(e.most, e.now)
	e.mu.Unlock()
	io.Copy(io.Discard, in)
	e.mu.Lock()
	e.now--
	e.gone++
	e.mu.Unlock()
}

// sockets are a poise on loopback, without TLS.
type sockets struct {
	address string
	began   time.Time
}

func (s *sockets) Now() time.Duration { return time.Since(s.began) }

func (s *sockets) Sleep(d time.Duration) { time.Sleep(d) }

func (s *sockets) Dial() (wire, error) {
	c, err := net.DialTimeout("tcp", s.address, patience)
	if err != nil {
		return nil, err
	}
	return socket{c.(*net.TCPConn), s.began}, nil
}

type socket struct {
	*net.TCPConn
	began time.Time
}

func (s socket) SetReadDeadline(at time.Duration) { s.TCPConn.SetReadDeadline(s.began.Add(at)) }

// onSockets starts a poise of that engine, until the test ends.
func onSockets(t *testing.T, engine string) *sockets {
	var e endpoint
	return onSocketsWith(t, engine, "http://", nil, func(c *net.TCPConn) { e.serve(c, time.Sleep) })
}

// onSocketsWith is onSockets with an endpoint whose connections serve serves. change may be nil.
func onSocketsWith(t *testing.T, engine, scheme string, change func(*config.Config), serve func(*net.TCPConn)) *sockets {
	behind := listen(t)
	go acceptAll(behind, serve)
	cfg := configuration(scheme + behind.Addr().String())
	s := cfg.Services["s"]
	s.Connections.ConnectTimeout = 30 * time.Second // a busy machine is no fault
	cfg.Services["s"] = s
	if change != nil {
		change(&cfg)
	}
	cfg.Engine, cfg.Workers, cfg.Logger = engine, 1, slog.New(slog.DiscardHandler)
	proxy, err := poise.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	front := listen(t)
	served := make(chan struct{})
	go func() { proxy.Serve(front); close(served) }()
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		proxy.Close(over)
		<-served
	})
	return &sockets{front.Addr().String(), time.Now().Add(-time.Second)}
}

// acceptAll serves connections until the test closes l.
func acceptAll(l net.Listener, serve func(*net.TCPConn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c.(*net.TCPConn))
	}
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
