package enginetest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

var readPromises = []promise{
	{name: "ReadBringsWhatWasWritten", test: readBrings},
	{name: "DataAndEndComeTogether", test: dataAndEnd},
	{name: "BackPressureBothWays", test: backPressure},
	{name: "OneBusyStreamLeavesRoomForOthers", test: busyStream, foreign: true},
}

func readBrings(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	buf := make([]byte, 64)
	for i, text := range []string{"a", "some more", "x"} {
		j := k.soon(func() { peer.Write([]byte(text)) })
		p := buf[:len(text)]
		if err := readFull(awaiting{s}, p); string(p) != text || err != nil {
			k.Errorf("read %d: %q, %v", i, p, err)
		}
		j.Wait()
	}
	// In pieces, as the buffer is small.
	peer.Write([]byte("0123456789"))
	var all []byte
	for len(all) < 10 {
		n, err := read(s, buf[:3])
		if err != nil || n == 0 || n > 3 {
			k.Errorf("%d, %v after %q", n, err, all)
			return
		}
		all = append(all, buf[:n]...)
	}
	if string(all) != "0123456789" {
		k.Errorf("%q", all)
	}
	if n, err := s.Write([]byte("answer")); n != 6 || err != nil {
		k.Errorf("write: %d, %v", n, err)
	}
	if err := readFull(peer, buf[:6]); err != nil || string(buf[:6]) != "answer" {
		k.Errorf("the peer reads %q, %v", buf[:6], err)
	}
}

// dataAndEnd: bytes and the FIN behind them may be noticed as one event, or as two with a
// Read between; neither the bytes nor the end may be missed.
func dataAndEnd(k *kit) {
	chance := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 8<<10)
	for round := range 120 {
		s, peer := k.pair()
		want := make([]byte, 1+chance.IntN(12<<10))
		room := buf[:1+chance.IntN(len(buf))]
		if chance.IntN(4) == 0 && len(want) <= len(buf) {
			room = buf[:len(want)] // a full read leaves nothing that would say so
		}
		pause := time.Duration(chance.IntN(3)) * time.Millisecond / 2
		j := k.rt.Fork(func() {
			peer.Write(want)
			if pause > 0 {
				k.rt.Sleep(k.rt.Now() + pause)
			}
			peer.CloseWrite()
		})
		if chance.IntN(2) == 0 {
			k.rt.Sleep(k.rt.Now() + time.Millisecond)
		}
		got := 0
		for {
			n, err := read(s, room)
			got += n
			if err == io.EOF {
				break
			}
			if err != nil {
				k.Errorf("round %d: %v after %d of %d bytes", round, err, got, len(want))
				break
			}
		}
		if got != len(want) {
			k.Errorf("round %d: %d of %d bytes", round, got, len(want))
		}
		if n, err := read(s, room); n != 0 || err != io.EOF {
			k.Errorf("round %d: after the end: %d, %v", round, n, err)
		}
		j.Wait()
		s.Close()
		peer.Close()
	}
}

// pattern makes byte i of a stream tell where it stands.
func pattern(p []byte, at int) {
	for i := range p {
		p[i] = byte((at+i)>>12) ^ byte(at+i)
	}
}

// backPressure: more than any buffer holds goes both ways at once, one task writes while
// another reads, the reader pauses, and all arrives in order.
func backPressure(k *kit) {
	total := k.much() / 5
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	echo := k.rt.Fork(func() {
		buf := make([]byte, 50_000)
		for {
			n, err := peer.Read(buf)
			if n > 0 {
				if _, err := peer.Write(buf[:n]); err != nil {
					k.Errorf("echo: %v", err)
					return
				}
			}
			if err != nil {
				peer.CloseWrite()
				return
			}
		}
	})
	writer := k.rt.Fork(func() {
		chance := rand.New(rand.NewPCG(3, 4))
		buf := make([]byte, 300_000)
		for at := 0; at < total; {
			p := buf[:min(1+chance.IntN(len(buf)), total-at)]
			pattern(p, at)
			if n, err := s.Write(p); n != len(p) || err != nil {
				k.Errorf("write: %d of %d, %v", n, len(p), err)
				break
			}
			at += len(p)
		}
		s.CloseWrite()
	})
	k.rt.Sleep(k.rt.Now() + 2*moment) // both directions fill up
	buf, want := make([]byte, 70_000), make([]byte, 70_000)
	at := 0
	for {
		n, err := read(s, buf)
		pattern(want[:n], at)
		if !bytes.Equal(buf[:n], want[:n]) {
			k.Errorf("wrong bytes behind %d", at)
			break
		}
		at += n
		if err != nil {
			if err != io.EOF || at != total {
				k.Errorf("%d of %d bytes, %v", at, total, err)
			}
			break
		}
		if at%7 == 0 {
			k.rt.Sleep(k.rt.Now() + time.Millisecond/4)
		}
	}
	s.Interrupt(errors.New("the test is over")) // should something have gone wrong
	writer.Wait()
	s.Close()
	echo.Wait()
}

