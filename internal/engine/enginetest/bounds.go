package enginetest

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

var deadlinePromises = []promise{
	{name: "ReadDeadlineMovesBothWays", test: readDeadlineMoves},
	{name: "ReadDeadlineOfAnotherTask", test: readDeadlineOfAnother},
	{name: "ReadDeadlineMovedOnMeanwhile", test: readDeadlineMovedOn},
	{name: "ExpiredDeadlineFailsAReadThatNeedNotWait", test: expiredDeadline},
	{name: "WriteDeadline", test: writeDeadline},
	{name: "WriteDeadlineMovedOnMeanwhile", test: writeDeadlineMovedOn},
}

func readDeadlineMoves(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	buf := make([]byte, 8)
	// An early timer must not end a read whose deadline was moved on.
	s.SetReadDeadline(k.rt.Now() + moment)
	s.SetReadDeadline(k.rt.Now() + time.Hour)
	j := k.rt.Fork(func() { k.rt.Sleep(k.rt.Now() + 3*moment); peer.Write([]byte("late")) })
	if err := readFull(awaiting{s}, buf[:4]); string(buf[:4]) != "late" || err != nil {
		k.Errorf("moved on: %q, %v", buf[:4], err)
	}
	j.Wait()
	// A late one must not keep a read whose deadline was brought forward.
	by := k.rt.Now() + moment
	s.SetReadDeadline(by)
	if _, err := read(s, buf); !errors.Is(err, engine.ErrTimeout) || k.rt.Now() < by {
		k.Errorf("brought forward: %v, %v early", err, by-k.rt.Now())
	}
	// And none is none.
	s.SetReadDeadline(0)
	j = k.rt.Fork(func() { k.rt.Sleep(k.rt.Now() + 3*moment); peer.Write([]byte("x")) })
	if n, err := read(s, buf); n != 1 || err != nil {
		k.Errorf("removed: %d, %v", n, err)
	}
	j.Wait()
}

func readDeadlineOfAnother(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	for _, first := range []time.Duration{0, k.rt.Now() + time.Hour} {
		s.SetReadDeadline(first)
		j := k.soon(func() { s.SetReadDeadline(k.rt.Now()) })
		if _, err := read(s, make([]byte, 1)); !errors.Is(err, engine.ErrTimeout) {
			k.Errorf("ended by another task: %v", err)
		}
		j.Wait()
		by := k.rt.Now() + 2*moment
		s.SetReadDeadline(first)
		j = k.soon(func() { s.SetReadDeadline(by) })
		if _, err := read(s, make([]byte, 1)); !errors.Is(err, engine.ErrTimeout) || k.rt.Now() < by {
			k.Errorf("bounded by another task: %v, %v early", err, by-k.rt.Now())
		}
		j.Wait()
	}
	s.SetReadDeadline(k.rt.Now() + time.Hour)
	peer.Write([]byte("y"))
	if n, err := read(s, make([]byte, 1)); n != 1 || err != nil {
		k.Errorf("the stream did not survive: %d, %v", n, err)
	}
}

// readDeadlineMovedOn: the deadline of a Read that waits is moved on by another task. On
// a busy machine that task may come too late; then it says nothing.
func readDeadlineMovedOn(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	for bound := 4 * moment; bound < 300*moment; bound *= 2 {
		by := k.rt.Now() + bound
		s.SetReadDeadline(by)
		inTime := false
		j := k.soon(func() {
			s.SetReadDeadline(k.rt.Now() + time.Hour)
			inTime = k.rt.Now() < by
			k.rt.Sleep(by + moment)
			peer.Write([]byte("x"))
		})
		n, err := read(s, make([]byte, 1))
		j.Wait()
		if n == 1 && err == nil {
			return
		}
		if inTime {
			k.Errorf("moved on in time: %d, %v", n, err)
			return
		}
		s.SetReadDeadline(0)
		readFull(s, make([]byte, 1))
	}
	k.Skip("the machine is too busy")
}

func expiredDeadline(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	peer.Write([]byte("x"))
	k.eventually("bytes", func() bool { return !s.Quiet() })
	s.SetReadDeadline(k.rt.Now())
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, engine.ErrTimeout) {
		k.Errorf("read: %v", err)
	}
	s.SetReadDeadline(0)
	if n, err := s.Read(make([]byte, 1)); n != 1 || err != nil {
		k.Errorf("the byte did not survive: %d, %v", n, err)
	}
}

