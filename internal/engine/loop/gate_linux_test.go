package loop

import (
	"testing"
	"time"
)

// TestNapsEndInTime: a loop that is busy keeps the time like any other.
func TestNapsEndInTime(t *testing.T) {
	e := startEngine(t, 1)
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
	e := startEngine(t, 1)
	l := e.loops[0]
	open := make(chan bool)
	// after says how the gate is when the loop has waited in that state.
	after := func(mean, polite time.Duration) bool {
		if err := e.Start(0, func() {
			l.gate.busy, l.gate.mean = mean < longMin, mean
			l.gate.polite = l.now + polite
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
