package enginetest

import (
	"crypto/tls"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// The promises of Watch: what waits for an endpoint is interrupted when the client leaves.

var watchPromises = []promise{
	{name: "WatchNoticesWhoLeaves", test: watchNotices},
	{name: "WatchNoticesWhoHasLeft", test: watchNoticesBefore},
	{name: "WatchResetLeavesAFINAlone", test: watchReset},
	{name: "UnwatchedIsLeftAlone", test: unwatched},
	{name: "WatchPassesAnInterruptOn", test: watchPasses},
	{name: "WatchInterruptsWhatIsNoStream", test: watchCall},
}

// departures are the ways of a client to leave.
func departures(k *kit) map[string]func(Peer) {
	ways := map[string]func(Peer){
		"FIN":                     func(p Peer) { p.CloseWrite() },
		"FIN behind unread bytes": func(p Peer) { p.Write([]byte("GET /next")); p.CloseWrite() },
		"Close":                   func(p Peer) { p.Close() },
	}
	if k.net.Resets() {
		ways["reset"] = Peer.Abort
	}
	return ways
}

func closeAll(ends ...io.Closer) {
	for _, c := range ends {
		c.Close()
	}
}

func watchNotices(k *kit) {
	for name, leave := range departures(k) {
		client, peer := k.pair()
		up, upPeer := k.pair()
		k.rt.Watch(client, up)
		j := k.soon(func() { leave(peer) })
		if _, err := read(up, make([]byte, 1)); !errors.Is(err, engine.ErrClientGone) {
			k.Errorf("%s: %v", name, err)
		}
		j.Wait()
		if _, err := up.Write([]byte("x")); !errors.Is(err, engine.ErrClientGone) {
			k.Errorf("%s, later: %v", name, err)
		}
		k.rt.Unwatch(client, up)
		closeAll(client, peer, up, upPeer)
	}
}

// watchNoticesBefore: the client left before it was watched. It has been read up to
// the first byte behind, as a request that was followed by a FIN is.
func watchNoticesBefore(k *kit) {
	for name, leave := range departures(k) {
		client, peer := k.pair()
		up, upPeer := k.pair()
		peer.Write([]byte("request"))
		if err := readFull(client, make([]byte, 7)); err != nil {
			k.Error(err)
		}
		leave(peer)
		k.eventually(name, func() bool { return !client.Quiet() })
		k.rt.Sleep(k.rt.Now() + moment) // a driver that gets a signal of it has got it
		k.rt.Watch(client, up)
		if _, err := read(up, make([]byte, 1)); !errors.Is(err, engine.ErrClientGone) {
			k.Errorf("%s: %v", name, err)
		}
		k.rt.Unwatch(client, up)
		closeAll(client, peer, up, upPeer)
	}
}

// watchReset: a client that ends its side and stays is waited for; one that resets the
// connection has left, also behind its FIN.
func watchReset(k *kit) {
	for _, before := range []bool{true, false} {
		client, peer := k.pair()
		if _, secure := client.(interface{ ConnectionState() tls.ConnectionState }); secure {
			client.Close() // it is Watch there
			peer.Close()
			continue
		}
		up, upPeer := k.pair()
		if before {
			peer.CloseWrite()
			k.eventually("FIN", func() bool { return !client.Quiet() })
			k.rt.Sleep(k.rt.Now() + moment)
		}
		k.rt.WatchReset(client, up)
		if !before {
			peer.CloseWrite()
			k.rt.Sleep(k.rt.Now() + 250*time.Millisecond)
		}
		upPeer.Write([]byte("x"))
		if n, err := read(up, make([]byte, 1)); n != 1 || err != nil {
			k.Errorf("FIN before %v: %d, %v", before, n, err)
		}
		if _, err := client.Write([]byte("answer")); err != nil {
			k.Errorf("FIN before %v: %v", before, err)
		}
		if k.net.Resets() {
			j := k.soon(peer.Abort)
			if _, err := read(up, make([]byte, 1)); !errors.Is(err, engine.ErrClientGone) {
				k.Errorf("a reset behind FIN: %v", err)
			}
			j.Wait()
		}
		k.rt.Unwatch(client, up)
		closeAll(client, peer, up, upPeer)
	}
}

func unwatched(k *kit) {
	client, peer := k.pair()
	defer client.Close()
	first, firstPeer := k.pair()
	second, secondPeer := k.pair()
	defer second.Close()
	defer secondPeer.Close()
	defer firstPeer.Close()
	defer first.Close()
	k.rt.Watch(client, first)
	k.rt.Unwatch(client, first)
	k.rt.Watch(client, second)
	k.rt.Unwatch(client, second)
	peer.Close()
	k.rt.Sleep(k.rt.Now() + 250*time.Millisecond)
	for _, pair := range []struct {
		s engine.Stream
		p Peer
	}{{first, firstPeer}, {second, secondPeer}} {
		pair.p.Write([]byte("x"))
		if n, err := read(pair.s, make([]byte, 1)); n != 1 || err != nil {
			k.Errorf("%d, %v", n, err)
		}
	}
}

// A call is an Interrupter that is no Stream.
type call struct {
	set engine.Signal
	why atomic.Pointer[error]
}

func (c *call) Interrupt(err error) {
	c.why.CompareAndSwap(nil, &err)
	c.set.Set()
}

// watchCall: what watches a client need not be a stream, and is left alone after Unwatch.
func watchCall(k *kit) {
	for _, watch := range []func(engine.Stream, engine.Interrupter){k.rt.Watch, k.rt.WatchReset} {
		client, peer := k.pair()
		before, up := &call{set: k.rt.NewSignal()}, &call{set: k.rt.NewSignal()}
		watch(client, before)
		k.rt.Unwatch(client, before)
		watch(client, up)
		j := k.soon(func() { client.Interrupt(engine.ErrStopping) })
		if !up.set.Wait(k.rt.Now()+patience) || !errors.Is(*up.why.Load(), engine.ErrStopping) {
			k.Errorf("interrupted: %v", up.why.Load())
		}
		j.Wait()
		k.rt.Unwatch(client, up)
		if before.why.Load() != nil {
			k.Errorf("interrupted after Unwatch: %v", *before.why.Load())
		}
		client.Close()
		peer.Close()
	}
}

func watchPasses(k *kit) {
	client, peer := k.pair()
	up, upPeer := k.pair()
	again, againPeer := k.pair()
	k.rt.Watch(client, up)
	j := k.soon(func() { client.Interrupt(engine.ErrStopping) })
	if _, err := read(up, make([]byte, 1)); !errors.Is(err, engine.ErrStopping) {
		k.Errorf("passed on: %v", err)
	}
	j.Wait()
	k.rt.Unwatch(client, up)
	k.rt.Watch(client, again)
	if _, err := read(again, make([]byte, 1)); !errors.Is(err, engine.ErrStopping) {
		k.Errorf("a client that was interrupted before: %v", err)
	}
	k.rt.Unwatch(client, again)
	closeAll(client, peer, up, upPeer, again, againPeer)
}
