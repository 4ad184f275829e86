package sched

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
	"github.com/poise-lb/poise/internal/testlog"
)

// TestAWakeupWakesInTheSameTurn: the task that is woken runs before the loop looks at its
// sockets again, and by a Signal, which goes through the mailbox, in the next turn.
func TestAWakeupWakesInTheSameTurn(t *testing.T) {
	e := startGroup(t, 1)
	l := e.loops[0]
	play(t, e, 0, func() {
		wakeup, signal := l.NewWakeup(), l.NewSignal()
		for name, wake := range map[string]struct {
			set   func()
			wait  func()
			later uint32
		}{
			"wakeup": {wakeup.Set, func() { wakeup.Wait(0) }, 0},
			"signal": {signal.Set, func() { signal.Wait(0) }, 1},
		} {
			var set, woken uint32
			waits := l.Fork(func() { wake.wait(); woken = l.turns })
			l.Fork(func() { set = l.turns; wake.set() }).Wait()
			waits.Wait()
			if woken-set != wake.later {
				t.Errorf("%s: woken %d turns later, not %d", name, woken-set, wake.later)
			}
		}
	})
}

// TestASetIsHandedOver: to the task that waits longest, and not to one that waits later but
// runs sooner.
func TestASetIsHandedOver(t *testing.T) {
	e := startGroup(t, 1)
	l := e.loops[0]
	play(t, e, 0, func() {
		wakeup := l.NewWakeup()
		var order []int
		var joins []engine.Join
		for i := range 4 {
			joins = append(joins, l.Fork(func() {
				var by time.Duration
				if i == 2 {
					by = l.now + time.Millisecond // it leaves the middle of the list
				}
				if wakeup.Wait(by) == nil {
					order = append(order, i)
				}
			}))
		}
		joins[2].Wait()
		wakeup.Set()
		if err := wakeup.Wait(l.now + 1); err != engine.ErrTimeout {
			t.Errorf("the Set of another task was taken: %v", err)
		}
		wakeup.Set()
		wakeup.Set()
		for _, i := range []int{0, 1, 3} {
			joins[i].Wait()
		}
		if want := []int{0, 1, 3}; !slices.Equal(order, want) {
			t.Errorf("woken in the order %v, not %v", order, want)
		}
	})
}

// TestNothingIsLeftOfWaits: timers stay set behind waits, and end with their tasks.
func TestNothingIsLeftOfWaits(t *testing.T) {
	e := startGroup(t, 1)
	l := e.loops[0]
	play(t, e, 0, func() {
		wakeup, signal := l.NewWakeup(), l.NewSignal()
		for i := range 50 {
			j := l.Fork(func() {
				wakeup.Wait(l.now + time.Hour)
				signal.Wait(0)
			})
			l.Sleep(l.now + time.Duration(i%3))
			wakeup.Set()
			signal.Set()
			j.Wait()
		}
		if n := len(l.timers.heap); n > 1 {
			t.Errorf("%d timers are set, and one task is left", n)
		}
	})
}

// TestAPanicOfAStartedTaskIsLogged, with its stack.
func TestAPanicOfAStartedTaskIsLogged(t *testing.T) {
	e := startGroup(t, 1)
	var log testlog.Buffer
	e.Logger = func() *slog.Logger { return slog.New(slog.NewTextHandler(&log, nil)) }
	play(t, e, 0, func() { e.loops[0].Start(panicOnPurpose) })
	eventually(t, "the panic in the log", func() bool { return strings.Contains(log.String(), "panicOnPurpose") })
}

// TestALockAcrossAWaitIsFound, in builds that look for it.
func TestALockAcrossAWaitIsFound(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	e := startGroup(t, 1)
	l := e.loops[0]
	for name, f := range map[string]func(engine.Lock){
		"a task waits while it holds a lock": func(k engine.Lock) { k.Lock(); l.Sleep(l.now + 1) },
		"a lock is taken that is held":       func(k engine.Lock) { k.Lock(); k.Lock() },
		//lint:ignore SA2001 the lock is given back so that MustHold fails
		"a lock is not held": func(k engine.Lock) { k.Lock(); k.Unlock(); k.MustHold() },
	} {
		play(t, e, 0, func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != "sched: "+name {
					t.Errorf("%s: %s", name, got)
				}
			}()
			f(l.NewLock())
		})
	}
}

// BenchmarkPingPong: two tasks of a loop wake each other; a round is two wake-ups and two
// waits. What waits with a deadline moves it every time, as content does.
func BenchmarkPingPong(b *testing.B) {
	for name, deadline := range map[string]time.Duration{"": 0, "ByADeadline": time.Minute} {
		b.Run("Wakeup"+name, func(b *testing.B) {
			pingPong(b, deadline, func(l *Loop) (func(), func(time.Duration)) {
				e := l.NewWakeup()
				return e.Set, func(by time.Duration) { e.Wait(by) }
			})
		})
		b.Run("Signal"+name, func(b *testing.B) {
			pingPong(b, deadline, func(l *Loop) (func(), func(time.Duration)) {
				g := l.NewSignal()
				return g.Set, func(by time.Duration) { g.Wait(by) }
			})
		})
	}
}

func pingPong(b *testing.B, deadline time.Duration, primitive func(*Loop) (set func(), wait func(time.Duration))) {
	e := startGroup(b, 1)
	l := e.loops[0]
	done := make(chan struct{})
	b.ReportAllocs()
	e.Start(0, func() {
		defer close(done)
		by := func() time.Duration {
			if deadline == 0 {
				return 0
			}
			return l.now + deadline
		}
		setPing, waitPing := primitive(l)
		setPong, waitPong := primitive(l)
		j := l.Fork(func() {
			for range b.N {
				waitPing(by())
				setPong()
			}
		})
		b.ResetTimer()
		for range b.N {
			setPing()
			waitPong(by())
		}
		j.Wait()
	})
	<-done
}

// BenchmarkStart: a task that is started, runs and ends.
func BenchmarkStart(b *testing.B) {
	e := startGroup(b, 1)
	l := e.loops[0]
	done := make(chan struct{})
	b.ReportAllocs()
	e.Start(0, func() {
		defer close(done)
		wakeup := l.NewWakeup()
		set := wakeup.Set
		for range b.N {
			l.Start(set)
			wakeup.Wait(0)
		}
	})
	<-done
}
