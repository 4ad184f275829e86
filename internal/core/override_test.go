package core

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
)

// drain has an operator drain an endpoint of the first service.
func (w *world) drain(address string, during time.Duration) {
	w.t.Helper()
	o := endpoint.Override{Endpoint: endpoint.ID{Scheme: "http", Address: address}, Kind: endpoint.Drain}
	if during > 0 {
		o.Until = w.rt.Now() + during
	}
	if _, err := w.proxy.Services()[0].Override(o); err != nil {
		w.t.Fatal(err)
	}
}

// TestAnOverrideIsNotForgottenWithAService: a service that requests have named stays while an
// operator wants something of it, and is forgotten after that.
func TestAnOverrideIsNotForgottenWithAService(t *testing.T) {
	c := discovering(func(d *config.Discover) { d.ForgetAfter = time.Minute })
	inWorld(t, c, func(w *world) {
		w.serve("10.0.0.1:80")
		w.serve("10.0.0.2:80")
		w.registry.set("/a", "10.0.0.1:80", "10.0.0.2:80")
		_ = w.ask("/a/")
		w.drain("10.0.0.1:80", 10*time.Minute)
		w.wait(9 * time.Minute)
		for range 4 {
			w.answers("/a/", "200 10.0.0.2:80 /a/")
		}
		w.wait(2 * time.Minute)
		w.wait(10 * time.Second)
		w.watched()
	})
}

// TestAnOverrideEndsWithItsService: it is there when a reload takes the service back, and is gone
// once the service has ended.
func TestAnOverrideEndsWithItsService(t *testing.T) {
	c := config.Config{
		Services: map[string]config.Service{"web": {Endpoints: []config.Endpoint{{URL: "http://10.0.0.1:80"}, {URL: "http://10.0.0.2:80"}}}},
		Routes:   []config.Route{{Match: config.Match{Path: "/**"}, Service: "web"}},
	}
	inWorld(t, c, func(w *world) {
		apply := func(c config.Config) {
			t.Helper()
			if err := w.proxy.Apply(c); err != nil {
				t.Fatal(err)
			}
		}
		inForce := func(want int) {
			t.Helper()
			if all := w.proxy.Services()[0].Overrides(); len(all) != want {
				t.Errorf("%d overrides are in force, want %d", len(all), want)
			}
		}
		w.serve("10.0.0.1:80")
		w.serve("10.0.0.2:80")
		w.drain("10.0.0.1:80", 0)
		for range 4 {
			w.answers("/x", "200 10.0.0.2:80 /x")
		}
		apply(discovering(nil))
		w.wait(3 * time.Second)
		apply(c)
		inForce(1)
		w.answers("/x", "200 10.0.0.2:80 /x")
		apply(discovering(nil))
		w.wait(15 * time.Second)
		apply(c)
		inForce(0)
	})
}
