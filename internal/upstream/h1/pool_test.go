package h1

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

const address = "10.0.0.1:80"

// world runs f as a task beside an endpoint that answers every request, in virtual time.
func world(t *testing.T, s upstream.Settings, f func(rt engine.Runtime, p *Pool, accepted *int)) {
	t.Helper()
	w := virtual.New(1)
	rt := w.Runtime()
	accepted := 0
	l := w.Listen(address)
	w.Daemon("endpoint", func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted++
			w.Daemon("connection", func() { answer(c) })
		}
	})
	if s.ConnectTimeout == 0 {
		s.ConnectTimeout = time.Second
	}
	if s.IdleTimeout == 0 {
		s.IdleTimeout = 4 * time.Second
	}
	if s.MaxIdle == 0 {
		s.MaxIdle = 10
	}
	s.StallTimeout = time.Second
	e := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: address}})
	p := NewPool(e, &s, nil)
	w.Go("test", func() { f(rt, p, &accepted) })
	if err := w.Run(); err != nil {
		t.Fatal(err)
	}
}

func answer(c engine.Stream) {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			c.Close()
			return
		}
		switch {
		case contains(buf[:n], "/extra"):
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n")
		case contains(buf[:n], "/close"):
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		default:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}
}

func contains(b []byte, s string) bool {
	for i := range b {
		if len(b)-i >= len(s) && string(b[i:i+len(s)]) == s {
			return true
		}
	}
	return false
}

// ask makes one whole exchange and gives the connection back.
func ask(rt engine.Runtime, p *Pool, path string) (reused bool, err error) {
	c, err := p.Get(rt, 0, false)
	if err != nil {
		return false, err
	}
	return converse(rt, c, path)
}

func converse(rt engine.Runtime, c *Conn, path string) (reused bool, err error) {
	c.Head(&message.Request{Method: []byte("GET"), Path: []byte(path), Host: []byte("a"), KeepAlive: true, Minor: 1})
	if err := c.Flush(); err != nil {
		return false, err
	}
	var r message.Response
	if err := c.ReadHead(&r, []byte("GET"), rt.Now()+time.Second); err != nil {
		return false, err
	}
	for {
		if _, err := c.Content(true, rt.Now()+time.Second); err == io.EOF {
			break
		} else if err != nil {
			return false, err
		}
	}
	reused = c.reused
	c.Done(true)
	return reused, nil
}

func TestConnectionsAreReusedAndGrowOld(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, accepted *int) {
		want := func(step string, reused bool, open int) {
			got, err := ask(rt, p, "/")
			if err != nil || got != reused || p.Open() != open {
				t.Errorf("%s: reused %v, %d open, %v", step, got, p.Open(), err)
			}
		}
		want("first", false, 1)
		want("second", true, 1)
		rt.Sleep(rt.Now() + 5*time.Second)
		want("after the idle timeout", false, 1)
		rt.Sleep(rt.Now() + 5*time.Second)
		p.Sweep(rt.Now())
		if p.Open() != 0 {
			t.Errorf("%d connections after Sweep", p.Open())
		}
		if *accepted != 2 {
			t.Errorf("%d connections were made", *accepted)
		}
	})
}

func TestWhatMayNotBeReusedIsClosed(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, _ *int) {
		for _, path := range []string{"/close", "/extra"} {
			if _, err := ask(rt, p, path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if p.Open() != 0 {
				t.Errorf("%s: the connection is kept", path)
			}
		}
		c, err := p.Get(rt, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		c.Head(&message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a"), Minor: 1})
		c.Done(false) // an exchange that broke off
		if p.Open() != 0 {
			t.Error("a connection with half an exchange on it is kept")
		}
	})
}

func TestPoolIsBounded(t *testing.T) {
	world(t, upstream.Settings{Max: 3, MaxIdle: 2}, func(rt engine.Runtime, p *Pool, _ *int) {
		var all []*Conn
		for range 3 {
			c, err := p.Get(rt, 0, false)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		if _, err := p.Get(rt, 0, false); !errors.Is(err, upstream.ErrBusy) {
			t.Errorf("a fourth connection: %v", err)
		}
		for _, c := range all {
			c.persist, c.finished = true, true
			c.Done(true)
		}
		if p.idle.Load() != 2 || p.Open() != 2 {
			t.Errorf("%d idle, %d open", p.idle.Load(), p.Open())
		}
		p.Close()
		if p.Open() != 0 {
			t.Errorf("%d open after Close", p.Open())
		}
	})
}

func TestClosedPoolKeepsNothing(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, _ *int) {
		c, err := p.Get(rt, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		c.persist, c.finished = true, true
		c.Done(true)
		if p.Open() != 0 {
			t.Error("a closed pool took a connection back")
		}
	})
}

func TestProbe(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, _ *int) {
		probe := &upstream.Probe{Method: "HEAD", Path: "/health", Expect: func(status int) bool { return status == 200 }}
		if err := probe.Do(rt, p, p.endpoint, rt.Now()+time.Second); err != nil {
			t.Errorf("a healthy endpoint: %v", err)
		}
		probe.Expect = func(int) bool { return false }
		if err := probe.Do(rt, p, p.endpoint, rt.Now()+time.Second); err == nil || err.Error() != "status 200" {
			t.Errorf("a status that is not expected: %v", err)
		}
		gone := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: "10.0.0.9:80"}})
		if err := probe.Do(rt, NewPool(gone, &upstream.Settings{}, nil), gone, rt.Now()+time.Second); !errors.Is(err, engine.ErrRefused) {
			t.Errorf("nobody there: %v", err)
		}
	})
}

func TestServerNames(t *testing.T) {
	for _, test := range []struct{ host, address, want string }{
		{"", "10.0.0.1:443", "10.0.0.1"},
		{"", "[::1]:443", "::1"},
		{"api.example.com", "10.0.0.1:443", "api.example.com"},
	} {
		e := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "https", Address: test.address}, Host: test.host})
		if got := upstream.NewTarget(e, &upstream.Settings{}).TLS; got.ServerName != test.want || fmt.Sprint(got.NextProtos) != "[http/1.1]" {
			t.Errorf("%+v: %q %v", test, got.ServerName, got.NextProtos)
		}
	}
}

// TestACallWithoutRequestKeepsItsConnection: a connection that was opened for a request which
// was not sent then serves the next one, and is not used once the endpoint has ended it.
func TestACallWithoutRequestKeepsItsConnection(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, accepted *int) {
		for range 2 { // a new one, and one that is used again
			c, err := p.Call(rt, 0, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.Done(false)
		}
		if reused, err := ask(rt, p, "/"); !reused || err != nil || p.Open() != 1 || *accepted != 1 {
			t.Errorf("reused %v, %d open, %d accepted, %v", reused, p.Open(), *accepted, err)
		}
		c, err := p.Call(rt, 0, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Interrupt(engine.ErrClientGone)
		c.Done(false)
		if p.Open() != 0 {
			t.Errorf("%d open after an interrupt", p.Open())
		}
	})
}
