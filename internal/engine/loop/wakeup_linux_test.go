package loop

import "testing"

// TestWakeupsDoNotKeepTheLoopFromItsSockets: two tasks wake each other for as long as a
// connection is served beside them.
func TestWakeupsDoNotKeepTheLoopFromItsSockets(t *testing.T) {
	e := startEngine(t, 1)
	l := e.loops[0]
	over := false
	done := make(chan struct{})
	if err := e.Start(0, func() {
		ping, pong := l.NewWakeup(), l.NewWakeup()
		j := l.Fork(func() {
			for ping.Wait(0) == nil && !over {
				pong.Set()
			}
			pong.Set()
		})
		for !over {
			ping.Set()
			pong.Wait(0)
		}
		ping.Set()
		j.Wait()
		close(done)
	}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, serveOn(t, e, echo))
	for range 100 {
		ask(t, c, "beside")
	}
	e.Start(0, func() { over = true })
	<-done
}
