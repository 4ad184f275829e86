package enginetest

import (
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
