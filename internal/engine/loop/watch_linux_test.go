package loop

import (
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// TestWatchNamesWhoBlocksALoop, whether by computing or by waiting in the wrong way, and
// nobody else.
func TestWatchNamesWhoBlocksALoop(t *testing.T) {
	e := startEngine(t, 2)
	blocks := make(chan Block, 100)
	e.Watch(100*time.Millisecond, func(b Block) { blocks <- b })
	rt := e.Runtime(1)
	for range 20 {
		play(t, e, 1, func() { rt.Sleep(rt.Now() + 5*time.Millisecond) })
	}
	never := make(chan struct{})
	for name, block := range map[string]func(){
		"computesForLong": func() { computesForLong(never) },
		"waitsForAChannel": func() {
			waitsForAChannel(never)
		},
	} {
		done := make(chan struct{})
		if err := e.Start(1, func() { defer close(done); block() }); err != nil {
			t.Fatal(err)
		}
		for found := false; !found; {
			select {
			case b := <-blocks:
				// A machine that is busy enough makes others look guilty.
				if found = strings.Contains(b.Stack, name); found && (b.Worker != 1 || b.For < 100*time.Millisecond) {
					t.Errorf("%+v", b)
				}
			case <-time.After(patience):
				t.Fatalf("%s was not found", name)
			}
		}
		never <- struct{}{}
		<-done
	}
}

func computesForLong(until chan struct{}) {
	for {
		select {
		case <-until:
			return
		//lint:ignore SA5004 it is to compute and not to wait
		default:
		}
	}
}

func waitsForAChannel(until chan struct{}) { <-until }

// TestWaitsAreNoBlocks: every way to wait that the contract knows lets others run.
func TestWaitsAreNoBlocks(t *testing.T) {
	e := startEngine(t, 1)
	blocks := make(chan Block, 100)
	e.Watch(time.Second, func(b Block) { blocks <- b })
	rt := e.Runtime(0)
	l := listen(t, "tcp", "127.0.0.1:0")
	defer l.Close()
	const long = 1500 * time.Millisecond
	play(t, e, 0, func() {
		s, err := rt.Dial(&engine.Dial{Network: "tcp", Address: l.Addr().String()})
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		by := rt.Now() + long
		s.SetReadDeadline(by)
		s.SetWriteDeadline(by)
		joins := []engine.Join{
			rt.Fork(func() { s.Read(make([]byte, 1)) }),
			rt.Fork(func() { s.Write(make([]byte, 64<<20)) }),
			rt.Fork(func() { rt.NewSignal().Wait(by) }),
			rt.Fork(func() { rt.Do(func() { time.Sleep(long) }) }),
		}
		rt.Sleep(by)
		for _, j := range joins {
			j.Wait()
		}
	})
	select {
	case b := <-blocks:
		t.Errorf("loop %d was blocked for %v:\n%s", b.Worker, b.For, b.Stack)
	default:
	}
}