func writeDeadline(k *kit) {
	tooMuch := k.much()
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	by := k.rt.Now() + 2*moment
	s.SetWriteDeadline(by)
	sent, err := s.Write(make([]byte, tooMuch))
	if !errors.Is(err, engine.ErrTimeout) || sent >= tooMuch || k.rt.Now() < by {
		k.Errorf("%d bytes, %v, %v early", sent, err, by-k.rt.Now())
	}
	// Reading is not bounded by it, and what was written can be read.
	s.SetWriteDeadline(0)
	drained := k.rt.Fork(func() {
		if err := readFull(peer, make([]byte, sent)); err != nil {
			k.Errorf("the peer: %v", err)
		}
		peer.Write([]byte("z"))
	})
	if n, err := read(s, make([]byte, 1)); n != 1 || err != nil {
		k.Errorf("read: %d, %v", n, err)
	}
	drained.Wait()
	s.SetWriteDeadline(k.rt.Now() + time.Hour)
	if n, err := s.Write([]byte("more")); n != 4 || err != nil {
		k.Errorf("a later write: %d, %v", n, err)
	}
	buf := make([]byte, 4)
	if err := readFull(peer, buf); err != nil || string(buf) != "more" {
		k.Errorf("%q, %v", buf, err)
	}
}

func writeDeadlineMovedOn(k *kit) {
	tooMuch := k.much()
	for bound := 4 * moment; bound < 300*moment; bound *= 2 {
		s, peer := k.pair()
		by := k.rt.Now() + bound
		s.SetWriteDeadline(by)
		inTime := false
		j := k.soon(func() {
			s.SetWriteDeadline(k.rt.Now() + time.Hour)
			inTime = k.rt.Now() < by
			k.rt.Sleep(by + bound) // a write may be late by half its bound
			readFull(peer, make([]byte, tooMuch/2))
			peer.Abort()
		})
		n, err := s.Write(make([]byte, tooMuch))
		s.Close() // or the peer would wait for what does not come any more
		j.Wait()
		if !errors.Is(err, engine.ErrTimeout) && n >= tooMuch/2 {
			return
		}
		if inTime {
			k.Errorf("moved on in time: %d bytes, %v", n, err)
			return
		}
	}
	k.Skip("the machine is too busy")
}

var interruptPromises = []promise{
	{name: "InterruptEndsWhoWaits", test: interruptEnds},
	{name: "InterruptIsForGood", test: interruptIsForGood},
}

func interruptEnds(k *kit) {
	tooMuch := k.much()
	why := errors.New("why")
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	writer := k.rt.Fork(func() {
		if n, err := s.Write(make([]byte, tooMuch)); err != why || n >= tooMuch {
			k.Errorf("write: %d, %v", n, err)
		}
	})
	j := k.soon(func() { s.Interrupt(why) })
	if _, err := read(s, make([]byte, 1)); err != why {
		k.Errorf("read: %v", err)
	}
	writer.Wait()
	j.Wait()
}

func interruptIsForGood(k *kit) {
	why := errors.New("why")
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	if !s.Quiet() {
		k.Error("not quiet before")
	}
	s.Interrupt(why)
	s.Interrupt(errors.New("another reason"))
	if s.Quiet() {
		k.Error("quiet after an interrupt")
	}
	peer.Write([]byte("z"))
	for _, at := range []time.Duration{0, k.rt.Now() + time.Hour, k.rt.Now() - 1} {
		s.SetReadDeadline(at)
		s.SetWriteDeadline(at)
		if _, err := read(s, make([]byte, 1)); err != why {
			k.Errorf("read after it: %v", err)
		}
		if _, err := s.Write([]byte("z")); err != why {
			k.Errorf("write after it: %v", err)
		}
		k.rt.Sleep(k.rt.Now() + time.Millisecond)
	}
}

var watchPromises = []promise{
	{name: "WatchNoticesWhoLeaves", test: watchNotices},
	{name: "WatchNoticesWhoHasLeft", test: watchNoticesBefore},
	{name: "WatchResetLeavesAFINAlone", test: watchReset},
	{name: "UnwatchedIsLeftAlone", test: unwatched},
	{name: "WatchPassesAnInterruptOn", test: watchPasses},
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
		client.Close()
		peer.Close()
		up.Close()
		upPeer.Close()
	}
}

// watchNoticesBefore: the client left before anybody watched it. It has been read up to
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
		k.rt.Sleep(k.rt.Now() + moment) // a driver that is told of it has been told
		k.rt.Watch(client, up)
		if _, err := read(up, make([]byte, 1)); !errors.Is(err, engine.ErrClientGone) {
			k.Errorf("%s: %v", name, err)
		}
		k.rt.Unwatch(client, up)
		client.Close()
		peer.Close()
		up.Close()
		upPeer.Close()
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
		client.Close()
		peer.Close()
		up.Close()
		upPeer.Close()
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
	for _, c := range []interface{ Close() error }{client, peer, up, upPeer, again, againPeer} {
		c.Close()
	}
}
