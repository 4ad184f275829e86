package loop

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/poise-lb/poise"
)

// A proxy is the library behind a listener that its event loops serve.
type proxy struct {
	*poise.Proxy
	listener net.Listener
	served   chan error
}

// newProxy has so many loops.
func newProxy(t *testing.T, loops int, endpoints ...string) *proxy {
	t.Helper()
	service := poise.Service{}
	for _, address := range endpoints {
		service.Endpoints = append(service.Endpoints, poise.Endpoint{URL: "http://" + address})
	}
	return serveOn(t, poise.Config{
		HalfClose: "leave", // a FIN is how clients of these tests leave
		Services:  map[string]poise.Service{"all": service},
		Routes:    []poise.Route{{Service: "all"}},
		Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
		Engine:    "loop",
		Workers:   loops,
	})
}

// serveOn starts a proxy behind a listener of its own, and ends it with the test.
func serveOn(t *testing.T, c poise.Config) *proxy {
	t.Helper()
	inner, err := poise.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Proxy: inner, listener: l, served: make(chan error, 1)}
	go func() { p.served <- inner.Serve(l) }() // ends with close
	t.Cleanup(func() { p.close(true) })
	return p
}

// close drains, unless hurry, and reports whether nothing had to be broken off; a second
// time it does nothing.
func (p *proxy) close(hurry bool) (drained bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if hurry {
		cancel()
	}
	return p.Close(ctx) == nil
}
