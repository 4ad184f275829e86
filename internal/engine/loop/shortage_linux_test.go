package loop

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"golang.org/x/sys/unix"
)

// What a loop does when the kernel refuses what it asks for.

// onLoop runs f as a letter of loop l and waits for it.
func onLoop(t *testing.T, l *loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.mail.post(letterFunc(func(*loop) { f(); close(done) })) {
		t.Fatal("the loop has ended")
	}
	within(t, done, "a letter")
}

func within(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: not done in time", what)
	}
}

// TestAGateThatCannotBeOpened: a loop whose epoll instance cannot be watched by Go's poller
// still notices letters, timers and sockets; and uses Go's poller again when it can.
func TestAGateThatCannotBeOpened(t *testing.T) {
	e := startEngine(t, 1)
	l := e.loops[0]
	var refused atomic.Int32
	onLoop(t, l, func() {
		l.gate.set(false)
		l.gate.fault = func(op int) error {
			if op != unix.EPOLL_CTL_ADD {
				return nil
			}
			refused.Add(1)
			return unix.ENOSPC
		}
		l.gate.busy, l.gate.mean = false, time.Second
	})
	eventually(t, "a gate that was refused", func() bool { return refused.Load() > 0 })
	onLoop(t, l, func() {}) // a letter arrives
	slept := make(chan struct{})
	if err := e.Start(0, func() { l.Sleep(l.Now() + 30*time.Millisecond); close(slept) }); err != nil {
		t.Fatal(err)
	}
	within(t, slept, "a sleep of 30ms")
	tcp := listen(t, "tcp", "127.0.0.1:0")
	a, err := e.Serve(tcp, func(_ engine.Runtime, s engine.Stream, _ netip.AddrPort) { s.Write([]byte("x")); s.Close() })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	expectByte(t, tcp.Addr())
	onLoop(t, l, func() { l.gate.fault, l.gate.busy, l.gate.mean = nil, false, time.Second })
	eventually(t, "a gate that is open again", func() bool {
		open := false
		onLoop(t, l, func() { open = l.gate.open })
		return open
	})
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
	tcp := listen(t, "tcp", "127.0.0.1:0")
	a, err := e.Serve(tcp, func(_ engine.Runtime, s engine.Stream, _ netip.AddrPort) { s.Write([]byte("x")); s.Close() })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	x := a.shares[0]
	refusals := 0
	onLoop(t, l, func() {
		l.poller.fault = func(op, fd int) error {
			if op == unix.EPOLL_CTL_ADD && fd == x.fd && refusals < 3 {
				refusals++
				return unix.ENOSPC
			}
			return nil
		}
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
	tcp := listen(t, "tcp", "127.0.0.1:0")
	a, err := e.Serve(tcp, func(_ engine.Runtime, s engine.Stream, _ netip.AddrPort) { s.Write([]byte("x")); s.Close() })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	first := true
	onLoop(t, l, func() {
		l.poller.fault = func(op, fd int) error {
			if op == unix.EPOLL_CTL_ADD && first {
				first = false
				return unix.ENOSPC
			}
			return nil
		}
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

// TestTheBellAddsOne in the machine's own order of bytes: in the other order it would add
// 2^56, and the 256th write would not succeed any more.
func TestTheBellAddsOne(t *testing.T) {
	if n := binary.NativeEndian.Uint64(bellRings[:]); n != 1 {
		t.Errorf("it adds %d", n)
	}
	e := startEngine(t, 1)
	for range 1000 { // each wakes a loop that may sleep
		onLoop(t, e.loops[0], func() {})
	}
}

// TestTheQueueOfSignaturesIsBounded: a flood of handshakes neither fills the memory nor has
// those wait that cannot be done in time.
func TestTheQueueOfSignaturesIsBounded(t *testing.T) {
	e := startEngine(t, 1)
	h := &e.helpers
	release := make(chan struct{})
	for i := range h.most + queueMost {
		if !h.give(e, func() { <-release }) {
			// The helpers may not have taken theirs yet.
			if i < queueMost {
				t.Fatalf("the queue is full with %d", i)
			}
			eventually(t, "helpers at work", func() bool { return h.give(e, func() { <-release }) })
		}
	}
	before := h.refused.Load()
	got := make(chan error, 1)
	if err := e.Start(0, func() { got <- e.loops[0].compute(func() {}) }); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, engine.ErrExhausted) {
		t.Errorf("with a full queue: %v", err)
	}
	if n := h.refused.Load() - before; n != 1 {
		t.Errorf("%d refusals were counted", n)
	}
	close(release)
	eventually(t, "an empty queue", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.queue) == 0 && h.busy == 0
	})
	if err := e.Start(0, func() { got <- e.loops[0].compute(func() {}) }); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
