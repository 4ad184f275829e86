package goroutine

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// pair is a connection: our end as a stream, the peer's as it is.
func pair(t *testing.T, rt *Runtime) (engine.Stream, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := rt.Dial(&engine.Dial{Network: "tcp", Address: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); peer.Close() })
	return ours, peer.(*net.TCPConn)
}

func start(t *testing.T) *Runtime {
	rt := New()
	t.Cleanup(rt.Close)
	return rt
}

// within fails the test if f takes longer than is reasonable on a busy machine.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not happen", what)
	}
}

func TestReadDeadlineMovesBothWays(t *testing.T) {
	rt := start(t)
	s, peer := pair(t, rt)
	buf := make([]byte, 8)
	// An early timer must not end a read whose deadline was moved on.
	s.SetReadDeadline(rt.Now() + 20*time.Millisecond)
	s.SetReadDeadline(rt.Now() + 5*time.Second)
	go func() { time.Sleep(60 * time.Millisecond); peer.Write([]byte("late")) }()
	if n, err := s.Read(buf); string(buf[:n]) != "late" || err != nil {
		t.Fatalf("%q %v", buf[:n], err)
	}
	// A later one must not keep a read whose deadline was brought forward.
	s.SetReadDeadline(rt.Now() + 20*time.Millisecond)
	within(t, "timeout", func() {
		if _, err := s.Read(buf); !errors.Is(err, engine.ErrTimeout) {
			t.Errorf("%v", err)
		}
	})
	// And none is none.
	s.SetReadDeadline(0)
	go func() { time.Sleep(60 * time.Millisecond); peer.Write([]byte("x")) }()
	if n, err := s.Read(buf); n != 1 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
}

func TestDeadlineSetByAnotherTaskEndsARead(t *testing.T) {
	rt := start(t)
	s, peer := pair(t, rt)
	s.SetReadDeadline(rt.Now() + time.Hour)
	go func() { time.Sleep(20 * time.Millisecond); s.SetReadDeadline(rt.Now()) }()
	within(t, "end of the read", func() {
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, engine.ErrTimeout) {
			t.Errorf("%v", err)
		}
	})
	s.SetReadDeadline(rt.Now() + time.Hour)
	peer.Write([]byte("y"))
	if n, err := s.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the stream did not survive: %d %v", n, err)
	}
}

func TestInterruptIsForGood(t *testing.T) {
	rt := start(t)
	s, peer := pair(t, rt)
	why := errors.New("why")
	go func() { time.Sleep(20 * time.Millisecond); s.Interrupt(why) }()
	within(t, "interrupt", func() {
		if _, err := s.Read(make([]byte, 1)); err != why {
			t.Errorf("%v", err)
		}
	})
	s.SetReadDeadline(rt.Now() + time.Hour)
	s.SetWriteDeadline(rt.Now() + time.Hour)
	peer.Write([]byte("z"))
	if _, err := s.Read(make([]byte, 1)); err != why {
		t.Errorf("read after it: %v", err)
	}
	if _, err := s.Write([]byte("z")); err != why {
		t.Errorf("write after it: %v", err)
	}
}

func TestWriteEndsWhenThePeerDoesNotRead(t *testing.T) {
	rt := start(t)
	s, _ := pair(t, rt)
	s.SetWriteDeadline(rt.Now() + 50*time.Millisecond)
	within(t, "timeout", func() {
		if _, err := s.Write(make([]byte, 64<<20)); !errors.Is(err, engine.ErrTimeout) {
			t.Errorf("%v", err)
		}
	})
}

func TestWatchNoticesAClientThatLeaves(t *testing.T) {
	rt := start(t)
	for _, leave := range []struct {
		name string
		how  func(*net.TCPConn)
	}{
		{"FIN", func(c *net.TCPConn) { c.CloseWrite() }},
		{"FIN behind unread bytes", func(c *net.TCPConn) { c.Write([]byte("GET /next")); c.CloseWrite() }},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
	} {
		client, peer := pair(t, rt)
		up, _ := pair(t, rt)
		rt.Watch(client, up)
		go func() { time.Sleep(30 * time.Millisecond); leave.how(peer) }()
		within(t, leave.name, func() {
			if _, err := up.Read(make([]byte, 1)); !errors.Is(err, engine.ErrClientGone) {
				t.Errorf("%s: %v", leave.name, err)
			}
		})
		rt.Unwatch(client, up)
	}
}