// busyStream: a stream that always has bytes keeps no other task from running.
func busyStream(k *kit) {
	s, peer := k.pair()
	flood := k.rt.Fork(func() {
		buf := make([]byte, 256<<10)
		for {
			if _, err := peer.Write(buf); err != nil {
				return
			}
		}
	})
	drain := k.rt.Fork(func() {
		buf := make([]byte, 512)
		for {
			if _, err := read(s, buf); err != nil {
				return
			}
		}
	})
	other, otherPeer := k.pair()
	for range 3 {
		k.rt.Sleep(k.rt.Now() + time.Millisecond)
		other.Write([]byte("ping"))
		if err := readFull(otherPeer, make([]byte, 4)); err != nil {
			k.Error(err)
		}
	}
	s.Interrupt(errors.New("enough"))
	drain.Wait()
	s.Abort()
	peer.Close()
	flood.Wait()
	other.Close()
	otherPeer.Close()
}

var endPromises = []promise{
	{name: "HalfClose", test: halfClose},
	{name: "CloseEndsInGoodOrder", test: closeEnds},
	{name: "CloseWakesWhoWaits", test: closeWakes},
	{name: "AbortResets", test: abortResets},
	{name: "ResetIsNoEnd", test: resetIsNoEnd},
	{name: "Quiet", test: quiet},
}

func halfClose(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	buf := make([]byte, 16)
	peer.CloseWrite()
	if _, err := read(s, buf); err != io.EOF {
		k.Errorf("the peer's end: %v", err)
	}
	if n, err := s.Write([]byte("still here")); n != 10 || err != nil {
		k.Errorf("write after the peer's end: %d, %v", n, err)
	}
	if err := s.CloseWrite(); err != nil {
		k.Errorf("CloseWrite: %v", err)
	}
	if err := s.CloseWrite(); err != nil && !errors.Is(err, engine.ErrClosed) {
		k.Logf("a second CloseWrite: %v", err)
	}
	if err := readFull(peer, buf[:10]); err != nil || string(buf[:10]) != "still here" {
		k.Errorf("the peer reads %q, %v", buf[:10], err)
	}
	if n, err := peer.Read(buf); n != 0 || err != io.EOF {
		k.Errorf("our end at the peer: %d, %v", n, err)
	}

	// The other way round: our end first, and then the peer's bytes.
	s2, peer2 := k.pair()
	defer peer2.Close()
	defer s2.Close()
	s2.CloseWrite()
	if _, err := s2.Write([]byte("x")); err == nil {
		k.Error("a write behind our own FIN succeeds")
	}
	if n, err := peer2.Read(buf); n != 0 || err != io.EOF {
		k.Errorf("our end at the peer: %d, %v", n, err)
	}
	j := k.soon(func() { peer2.Write([]byte("late")); peer2.CloseWrite() })
	if err := readFull(awaiting{s2}, buf[:4]); string(buf[:4]) != "late" || err != nil {
		k.Errorf("read behind our end: %q, %v", buf[:4], err)
	}
	if _, err := read(s2, buf); err != io.EOF {
		k.Errorf("the end of both: %v", err)
	}
	j.Wait()
}

