package sched

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// patience is how long is waited for what takes a moment.
const patience = 30 * time.Second

// startGroup starts n loops, which end with the test.
func startGroup(t testing.TB, n int) *Group {
	t.Helper()
	g := NewGroup(time.Now().Add(-time.Second), 0)
	g.Logger = func() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
	for range n {
		if err := g.Add(&Loop{}); err != nil {
			t.Fatal(err)
		}
	}
	g.Run()
	t.Cleanup(g.Close)
	return g
}

// play runs f as a task of loop i and waits for it.
func play(t testing.TB, g *Group, i int, f func()) {
	t.Helper()
	done := make(chan struct{})
	if err := g.Start(i, func() { defer close(done); f() }); err != nil {
		t.Error(err)
		return
	}
	<-done
}

// onLoop runs f as a message to loop l and waits for it.
func onLoop(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(MessageFunc(func() { f(); close(done) })) {
		t.Fatal("the loop has ended")
	}
	within(t, done, "a message")
}

func within(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: not done in time", what)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not seen", what)
		}
	}
}

func panicOnPurpose() { panic("on purpose") }

// TestTheClockRunsWhileTheLoopWaits: for goroutines that are no tasks.
func TestTheClockRunsWhileTheLoopWaits(t *testing.T) {
	e := startGroup(t, 1)
	rt := e.loops[0]
	play(t, e, 0, func() {})
	eventually(t, "an idle loop", func() bool { return e.loops[0].clock.Load() == 0 })
	first, began := rt.Now(), time.Now()
	time.Sleep(20 * time.Millisecond)
	if passed := rt.Now() - first; passed < 20*time.Millisecond || passed > time.Since(began)+time.Second {
		t.Errorf("%v passed in 20ms", passed)
	}
}

// TestAWakeUpAddsOne in the machine's own order of bytes: in the other order it would add
// 2^56, and the 256th write would not succeed any more.
func TestAWakeUpAddsOne(t *testing.T) {
	if n := binary.NativeEndian.Uint64(wakeUp[:]); n != 1 {
		t.Errorf("it adds %d", n)
	}
	e := startGroup(t, 1)
	for range 1000 { // each wakes a loop that may sleep
		onLoop(t, e.loops[0], func() {})
	}
}

// TestTheQueueOfComputationsIsBounded: a flood of handshakes neither fills the memory nor has
// those wait that cannot be done in time.
func TestTheQueueOfComputationsIsBounded(t *testing.T) {
	e := startGroup(t, 1)
	h := &e.pool
	release := make(chan struct{})
	for i := range h.most + queueMost {
		if !h.give(&e.side, func() { <-release }) {
			// The goroutines may not have taken theirs yet.
			if i < queueMost {
				t.Fatalf("the queue is full with %d", i)
			}
			eventually(t, "goroutines at work", func() bool { return h.give(&e.side, func() { <-release }) })
		}
	}
	before := h.refused.Load()
	got := make(chan error, 1)
	if err := e.Start(0, func() { got <- e.loops[0].Compute(func() {}) }); err != nil {
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
	if err := e.Start(0, func() { got <- e.loops[0].Compute(func() {}) }); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestHeavyStepsTakeTurns: between two looks at what has happened only some are taken,
// in the order in which they came.
func TestHeavyStepsTakeTurns(t *testing.T) {
	e := startGroup(t, 1)
	l := e.loops[0]
	play(t, e, 0, func() {
		var order []int
		var joins []engine.Join
		const many = 5*HeavyMost + 1
		for i := range many {
			joins = append(joins, l.Fork(func() {
				l.Heavy()
				order = append(order, i)
			}))
		}
		for last, turns := 0, 0; len(order) < many; turns++ {
			if len(order)-last > HeavyMost {
				t.Errorf("%d in one turn", len(order)-last)
			}
			if turns > 2*many {
				t.Fatal("they do not go on")
			}
			last = len(order)
			l.Pause()
		}
		for _, j := range joins {
			j.Wait()
		}
		if !slices.IsSorted(order) {
			t.Errorf("order %v", order)
		}
	})
}

// BenchmarkSwitch is a task that lets others run, and is resumed.
func BenchmarkSwitch(b *testing.B) {
	e := startGroup(b, 1)
	done := make(chan struct{})
	b.ReportAllocs()
	e.Start(0, func() {
		defer close(done)
		for b.Loop() {
			e.loops[0].Pause()
		}
	})
	<-done
}
