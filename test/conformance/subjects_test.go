package conformance

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

// A subject is a proxy that can be judged.
type subject struct {
	name  string
	std   bool // net/http reads and writes the client's side
	stage func(t *testing.T, c *testCase) *stage
}

var stdEngine = subject{name: "std", std: true, stage: func(t *testing.T, c *testCase) *stage { return poiseStage(t, c, "") }}

// engines are those of Poise on this system, net/http's last.
func engines() (out []subject) {
	for _, name := range poise.Engines() {
		out = append(out, subject{name: name, stage: func(t *testing.T, c *testCase) *stage { return poiseStage(t, c, name) }})
	}
	return append(out, stdEngine)
}

// quickly is the time of a client in cases with quick timeouts.
const quickly = time.Second

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// endpoints opens what a case wants behind its proxy.
func (s setup) endpoints(t testing.TB) []net.Listener {
	out := []net.Listener{listen(t)}
	if s.two {
		out = append(out, listen(t))
	}
	return out
}

// poiseStage is a Poise of the case's own. It is configured as by an operator who names
// nothing but endpoints, except that it may connect to them slowly. Without an engine it is
// mounted in a server of net/http.
func poiseStage(t *testing.T, c *testCase, engine string) *stage {
	std := engine == ""
	s := &stage{endpoints: c.setup.endpoints(t)}
	service := poise.Service{Connections: poise.Connections{ConnectTimeout: 3 * patience}} // a busy machine is no fault
	for _, e := range s.endpoints {
		service.Endpoints = append(service.Endpoints, poise.Endpoint{URL: "http://" + e.Addr().String()})
	}
	config := poise.Config{
		HalfClose: "leave", // a FIN is how clients leave here
		Services:  map[string]poise.Service{"all": service},
		Routes:    []poise.Route{{Service: "all"}},
		Logger:    slog.New(slog.DiscardHandler),
		Engine:    engine,
	}
	server := &http.Server{
		MaxHeaderBytes: 64 << 10, // net/http's default is 1 MiB
		IdleTimeout:    time.Minute,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	if c.setup.quick {
		config.Timeouts.Head, config.Timeouts.Idle = quickly, quickly
		server.ReadHeaderTimeout, server.IdleTimeout = quickly, quickly
	}
	proxy, err := poise.New(config)
	if err != nil {
		t.Fatal(err)
	}
	server.Handler = proxy
	front := listen(t)
	s.address = front.Addr().String()
	served := make(chan error, 1)
	go func() { // ends when s.close has closed the listener
		if std {
			served <- server.Serve(front)
		} else {
			served <- proxy.Serve(front)
		}
	}()
	s.close = func() {
		if std {
			server.Close()
		}
		over, cancel := context.WithCancel(context.Background())
		cancel()
		proxy.Close(over)
		<-served
	}
	return s
}
