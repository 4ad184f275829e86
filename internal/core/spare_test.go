package core

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/poise-lb/poise/internal/downstream/h1"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/upstream"
)

// workerRuntime has a number, which is all that spares ask for.
type workerRuntime struct{ engine.Runtime }

func (workerRuntime) Worker() int { return 1 }

// aStream is some stream.
type aStream struct{ engine.Stream }

// used is a connection, taken from p, whose fields all have something of a client.
func used(t *testing.T, p *Proxy) *connection {
	t.Helper()
	c := p.connection(workerRuntime{}, true)
	c.proxy, c.rt, c.stream = &about{Proxy: p}, workerRuntime{}, aStream{}
	c.addr, c.protocol = netip.MustParseAddr("192.0.2.1"), h1.Protocol
	c.open.Store(new(session))
	c.breaker, c.worker, c.tls = breakable{c}, 1, tlsUnknown
	c.next, c.prev = &c.client, &c.client
	c.state.Store(1)
	c.since.Store(1)
	upstream.NewBond(&c.bonds, p, nil)
	each(reflect.ValueOf(c).Elem(), func(name string, v reflect.Value) {
		if v.IsZero() {
			t.Fatalf("this test does not set %s: it would not see that a connection keeps it", name)
		}
	})
	return c
}

// each calls do for the fields of a struct, and for those of structs that it embeds.
func each(v reflect.Value, do func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous && f.Type.Kind() == reflect.Struct {
			each(v.Field(i), do)
		} else {
			do(f.Name, v.Field(i))
		}
	}
}

// TestASpareConnectionHasNothingOfAClient: the next one gets it as if it were new.
func TestASpareConnectionHasNothingOfAClient(t *testing.T) {
	p := &Proxy{spare: make([]spare, 2)}
	c := used(t, p)
	p.recycle(c)
	each(reflect.ValueOf(c).Elem(), func(name string, v reflect.Value) {
		if !v.IsZero() && name != "wake" {
			t.Errorf("%s is left of the last client", name)
		}
	})
	if next := p.connection(workerRuntime{}, true); next != c {
		t.Error("the connection was not kept")
	}
	if other := p.connection(workerRuntime{}, true); other == c {
		t.Error("one connection for two clients")
	}
}

// TestWhatIsNotKept: what something may refer to when the connection has ended.
func TestWhatIsNotKept(t *testing.T) {
	p := &Proxy{spare: make([]spare, 2)}
	for what, change := range map[string]func(*connection){
		"a concurrent one":                       func(c *connection) { c.protocol = toyProtocol },
		"one that panicked, or is of goroutines": func(c *connection) { c.wake = nil },
	} {
		c := used(t, p)
		change(c)
		p.recycle(c)
		if len(p.spare[1].connections) > 0 || c.stream == nil {
			t.Errorf("%s is kept", what)
		}
	}
	if p.connection(workerRuntime{}, false).wake != nil {
		t.Error("a connection of goroutines would rest")
	}
}

// TestSparesAreBounded, in number.
func TestSparesAreBounded(t *testing.T) {
	p := &Proxy{spare: make([]spare, 2)}
	var all []*connection
	for range connectionsMax + 10 {
		all = append(all, used(t, p))
	}
	for _, c := range all {
		c.recycleSession(new(session))
		p.recycle(c)
	}
	if c, s := len(p.spare[1].connections), len(p.spare[1].sessions); c != connectionsMax || s != sessionsMax {
		t.Errorf("%d connections and %d sessions are kept", c, s)
	}
}
