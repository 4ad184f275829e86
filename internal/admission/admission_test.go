package admission

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestDescriptorsAreShared(t *testing.T) {
	for _, test := range []struct {
		files, workers, configured int
		most, all                  int64
	}{
		{0, 4, 0, 0, 0},          // not known: no limit
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
	l := c.Listen("a", false, 0)
	for i := range int64(458) {
		if !l.Enter() {
			t.Fatalf("client %d has no place", i)
		}
	}
	if l.Enter() {
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
	l.Cancel()
	if !c.Connect() || l.Enter() || !c.Tight() {
		t.Error("what a client has left goes to an endpoint, and then no client can come")
	}
	c.Disconnect(2)
	if !l.Enter() {
		t.Error("no place though connections to endpoints ended")
	}
	if n := c.Counts(); n.Clients != 458 || n.Endpoints != 457 || n.Waits != 2 || c.Listeners(0)[0].Refused[Full] != 2 {
		t.Errorf("%+v", n)
	}
}

func TestConnectionsOfOneAddress(t *testing.T) {
	c := New(0, 1)
	c.Configure(Limits{PerClient: 2, Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	l := c.Listen("a", false, 0)
	in := func(a string) (*address, bool) {
		g, ok := l.Welcome(netip.MustParseAddr(a))
		if !ok {
			return nil, false
		}
		return g.address, true
	}
	one, _ := l.Welcome(netip.MustParseAddr("192.0.2.1"))
	two, _ := in("::ffff:192.0.2.1")
	if _, ok := in("192.0.2.1"); ok || one.address == nil || one.address != two {
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
	if g, ok := l.Welcome(netip.Addr{}); g.address != nil || !ok {
		t.Error("a unix socket is counted")
	}
	c.Configure(Limits{})
	if g, ok := in("192.0.2.1"); g != nil || !ok {
		t.Error("counted without a limit")
	}
	one.Leave()
	c.Configure(Limits{PerClient: 2})
	if _, ok := in("192.0.2.1"); !ok {
		t.Error("a place was not given back")
	}
	if n := c.Listeners(0)[0].Refused[PerClient]; n != 1 || c.Counts().Refused != 1 {
		t.Errorf("%d refused", n)
	}
}

// TestCountsComeBackToZero, however many come and go at once.
func TestCountsComeBackToZero(t *testing.T) {
	c := New(1024, 2)
	c.Configure(Limits{Connections: 50, PerClient: 5})
	var all sync.WaitGroup
	for i := range 8 {
		l := c.Listen([]string{"a", "b"}[i%2], false, 0)
		all.Go(func() {
			for range 2000 {
				if l.Enter() {
					a := netip.AddrFrom4([4]byte{192, 0, 2, byte(rand.IntN(4))})
					if g, ok := l.Welcome(a); ok {
						g.Leave()
					}
				}
				if l.Enter() {
					l.Cancel()
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
	for i := range c.addresses.shards {
		if n := len(c.addresses.shards[i].all); n > 0 {
			t.Errorf("%d addresses are left", n)
		}
	}
	for _, l := range c.Listeners(0) {
		if l.Open != 0 || l.Accepted == 0 {
			t.Errorf("%+v", l)
		}
	}
}

// The counts of a listener go on when it is opened again, and are forgotten minutes after its
// end, but not while it has connections.
func TestListenersAreNames(t *testing.T) {
	c := New(0, 1)
	one, two := c.Listen("b", true, 1), c.Listen("a", false, 2)
	one.Enter()
	guest, _ := one.Welcome(netip.Addr{})
	one.Handshake(ResumedHandshake)
	one.Exhausted()
	names := func(now time.Duration) (out []string) {
		for _, l := range c.Listeners(now) {
			out = append(out, l.Name)
		}
		return out
	}
	if got := names(3); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v", got)
	}
	one.Close(10)
	if c.Listen("b", false, 11) != one {
		t.Error("the counts began anew")
	}
	one.Close(20)
	two.Close(20)
	if got := names(20 + listenerKept - 1); len(got) != 2 {
		t.Errorf("forgotten too soon: %v", got)
	}
	if got := names(20 + listenerKept); !slices.Equal(got, []string{"b"}) {
		t.Errorf("%v, want the one with a connection", got)
	}
	l := c.Listeners(20 + listenerKept)[0]
	if l.Since != 1 || !l.Secure || l.Open != 1 || l.Accepted != 1 || l.Refused[Descriptors] != 1 || l.Handshakes[ResumedHandshake] != 1 {
		t.Errorf("%+v", l)
	}
	guest.Leave()
	if got := names(20 + listenerKept); got != nil {
		t.Errorf("%v are left", got)
	}
}

func TestNilAdmitsEverything(t *testing.T) {
	var l *Listener
	g, ok := l.Welcome(netip.Addr{})
	if !l.Enter() || !ok {
		t.Error("refused")
	}
	l.Cancel()
	l.Exhausted()
	l.Handshake(FailedHandshake)
	l.MakeRoom()
	g.Leave()
}
