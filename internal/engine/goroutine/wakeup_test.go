package goroutine

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
)

// TestASetIsHandedOver: to the goroutine that waits longest.
func TestASetIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := New()
		defer rt.Close()
		e := rt.NewWakeup()
		var mu sync.Mutex
		var order []int
		for i := range 4 {
			rt.Start(func() {
				var by time.Duration
				if i == 2 {
					by = rt.Now() + time.Second // it leaves the middle of the list
				}
				if err := e.Wait(by); (err != nil) != (i == 2) {
					t.Errorf("task %d: %v", i, err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait() // it waits
		}
		time.Sleep(2 * time.Second)
		for range 3 {
			e.Set()
			synctest.Wait()
		}
		if want := []int{2, 0, 1, 3}; !slices.Equal(order, want) {
			t.Errorf("woken in the order %v, not %v", order, want)
		}
	})
}

// TestCloseWaitsForWhatItsTasksStart: a task that finds the runtime stopped may start one
// more, and Close waits for that too.
func TestCloseWaitsForWhatItsTasksStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := New()
		ended := 0
		rt.Start(func() {
			if err := rt.NewWakeup().Wait(0); err != engine.ErrStopping {
				t.Errorf("Wait: %v", err)
			}
			rt.Start(func() {
				time.Sleep(time.Minute) // what no Close can end
				ended++
			})
		})
		synctest.Wait()
		rt.Close()
		if ended != 1 {
			t.Error("Close has not waited")
		}
	})
}

// TestAPanicOfAStartedTaskIsLogged, with its stack.
func TestAPanicOfAStartedTaskIsLogged(t *testing.T) {
	rt := New()
	var log bytes.Buffer
	rt.Log = slog.New(slog.NewTextHandler(&log, nil))
	rt.Start(panicOnPurpose)
	rt.Close()
	if !strings.Contains(log.String(), "panicOnPurpose") {
		t.Errorf("the log: %s", log.String())
	}
}

func panicOnPurpose() { panic("on purpose") }

// TestMustHold, in builds that look for it.
func TestMustHold(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	rt := New()
	defer rt.Close()
	defer func() {
		if recover() == nil {
			t.Error("a lock that is not held was taken for one that is")
		}
	}()
	rt.NewLock().MustHold()
}
