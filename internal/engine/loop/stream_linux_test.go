package loop

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"golang.org/x/sys/unix"
)

// TestWhenReadyHoldsNoTask: an idle connection costs no coroutine, and is served all the same.
func TestWhenReadyHoldsNoTask(t *testing.T) {
	e := startEngine(t, 1)
	var served atomic.Int32
	l := serveOn(t, e, func(rt engine.Runtime, s engine.Stream, _ netip.AddrPort) {
		var next func()
		next = func() {
			buf := make([]byte, 64)
			n, err := s.Read(buf)
			if err != nil {
				s.Close()
				return
			}
			served.Add(1) // before the client can know
			s.Write(buf[:n])
			s.SetReadDeadline(rt.Now() + time.Hour)
			s.(*stream).WhenReady(next)
		}
		s.(*stream).WhenReady(next)
	})
	const clients = 200
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = dial(t, l)
	}
	for range 3 {
		for i, c := range conns {
			ask(t, c, fmt.Sprint("request ", i))
		}
	}
	if n := served.Load(); n != 3*clients {
		t.Errorf("%d served, not %d", n, 3*clients)
	}
	var alive, spare int
	play(t, e, 0, func() { s := e.loops[0].Stats(); alive, spare = s.Tasks, s.Spare })
	if alive != 1 || spare > 100 {
		t.Errorf("%d tasks live and %d coroutines are kept for %d idle connections", alive, spare, clients)
	}
}

// TestQuietInTheSameTurn: what came since the last read, in the turn of that read, is no
// event yet. A connection that is reused at once must not be taken for quiet.
func TestQuietInTheSameTurn(t *testing.T) {
	e := startEngine(t, 1)
	for _, end := range []struct {
		name string
		do   func(*net.TCPConn)
	}{
		{"bytes", func(c *net.TCPConn) { c.Write([]byte("x")) }},
		{"FIN", func(c *net.TCPConn) { c.CloseWrite() }},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
		{"nothing", func(c *net.TCPConn) {}},
	} {
		peer, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		play(t, e, 0, func() {
			s, err := e.Runtime(0).Dial(&engine.Dial{Network: "tcp", Address: peer.Addr().String()})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			c, err := peer.Accept() // it is there already, so this does not wait
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.Write([]byte("answer"))
			if n, err := s.Read(make([]byte, 100)); n != 6 || err != nil {
				t.Error(n, err)
			}
			end.do(c.(*net.TCPConn))
			if want := end.name == "nothing"; s.Quiet() != want {
				t.Errorf("%s: quiet is %v", end.name, !want)
			}
		})
		peer.Close()
	}
}

// TestWhenReadyIsCalledInAnyCase: bytes, a deadline, an Interrupt, Close, and all of them
// before it.
func TestWhenReadyIsCalledInAnyCase(t *testing.T) {
	why := errors.New("why")
	for name, test := range map[string]struct {
		do   func(rt engine.Runtime, s engine.Stream, peer net.Conn)
		want error
	}{
		"bytes":     {func(_ engine.Runtime, _ engine.Stream, peer net.Conn) { peer.Write([]byte("x")) }, nil},
		"FIN":       {func(_ engine.Runtime, _ engine.Stream, peer net.Conn) { peer.Close() }, io.EOF},
		"deadline":  {func(rt engine.Runtime, s engine.Stream, _ net.Conn) { s.SetReadDeadline(rt.Now() + 5*time.Millisecond) }, engine.ErrTimeout},
		"past":      {func(rt engine.Runtime, s engine.Stream, _ net.Conn) { s.SetReadDeadline(rt.Now()) }, engine.ErrTimeout},
		"interrupt": {func(_ engine.Runtime, s engine.Stream, _ net.Conn) { s.Interrupt(why) }, why},
		"close":     {func(_ engine.Runtime, s engine.Stream, _ net.Conn) { s.Close() }, engine.ErrClosed},
	} {
		for _, before := range []bool{false, true} {
			e := startEngine(t, 1)
			rt := e.Runtime(0)
			l := listen(t, "tcp", "127.0.0.1:0")
			peer := dial(t, l)
			ours, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			play(t, e, 0, func() {
				s, err := e.Stream(0, ours)
				if err != nil {
					t.Error(err)
					return
				}
				g := rt.NewSignal()
				result := errors.New("not called")
				wait := func() {
					s.(*stream).WhenReady(func() {
						_, result = s.Read(make([]byte, 1))
						g.Set()
					})
				}
				if !before {
					wait()
				}
				test.do(rt, s, peer)
				if before {
					rt.Sleep(rt.Now() + 2*time.Millisecond)
					wait()
				}
				if !g.Wait(rt.Now()+patience) || !errors.Is(result, test.want) {
					t.Errorf("%s, before: %v: %v, want %v", name, before, result, test.want)
				}
				s.Close()
			})
			l.Close()
		}
	}
}

// TestWriteDeadlineBroughtForward: by another task, while the write waits.
func TestWriteDeadlineBroughtForward(t *testing.T) {
	e := startEngine(t, 1)
	rt := e.Runtime(0)
	l := listen(t, "tcp", "127.0.0.1:0")
	defer l.Close()
	play(t, e, 0, func() {
		s, err := rt.Dial(&engine.Dial{Network: "tcp", Address: l.Addr().String()})
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		s.SetWriteDeadline(rt.Now() + time.Hour)
		j := rt.Fork(func() {
			rt.Sleep(rt.Now() + 10*time.Millisecond)
			s.SetWriteDeadline(rt.Now() + time.Millisecond)
		})
		if _, err := s.Write(make([]byte, 64<<20)); !errors.Is(err, engine.ErrTimeout) {
			t.Errorf("%v", err)
		}
		j.Wait()
	})
}

