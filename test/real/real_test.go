package real

import (
	"testing"
	"time"
)

// TestRealInput plays one story from the start of poise to its end. Its steps stand on
// each other: the whole world is the same for all, as it would be in a day of work.
func TestRealInput(t *testing.T) {
	if testing.Short() {
		t.Skip("real programs take a minute")
	}
	began := time.Now()
	w := newWorld(t)
	step := func(name string, f func(*testing.T)) {
		if !t.Failed() {
			t.Run(name, f)
		}
	}
	step("routing", w.routing)
	step("tls", w.secure)
	step("shares", w.shares)
	step("timeout", w.timeout)
	step("keys", w.keys)
	step("list", w.list)
	home := func(*testing.T) {}
	step("flap", func(t *testing.T) { home = w.flap(t) })
	// The breaker keeps c out for a while; other things can happen meanwhile.
	step("outage", w.outage)
	step("probes", w.probes)
	step("home", func(t *testing.T) { home(t) })
	step("reload", w.reload)
	step("mistake", w.mistake)
	step("certificate", w.certificate)
	step("end", w.end)
	t.Logf("took %.0f s", time.Since(began).Seconds())
}
