package h1

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/upstream"
)

// login makes an exchange on a connection that it binds for owner.
func login(t *testing.T, rt engine.Runtime, p *Pool, b *upstream.Bonds, owner any) {
	t.Helper()
	c, err := p.Get(rt, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	c.Bind(b, owner)
	if _, err := converse(rt, c, "/"); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsBoundIsOneClientsAlone(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, _ *int) {
		var mine, other upstream.Bonds
		login(t, rt, p, &mine, "web")
		if e := mine.Endpoint("web"); e != p.endpoint || mine.Endpoint("other") != nil || other.Endpoint("web") != nil {
			t.Errorf("bound to %v", e)
		}
		if c := p.takeBound(&other); c != nil {
			t.Error("another client takes it")
		}
		if reused, err := ask(rt, p, "/"); reused || err != nil || p.Open() != 2 {
			t.Errorf("another client's request: reused %v, %d open, %v", reused, p.Open(), err)
		}
		rt.Sleep(rt.Now() + time.Minute) // longer than an idle connection of the pool lives
		p.Sweep(rt.Now())
		c := p.takeBound(&mine)
		if c == nil || !c.reused || p.takeBound(&mine) != nil {
			t.Fatalf("taken: %v", c)
		}
		if reused, err := converse(rt, c, "/"); !reused || err != nil || mine.Endpoint("web") == nil {
			t.Errorf("used again: %v, %v", reused, err)
		}
		mine.Close()
		if p.Open() != 0 || mine.Endpoint("web") != nil {
			t.Errorf("%d open after the client's end", p.Open())
		}
		var none *upstream.Bonds
		login(t, rt, p, none, "web")
		if p.Open() != 0 || none.Endpoint("web") != nil || p.takeBound(none) != nil {
			t.Errorf("%d open though the client is not known", p.Open())
		}
	})
}

// TestAClientThatLeavesEarlyLeavesNoConnection: its last exchange ends after its connection, whose Bonds
// another client has by then.
func TestAClientThatLeavesEarlyLeavesNoConnection(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, _ *int) {
		var b upstream.Bonds
		c, err := p.Get(rt, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		c.Bind(&b, "web")
		b.Close()
		if _, err := converse(rt, c, "/"); err != nil {
			t.Fatal(err)
		}
		if p.Open() != 0 || b.Endpoint("web") != nil || p.takeBound(&b) != nil {
			t.Errorf("%d open, bound to %v", p.Open(), b.Endpoint("web"))
		}
	})
}

// bondsMax is what upstream.Bonds hold.
const bondsMax = 4

func TestBondsAreFew(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, _ *int) {
		var b upstream.Bonds
		for i := range 3 * bondsMax {
			login(t, rt, p, &b, i)
			if want := min(i+1, bondsMax); p.Open() != want {
				t.Fatalf("%d open after %d", p.Open(), i+1)
			}
		}
		for range 3 {
			login(t, rt, p, &b, "again")
		}
		if p.Open() != bondsMax {
			t.Errorf("%d open, one owner with several", p.Open())
		}
		b.Close()
	})
}

func TestWhatIsBoundAndNotGoodIsClosed(t *testing.T) {
	for name, spoil := range map[string]func(rt engine.Runtime, p *Pool, c *Conn){
		"other TLS settings": func(rt engine.Runtime, p *Pool, c *Conn) {
			s := p.current.Load().Settings
			s.TLS = new(tls.Config)
			p.Configure(&s)
		},
		"a pool that was closed":    func(rt engine.Runtime, p *Pool, c *Conn) { p.Close() },
		"a connection that ended":   func(rt engine.Runtime, p *Pool, c *Conn) { c.stream.Interrupt(engine.ErrClosed) },
		"a promise whose time ends": func(rt engine.Runtime, p *Pool, c *Conn) { c.idleMost = 1; rt.Sleep(rt.Now() + 1) },
	} {
		t.Run(name, func(t *testing.T) {
			world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, _ *int) {
				var b upstream.Bonds
				login(t, rt, p, &b, "web")
				c := b.Take(func(upstream.Bound) bool { return true }).(*Conn)
				spoil(rt, p, c)
				c.bond.Keep()
				if c := p.takeBound(&b); c != nil || p.Open() != 0 {
					t.Errorf("taken all the same, %d open", p.Open())
				}
			})
		})
	}
}

// TestWhatIsInUseWhenTLSChanges: a connection that was in use when the settings changed is
// not kept.
func TestWhatIsInUseWhenTLSChanges(t *testing.T) {
	world(t, upstream.Settings{}, func(rt engine.Runtime, p *Pool, _ *int) {
		c, err := p.Get(rt, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		s := p.current.Load().Settings
		s.TLS = new(tls.Config)
		p.Configure(&s)
		if _, err := converse(rt, c, "/"); err != nil || p.Open() != 0 {
			t.Errorf("%d open, %v", p.Open(), err)
		}
	})
}