// TestATaskThatNeedNotWaitLetsOthersRun: one reads byte by byte what has long come, and
// another has its turns meanwhile, and not after.
func TestATaskThatNeedNotWaitLetsOthersRun(t *testing.T) {
	e := startEngine(t, 1)
	rt := e.Runtime(0)
	l := listen(t, "tcp", "127.0.0.1:0")
	defer l.Close()
	const total = 40_000
	peer := dial(t, l)
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write(make([]byte, total)); err != nil {
		t.Fatal(err)
	}
	play(t, e, 0, func() {
		s, err := e.Stream(0, ours)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		s.Await()
		turns, done := 0, false
		other := rt.Fork(func() {
			for !done {
				turns++
				e.loops[0].Pause()
			}
		})
		for n := 0; n < total; n++ {
			if _, err := s.Read(make([]byte, 1)); err != nil {
				t.Errorf("%d: %v", n, err)
				break
			}
		}
		done = true
		other.Wait()
		if turns < total/sched.Burst/2 {
			t.Errorf("another task had %d turns during %d reads", turns, total)
		}
	})
}

// TestUrgentDataHidesNothing: a read ends early in front of the urgent byte, which looks
// as if nothing came behind.
func TestUrgentDataHidesNothing(t *testing.T) {
	e := startEngine(t, 1)
	got := make(chan string, 1)
	l := serveOn(t, e, func(rt engine.Runtime, s engine.Stream, _ netip.AddrPort) {
		defer s.Close()
		rt.Sleep(rt.Now() + 20*time.Millisecond) // all of it has come
		var all strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := s.Read(buf)
			all.Write(buf[:n])
			if err != nil || strings.HasSuffix(all.String(), "end") {
				got <- all.String()
				return
			}
		}
	})
	c := dial(t, l).(*net.TCPConn)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("before"))
	raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
	if err != nil {
		t.Skip(err)
	}
	c.Write([]byte("behind, end"))
	select {
	case s := <-got:
		if s != "beforebehind, end" {
			t.Errorf("%q", s)
		}
	case <-time.After(patience):
		t.Error("hangs in front of urgent data")
	}
}

// TestASocketThatMeetsItself: what Dial must not return.
func TestASocketThatMeetsItself(t *testing.T) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		var at unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
		if family == unix.AF_INET6 {
			at = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
		}
		if err := unix.Bind(fd, at); err != nil {
			t.Log(err)
			continue
		}
		if at, err = unix.Getsockname(fd); err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, at); err != nil {
			t.Fatal(err)
		}
		var l loop
		if !meetsItself(l.ownAddr(fd), at) {
			t.Errorf("family %d: not noticed", family)
		}
	}
}

// TestSoak: connections that come, talk, and go in every way, on descriptors that are used
// again at once; every answer carries its question's token, and nothing is left behind.
func TestSoak(t *testing.T) {
	e := startEngine(t, 2)
	open := descriptors(t)
	l := serveOn(t, e, echo)
	// A second hop, so that streams are dialed as well, pass bytes on and watch each other.
	hop := serveOn(t, e, func(rt engine.Runtime, s engine.Stream, _ netip.AddrPort) {
		defer s.Close()
		up, err := rt.Dial(&engine.Dial{Network: "tcp", Address: l.Addr().String(), By: rt.Now() + patience})
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		buf := make([]byte, 4096)
		for {
			s.SetReadDeadline(rt.Now() + patience)
			n, err := s.Read(buf)
			if err != nil {
				return
			}
			rt.Watch(s, up)
			up.Write(buf[:n])
			for got := 0; got < n && err == nil; {
				var m int
				m, err = up.Read(buf[got:n])
				got += m
			}
			rt.Unwatch(s, up)
			if err != nil {
				return
			}
			s.Write(buf[:n])
		}
	})
	stop := time.Now().Add(2 * time.Second)
	if testing.Short() {
		stop = time.Now().Add(500 * time.Millisecond)
	}
	var group sync.WaitGroup
	var asked atomic.Int64
	for worker := range 12 {
		group.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(worker), 7))
			for time.Now().Before(stop) {
				visit(t, hop, chance, worker, &asked)
			}
		})
	}
	group.Wait()
	t.Logf("%d questions", asked.Load())
	l.Close()
	hop.Close()
	eventually(t, "the end of descriptors", func() bool { return descriptors(t) <= open })
	for i, l := range e.loops {
		var alive, taken int
		play(t, e, i, func() { s := l.Stats(); alive, taken = s.Tasks, s.Sources })
		if alive != 1 || taken != 1 || l.clients.Load() != 0 {
			t.Errorf("loop %d: %d tasks, %d slots, %d clients", i, alive-1, taken-1, l.clients.Load())
		}
	}
}

func visit(t *testing.T, l *Listener, chance *rand.Rand, worker int, asked *atomic.Int64) {
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	for i := range 1 + chance.IntN(6) {
		text := fmt.Sprintf("%d/%d/%d/%s", worker, i, chance.Uint64(), strings.Repeat("x", chance.IntN(2000)))
		if _, err := c.Write([]byte(text)); err != nil {
			t.Error(err)
			return
		}
		asked.Add(1)
		switch chance.IntN(12) {
		case 0: // leaves before the answer
			return
		case 1: // and that without manners
			c.(*net.TCPConn).SetLinger(0)
			return
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Errorf("%q, %v, want %q", got, err, text)
			return
		}
	}
}
