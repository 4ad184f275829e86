package admission

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
)

func TestDescriptorsAreShared(t *testing.T) {
	for _, test := range []struct {
		files, workers, configured int
		most, all                  int64
	}{
		{0, 4, 0, 0, 0},          // nobody knows: no limit
		{0, 4, 7, 7, 0},          // but for a configured one
		{1024, 2, 0, 458, 916},   // half of what is not reserved
		{1024, 2, 900, 900, 916}, // more, for clients that are mostly idle
		{1024, 2, 5000, 916, 916},
		{80, 2, 0, 15, 31},
		{20, 64, 0, 4, 8}, // too few for a reserve
		{1 << 20, 4, 0, 524004, 1048008},
	} {
		c := New(test.files, test.workers)
		c.Configure(Limits{Connections: test.configured})
		if c.most.Load() != test.most || c.files != test.all {
			t.Errorf("%+v: %d clients, %d in all", test, c.most.Load(), c.files)
		}
		if capped := c.Capped(); (capped > 0) != (int64(test.configured) > test.most) {
			t.Errorf("%+v: capped to %d", test, capped)
		}
	}
}

func TestClientsLeaveRoomForEndpoints(t *testing.T) {
	c := New(1024, 2)
	for i := range int64(458) {
		if !c.Enter() {
			t.Fatalf("client %d has no place", i)
		}
	}
	if c.Enter() {
		t.Error("one client too many")
	}
	for i := range int64(458) {
		if !c.Connect() {
			t.Fatalf("no connection to an endpoint for client %d", i)
		}
	}
	if c.Connect() || c.Tight() {
		t.Errorf("one connection too many, or tight: %v", c.Tight())
	}
	c.Leave(nil)
	if !c.Connect() || c.Enter() || !c.Tight() {
		t.Error("what a client has left goes to an endpoint, and then no client can come")
	}
	c.Disconnect(2)
	if !c.Enter() {
		t.Error("no place though connections to endpoints ended")
	}
	if n := c.Counts(); n.Clients != 458 || n.Endpoints != 457 || n.Waits != 2 {
		t.Errorf("%+v", n)
	}
}

func TestGuests(t *testing.T) {
	c := New(0, 1)
	c.Configure(Limits{PerClient: 2, Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	in := func(a string) (*Guest, bool) { return c.Welcome(netip.MustParseAddr(a)) }
	one, _ := in("192.0.2.1")
	two, _ := in("::ffff:192.0.2.1")
	if _, ok := in("192.0.2.1"); ok || one == nil || one != two {
		t.Error("a third connection of one address, or two addresses out of one")
	}
	if _, ok := in("192.0.2.2"); !ok {
		t.Error("another address suffers")
	}
	six, _ := in("2001:db8::1")
	if also, _ := in("2001:db8::ffff:1"); also != six {
		t.Error("a /64 is one client")
	}
	if _, ok := in("2001:db8:0:1::1"); !ok {
		t.Error("another /64 suffers")
	}
	for range 5 {
		if g, ok := in("10.1.2.3"); g != nil || !ok {
			t.Error("a trusted proxy is counted")
		}
	}
	if g, ok := c.Welcome(netip.Addr{}); g != nil || !ok {
		t.Error("a unix socket is counted")
	}
	c.Configure(Limits{})
	if g, ok := in("192.0.2.1"); g != nil || !ok {
		t.Error("counted without a limit")
	}
	c.Leave(one)
	c.Configure(Limits{PerClient: 2})
	if _, ok := in("192.0.2.1"); !ok {
		t.Error("a place was not given back")
	}
	if n := c.Counts().Refused; n != 1 {
		t.Errorf("%d refused", n)
	}
}

// TestCountsComeBackToZero, however many come and go at once.
func TestCountsComeBackToZero(t *testing.T) {
	c := New(1024, 2)
	c.Configure(Limits{Connections: 50, PerClient: 5})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				if c.Enter() {
					a := netip.AddrFrom4([4]byte{192, 0, 2, byte(rand.IntN(4))})
					if g, ok := c.Welcome(a); ok {
						c.Leave(g)
					} else {
						c.Leave(nil)
					}
				}
				if c.Connect() {
					c.Disconnect(1)
				}
				if c.Begin(3) {
					c.End()
				}
			}
		})
	}
	all.Wait()
	if n := c.Counts(); n.Clients != 0 || n.Endpoints != 0 || n.Requests != 0 {
		t.Errorf("%+v", n)
	}
	for i := range c.guests.shards {
		if n := len(c.guests.shards[i].all); n > 0 {
			t.Errorf("%d guests are left", n)
		}
	}
}

func TestNilAdmitsEverything(t *testing.T) {
	var c *Control
	g, ok := c.Welcome(netip.Addr{})
	if !c.Enter() || !ok {
		t.Error("refused")
	}
	c.Reenter()
	c.MakeRoom()
	c.Leave(g)
}
