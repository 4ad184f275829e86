package loop

import (
	"net/netip"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"golang.org/x/sys/unix"
)

// TestVanishedPeersAreNoticed: TCP asks peers that are silent whether they are there, those
// that were accepted and those that were dialled.
func TestVanishedPeersAreNoticed(t *testing.T) {
	e := startEngine(t, 1)
	options := make(chan [3]int, 2)
	look := func(s engine.Stream) {
		fd := int(s.(*stream).fd)
		var o [3]int
		o[0], _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		o[1], _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		o[2], _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
		options <- o
	}
	idle := serveOn(t, e, func(_ engine.Runtime, s engine.Stream, _ netip.AddrPort) { s.Close() })
	l := serveOn(t, e, func(rt engine.Runtime, s engine.Stream, _ netip.AddrPort) {
		look(s)
		d, err := rt.Dial(&engine.Dial{Network: "tcp", Address: idle.Addr().String(), By: rt.Now() + 10*time.Second})
		if err != nil {
			t.Error(err)
			options <- [3]int{}
			return
		}
		look(d)
		d.Close()
		s.Close()
	})
	dial(t, l)
	for _, side := range []string{"accepted", "dialled"} {
		if o := <-options; o != [3]int{1, keepAliveSeconds, keepAliveSeconds} {
			t.Errorf("%s: %v", side, o)
		}
	}
}