func TestUnwatchedClientsAreLeftAlone(t *testing.T) {
	rt := start(t)
	client, peer := pair(t, rt)
	up, upPeer := pair(t, rt)
	rt.Watch(client, up)
	rt.Unwatch(client, up)
	peer.Close()
	time.Sleep(4 * watchEvery)
	upPeer.Write([]byte("x"))
	if n, err := up.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

func TestInterruptOfAClientReachesWhoWaitsForItsEndpoint(t *testing.T) {
	rt := start(t)
	client, _ := pair(t, rt)
	up, _ := pair(t, rt)
	rt.Watch(client, up)
	go func() { time.Sleep(20 * time.Millisecond); client.Interrupt(engine.ErrStopping) }()
	within(t, "interrupt", func() {
		if _, err := up.Read(make([]byte, 1)); !errors.Is(err, engine.ErrStopping) {
			t.Errorf("%v", err)
		}
	})
	again, _ := pair(t, rt)
	rt.Watch(client, again)
	if _, err := again.Read(make([]byte, 1)); !errors.Is(err, engine.ErrStopping) {
		t.Errorf("watch of a broken client: %v", err)
	}
}

func TestQuiet(t *testing.T) {
	rt := start(t)
	s, peer := pair(t, rt)
	if !s.Quiet() {
		t.Error("a fresh connection is not quiet")
	}
	peer.Write([]byte("x"))
	eventually(t, func() bool { return !s.Quiet() }, "unread bytes")
	s.Read(make([]byte, 1))
	if !s.Quiet() {
		t.Error("not quiet after the bytes were read")
	}
	peer.CloseWrite()
	eventually(t, func() bool { return !s.Quiet() }, "a FIN")
}

func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s went unnoticed", what)
}

func TestAbortResets(t *testing.T) {
	rt := start(t)
	s, peer := pair(t, rt)
	s.Abort()
	if _, err := peer.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the peer saw %v, not a reset", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("we see %v", err)
	}
}

func TestDialTellsWhatHappened(t *testing.T) {
	rt := start(t)
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	addr := l.Addr().String()
	l.Close()
	if _, err := rt.Dial(&engine.Dial{Network: "tcp", Address: addr}); !errors.Is(err, engine.ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	if _, err := rt.Dial(&engine.Dial{Network: "tcp", Address: addr, By: rt.Now() - 1}); !errors.Is(err, engine.ErrTimeout) {
		t.Errorf("too late: %v", err)
	}
	path := filepath.Join(t.TempDir(), "s")
	u, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	s, err := rt.Dial(&engine.Dial{Network: "unix", Address: path})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Quiet() {
		t.Error("a unix connection is not quiet")
	}
	s.Close()
}

func TestSignalIsOneSlot(t *testing.T) {
	rt := start(t)
	g := rt.NewSignal()
	if g.Wait(rt.Now() + time.Millisecond) {
		t.Error("an unset signal was seen")
	}
	g.Set()
	g.Set()
	if !g.Wait(rt.Now()-1) || g.Wait(rt.Now()+time.Millisecond) {
		t.Error("two sets are not one")
	}
}

func TestForkBringsPanicsHome(t *testing.T) {
	rt := start(t)
	j := rt.Fork(func() { panic("boom") })
	defer func() {
		if recover() != "boom" {
			t.Error("the panic was lost")
		}
	}()
	j.Wait()
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	rt := New()
	j := rt.Fork(func() {
		if err := rt.Sleep(rt.Now() + time.Hour); !errors.Is(err, engine.ErrStopping) {
			t.Errorf("Sleep: %v", err)
		}
	})
	rt.Close()
	j.Wait()
	eventually(t, func() bool { return runtime.NumGoroutine() <= before }, "the end of a goroutine")
}
