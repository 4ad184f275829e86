package sched

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNapsEndInTime: a loop that is busy keeps the time like any other.
func TestNapsEndInTime(t *testing.T) {
	e := startGroup(t, 1)
	l := e.loops[0]
	took := make(chan time.Duration)
	if err := e.Start(0, func() {
		least := time.Hour
		for range 10 {
			l.gate.busy, l.gate.mean = true, 0
			began := time.Now()
			l.Sleep(l.Now() + 2*time.Millisecond)
			least = min(least, time.Since(began))
		}
		took <- least
	}); err != nil {
		t.Fatal(err)
	}
	if d := <-took; d < 2*time.Millisecond || d >= napMax {
		t.Errorf("a sleep of 2ms took %v at best", d)
	}
}

// TestTheGateFollowsTheLoad: Go's poller sees the events of a loop that has nothing to do,
// and not those of one whose waits are short, unless goroutines are expected to have work.
func TestTheGateFollowsTheLoad(t *testing.T) {
	e := startGroup(t, 1)
	l := e.loops[0]
	open := make(chan bool)
	// after says how the gate is when the loop has waited in that state.
	after := func(mean, crowded time.Duration) bool {
		if err := e.Start(0, func() {
			l.gate.busy, l.gate.mean = mean < longMin, mean
			l.gate.crowdedUntil = l.now + crowded
			l.Sleep(l.Now() + 200*time.Microsecond)
			open <- l.gate.open
		}); err != nil {
			t.Fatal(err)
		}
		return <-open
	}
	for range 3 {
		if after(0, 0) {
			t.Error("open though the loop is busy")
		}
		if !after(time.Second, 0) {
			t.Error("shut though the loop has nothing to do")
		}
		after(0, 0)
		if !after(0, time.Hour) {
			t.Error("shut though goroutines have work")
		}
	}
}

// TestAGateThatCannotBeOpened: a loop whose epoll instance cannot be watched by Go's poller
// still notices messages, timers and descriptors; and uses Go's poller again when it can.
func TestAGateThatCannotBeOpened(t *testing.T) {
	e := startGroup(t, 1)
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
	onLoop(t, l, func() {}) // a message arrives
	slept := make(chan struct{})
	if err := e.Start(0, func() { l.Sleep(l.Now() + 30*time.Millisecond); close(slept) }); err != nil {
		t.Fatal(err)
	}
	within(t, slept, "a sleep of 30ms")
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer closeFD(fds[0])
	defer closeFD(fds[1])
	readable := make(chan struct{})
	onLoop(t, l, func() {
		if _, err := l.Register(fds[0], unix.EPOLLIN|unix.EPOLLET, signalled(readable)); err != nil {
			t.Error(err)
		}
	})
	unix.Write(fds[1], []byte("x"))
	within(t, readable, "an event of a pipe")
	onLoop(t, l, func() { l.gate.fault, l.gate.busy, l.gate.mean = nil, false, time.Second })
	eventually(t, "a gate that is open again", func() bool {
		open := false
		onLoop(t, l, func() { open = l.gate.open })
		return open
	})
}

// signalled is a source that closes the channel at its first event.
type signalled chan struct{}

func (s signalled) Event(uint32) {
	select {
	case <-s: // the pipe's other end may be reported by itself
	default:
		close(s)
	}
}
func (s signalled) Stop() {}
func (s signalled) End()  {}
