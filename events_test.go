package poise

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/event"
)

// ledger is an observer that keeps what it gets.
type ledger struct {
	mu     sync.Mutex
	events []event.Event
}

func (l *ledger) Observe(e event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *ledger) all() []event.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// count is how many events of type D there were that ok accepts.
func count[D event.Detail](events []event.Event, ok func(D) bool) (n int) {
	for _, e := range events {
		if d, is := e.Detail.(D); is && ok(d) {
			n++
		}
	}
	return n
}

func ejected(d event.EndpointChanged) bool {
	return d.To == health.Ejected && d.Cause == health.Attempts
}

// observed is a proxy on some engine, with two observers.
type observed struct {
	apply func(Config) error
	ask   func() // one request, answered by an error of the proxy
	close func()
}

// dead is a configuration of one service whose endpoints refuse connections.
func dead(addresses ...string) Config {
	var s Service
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, Endpoint{URL: "http://" + a})
	}
	return Config{
		Services: map[string]Service{"web": s},
		Routes:   []Route{{Service: "web"}},
		Logger:   slog.New(slog.DiscardHandler),
	}
}

// play has the breaker open, a configuration refused and another one applied, and looks at
// what two observers got.
func play(t *testing.T, p observed, addresses []string, ledgers [2]*ledger) {
	for range 50 {
		if p.ask(); count(ledgers[0].all(), ejected) > 0 {
			break
		}
	}
	if p.apply(Config{}) == nil {
		t.Error("a configuration without a route was applied")
	}
	if err := p.apply(dead(addresses[0])); err != nil {
		t.Error(err)
	}
	p.close()
	events := ledgers[0].all()
	if !slices.EqualFunc(events, ledgers[1].all(), func(a, b event.Event) bool { return a.Seq == b.Seq && a.At == b.At && a.Service == b.Service }) {
		t.Error("two observers were told different things")
	}
	for i := range events {
		if i > 0 && (events[i].Seq != events[i-1].Seq+1 || events[i].At < events[i-1].At) {
			t.Errorf("event %d after event %d", events[i].Seq, events[i-1].Seq)
		}
	}
	if len(events) == 0 {
		t.Fatal("no event at all")
	}
	if _, is := events[len(events)-1].Detail.(event.ServiceStopped); !is {
		t.Errorf("the last event is %+v", events[len(events)-1])
	}
	for what, n := range map[string]int{
		"the breaker opened":     count(events, ejected),
		"a configuration fails":  count(events, func(event.ConfigRefused) bool { return true }),
		"the second one applies": count(events, func(d event.ConfigApplied) bool { return d.Generation == 2 && d.Services == 1 }),
		"an endpoint is removed": count(events, func(d event.SetChanged) bool { return len(d.Removed) == 1 && d.Members == 1 }),
	} {
		if n != 1 {
			t.Errorf("%s: %d events, want 1", what, n)
		}
	}
	if t.Failed() {
		for _, e := range events {
			t.Logf("%d %v %s %T %+v", e.Seq, e.At, e.Service, e.Detail, e.Detail)
		}
	}
}

// TestObserversOnEveryEngine: an observer gets each event once, in order, whatever
// engine serves the requests that cause them.
func TestObserversOnEveryEngine(t *testing.T) {
	for _, engine := range Engines() {
		t.Run(engine, func(t *testing.T) { onSockets(t, engine, serveOne) })
	}
	t.Run("std", func(t *testing.T) { onSockets(t, "goroutine", mountOne) })
	t.Run("virtual", onVirtual)
}

// onSockets plays on a proxy of the library; serve returns its address and what ends it.
func onSockets(t *testing.T, engine string, serve func(t *testing.T, p *Proxy) (string, func())) {
	addresses := []string{refusing(t), refusing(t)}
	c := dead(addresses...)
	c.Engine = engine
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ledgers := [2]*ledger{{}, {}}
	for _, l := range ledgers {
		p.server.Core().Observe("ledger", l)
	}
	at, end := serve(t, p)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	play(t, observed{
		apply: func(c Config) error { return p.Apply(c) },
		ask: func() {
			r, err := client.Get("http://" + at + "/")
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
		},
		close: func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			p.Close(ctx)
			end()
		},
	}, addresses, ledgers)
}

func serveOne(t *testing.T, p *Proxy) (string, func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(ln) }()
	return ln.Addr().String(), func() { <-served }
}

func mountOne(_ *testing.T, p *Proxy) (string, func()) {
	s := httptest.NewServer(p)
	return s.Listener.Addr().String(), s.Close
}

// refusing is an address at which nothing listens.
func refusing(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func onVirtual(t *testing.T) {
	w := virtual.New(1)
	addresses := []string{"10.0.0.1:80", "10.0.0.2:80"}
	ledgers := [2]*ledger{{}, {}}
	w.Go("test", func() {
		c := dead(addresses...)
		p, err := core.New(w.Runtime(), c, core.Options{Logger: c.Logger, Observers: []event.Observer{ledgers[0], ledgers[1]}})
		if err != nil {
			t.Error(err)
			return
		}
		play(t, observed{
			apply: p.Apply,
			ask: func() {
				near, far := w.Pipe()
				w.Go("client", func() {
					p.ServeStream(w.Runtime(), far, core.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:1")})
				})
				near.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
				if _, err := http.ReadResponse(bufio.NewReader(struct{ io.Reader }{near}), nil); err != nil {
					t.Error(err)
				}
				near.Close()
			},
			close: func() { p.Close() },
		}, addresses, ledgers)
		if first := ledgers[0].all()[0]; first.Seq != 1 {
			t.Errorf("the first event is number %d", first.Seq)
		}
	})
	if err := w.Run(); err != nil {
		t.Error(err)
	}
}
