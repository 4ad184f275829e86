package virtual

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// TestASetIsHandedOver: to the task that waits longest, whichever task the world runs next.
func TestASetIsHandedOver(t *testing.T) {
	for seed := range uint64(20) {
		w := New(seed)
		rt := w.Runtime()
		w.Go("main", func() {
			e, done := rt.NewWakeup(), rt.NewWakeup()
			var order []int
			for i := range 4 {
				var by time.Duration
				if i == 2 {
					by = rt.Now() + time.Second // it leaves the middle of the list
				}
				rt.Start(func() {
					e.Wait(by)
					order = append(order, i)
					done.Set()
				})
				rt.Sleep(rt.Now() + 1) // it waits
			}
			done.Wait(0)
			for range 3 {
				e.Set()
				done.Wait(0)
			}
			if want := []int{2, 0, 1, 3}; !slices.Equal(order, want) {
				t.Errorf("seed %d: woken in the order %v, not %v", seed, order, want)
			}
		})
		if err := w.Run(); err != nil {
			t.Error(err)
		}
	}
}

// TestStopEndsStartedTasks, those that one of them starts meanwhile included.
func TestStopEndsStartedTasks(t *testing.T) {
	w := New(1)
	rt := w.Runtime()
	ended := 0
	wait := func() {
		if err := rt.NewWakeup().Wait(rt.Now() + time.Hour); !errors.Is(err, engine.ErrStopping) {
			t.Errorf("Wait: %v", err)
		}
		ended++
	}
	w.Go("main", func() {
		rt.Start(func() { wait(); rt.Start(wait) })
	})
	if err := w.RunFor(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if ended != 2 {
		t.Errorf("%d of 2 tasks have ended", ended)
	}
}

// TestRunNamesAStartedTaskThatIsStuck: no caller waits for it, and it is found.
func TestRunNamesAStartedTaskThatIsStuck(t *testing.T) {
	w := New(1)
	rt := w.Runtime()
	w.Go("main", func() { rt.Start(func() { rt.NewWakeup().Wait(0) }) })
	var stuck Stuck
	if err := w.Run(); !errors.As(err, &stuck) || !strings.Contains(err.Error(), "main/1 waits: wakeup") {
		t.Errorf("%v", err)
	}
}

// TestMistakesWithLocksAreFound: in this world always, whatever the build.
func TestMistakesWithLocksAreFound(t *testing.T) {
	for want, f := range map[string]func(rt engine.Runtime, k engine.Lock){
		"a task waits while it holds a lock": func(rt engine.Runtime, k engine.Lock) { k.Lock(); rt.Sleep(rt.Now() + 1) },
		"a lock is taken that is held":       func(_ engine.Runtime, k engine.Lock) { k.Lock(); k.Lock() },
		"a lock is not held":                 func(_ engine.Runtime, k engine.Lock) { k.Unlock() },
	} {
		w := New(1)
		rt := w.Runtime()
		w.Go("main", func() { f(rt, rt.NewLock()) })
		if err := w.Run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
