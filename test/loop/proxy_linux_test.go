package loop

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/loop"
)

// proxyVariable makes this test's program, started again, a proxy on one loop: its value
// is the address to listen on and the endpoints'.
const proxyVariable = "POISE_TEST_LOOP_PROXY"

func TestMain(m *testing.M) {
	if addresses := strings.Fields(os.Getenv(proxyVariable)); len(addresses) > 1 {
		if _, err := newProxy(1, addresses[0], addresses[1:]...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	}
	os.Exit(m.Run())
}

// A proxy is an engine whose loops have a core each: everything an exchange touches
// belongs to the loop it runs on.
type proxy struct {
	engine   *loop.Engine
	listener *loop.Listener
	cores    []*core.Proxy
	closed   atomic.Bool
}

func newProxy(loops int, listen string, endpoints ...string) (*proxy, error) {
	e, err := loop.New(loops)
	if err != nil {
		return nil, err
	}
	p := &proxy{engine: e, cores: make([]*core.Proxy, loops)}
	service := config.Service{}
	for _, address := range endpoints {
		service.Endpoints = append(service.Endpoints, config.Endpoint{URL: "http://" + address})
	}
	c := config.Config{
		Services: map[string]config.Service{"all": service},
		Routes:   []config.Route{{Service: "all"}},
	}
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	for i := range loops {
		if err := p.on(i, func() { p.cores[i], err = core.New(e.Runtime(i), c, core.Options{Logger: logger}) }); err != nil {
			return nil, err
		}
		if err != nil {
			e.Close()
			return nil, err
		}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	p.listener, err = e.Serve(l, func(rt engine.Runtime, s engine.Stream, remote netip.AddrPort) {
		p.cores[rt.Worker()].ServeStream(rt, s, core.Peer{Remote: remote})
	})
	return p, err
}

// on runs f as a task of loop i and waits for it.
func (p *proxy) on(i int, f func()) error {
	done := make(chan struct{})
	err := p.engine.Start(i, func() {
		defer close(done)
		f()
	})
	if err == nil {
		<-done
	}
	return err
}

// close drains every core, unless hurry, and ends the engine; a second time it does
// nothing.
func (p *proxy) close(hurry bool) (drained bool) {
	if p.closed.Swap(true) {
		return true
	}
	p.listener.Close()
	drained = true
	for i, c := range p.cores {
		p.on(i, func() {
			if hurry {
				c.Hurry()
			}
			drained = c.Close() && drained
		})
	}
	p.engine.Close()
	return drained
}
