package loop

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"golang.org/x/sys/unix"
)

// What a loop does when the kernel refuses what it asks for.

// onLoop runs f as a message to loop l and waits for it.
func onLoop(t *testing.T, l *loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(sched.MessageFunc(func() { f(); close(done) })) {
		t.Fatal("the loop has ended")
	}
	within(t, done, "a message")
}

func within(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: not done in time", what)
	}
}

// serveByte has e serve connections, each of which gets a byte and is closed.
func serveByte(t *testing.T, e *Engine) (net.Listener, *Listener) {
	t.Helper()
	tcp := listen(t, "tcp", "127.0.0.1:0")
	a, err := e.Serve(tcp, nil, func(_ engine.Runtime, s engine.Stream, _ netip.AddrPort) { s.Write([]byte("x")); s.Close() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return tcp, a
}

// expectByte connects and reads the byte that the server sends.
func expectByte(t *testing.T, at net.Addr) {
	t.Helper()
	c, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 1 {
		t.Errorf("no byte: %v", err)
	}
}

// TestAShareThatCannotBeArmed: after a pause the kernel may refuse to watch the listener
// once more. The share asks again until it succeeds.
func TestAShareThatCannotBeArmed(t *testing.T) {
	e := startEngine(t, 1)
	l := e.loops[0]
	tcp, a := serveByte(t, e)
	x := a.shares[0]
	refusals := 0
	onLoop(t, l, func() {
		l.SetFault(func(op, fd int) error {
			if op == unix.EPOLL_CTL_ADD && fd == x.fd && refusals < 3 {
				refusals++
				return unix.ENOSPC
			}
			return nil
		})
		x.pause(unix.EMFILE)
	})
	expectByte(t, tcp.Addr())
	onLoop(t, l, func() {
		if refusals != 3 {
			t.Errorf("%d refusals", refusals)
		}
	})
}

// TestAConnectionThatCannotBeWatched is closed, and not counted any more.
func TestAConnectionThatCannotBeWatched(t *testing.T) {
	e := startEngine(t, 1)
	l := e.loops[0]
	tcp, _ := serveByte(t, e)
	first := true
	onLoop(t, l, func() {
		l.SetFault(func(op, fd int) error {
			if op == unix.EPOLL_CTL_ADD && first {
				first = false
				return unix.ENOSPC
			}
			return nil
		})
	})
	c, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, unix.EAGAIN) {
		t.Errorf("%d bytes, %v", n, err)
	}
	expectByte(t, tcp.Addr())
	eventually(t, "no clients left", func() bool { return l.clients.Load() == 0 })
}