func closeEnds(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	s.Write([]byte("last words"))
	if err := s.Close(); err != nil {
		k.Errorf("Close: %v", err)
	}
	s.Close()
	s.Abort()
	s.Interrupt(errors.New("too late"))
	s.SetReadDeadline(k.rt.Now() + time.Second)
	s.SetWriteDeadline(k.rt.Now() + time.Second)
	buf := make([]byte, 16)
	if err := readFull(peer, buf[:10]); err != nil || string(buf[:10]) != "last words" {
		k.Errorf("the peer reads %q, %v", buf[:10], err)
	}
	if n, err := peer.Read(buf); n != 0 || err != io.EOF {
		k.Errorf("the peer sees %d, %v, not the end", n, err)
	}
	if _, err := read(s, buf); !errors.Is(err, engine.ErrClosed) {
		k.Errorf("read after Close: %v", err)
	}
	if _, err := s.Write(buf); !errors.Is(err, engine.ErrClosed) {
		k.Errorf("write after Close: %v", err)
	}
	if s.Quiet() {
		k.Error("a closed stream is quiet")
	}
}

func closeWakes(k *kit) {
	for _, end := range []func(engine.Stream){
		func(s engine.Stream) { s.Close() },
		func(s engine.Stream) { s.Abort() },
	} {
		s, peer := k.pair()
		j := k.soon(func() { end(s) })
		if _, err := read(s, make([]byte, 1)); !errors.Is(err, engine.ErrClosed) {
			k.Errorf("read: %v", err)
		}
		j.Wait()
		peer.Close()
		s, peer = k.pair()
		j = k.soon(func() { end(s) })
		if _, err := s.Write(make([]byte, k.much())); !errors.Is(err, engine.ErrClosed) {
			k.Errorf("write: %v", err)
		}
		j.Wait()
		peer.Close()
	}
}

func abortResets(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	s.Abort()
	s.Abort()
	s.Close()
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF && k.net.Resets() {
		k.Errorf("the peer sees %d, %v, not a reset", n, err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, engine.ErrClosed) {
		k.Errorf("read after Abort: %v", err)
	}
	if !k.net.Resets() {
		return
	}
	// And a reset by the peer is an error here, not an end.
	s2, peer2 := k.pair()
	defer s2.Close()
	j := k.soon(peer2.Abort)
	if _, err := read(s2, make([]byte, 1)); err == nil || err == io.EOF || errors.Is(err, engine.ErrTimeout) {
		k.Errorf("the peer's reset reads as %v", err)
	}
	j.Wait()
	if _, err := s2.Write([]byte("x")); err == nil {
		k.Error("a write to a peer that reset succeeds")
	}
}

// resetIsNoEnd: the kernel reports a reset once, and it may be to a write. What a
// read finds afterwards must not look like the end of what the peer had to say.
func resetIsNoEnd(k *kit) {
	if !k.net.Resets() {
		return
	}
	s, peer := k.pair()
	defer s.Close()
	if _, err := peer.Write([]byte("the beginning")); err != nil {
		k.Errorf("write: %v", err)
	}
	if err := readFull(awaiting{s}, make([]byte, 4)); err != nil {
		k.Errorf("read: %v", err)
	}
	peer.Abort()
	k.eventually("a write to a peer that reset fails", func() bool {
		_, err := s.Write([]byte("x"))
		return err != nil
	})
	for n, err := 0, error(nil); ; {
		if n, err = read(s, make([]byte, 100)); n > 0 && err == nil {
			continue // what had come before
		}
		if err == nil || err == io.EOF || errors.Is(err, engine.ErrTimeout) {
			k.Errorf("after the reset a read says %d, %v", n, err)
		}
		return
	}
}

func quiet(k *kit) {
	s, peer := k.pair()
	defer peer.Close()
	defer s.Close()
	if !s.Quiet() {
		k.Error("a fresh connection is not quiet")
	}
	peer.Write([]byte("xyz"))
	k.eventually("unread bytes", func() bool { return !s.Quiet() })
	buf := make([]byte, 3)
	read(s, buf[:2])
	if s.Quiet() {
		k.Error("quiet with a byte unread")
	}
	read(s, buf[:1]) // exactly what is there: nothing says that it was all
	if !s.Quiet() {
		k.Error("not quiet after all was read")
	}
	peer.Write([]byte("xyz"))
	read(s, make([]byte, 64))
	if !s.Quiet() {
		k.Error("not quiet after a short read")
	}
	peer.CloseWrite()
	k.eventually("a FIN", func() bool { return !s.Quiet() })
	read(s, buf)
	if s.Quiet() {
		k.Error("quiet though the peer has ended")
	}
	s2, peer2 := k.pair()
	defer s2.Close()
	peer2.Abort()
	k.eventually("the peer's leaving", func() bool { return !s2.Quiet() })
}
