package real

import (
	"testing"
	"time"
)

// A step is a part of a story.
type step struct {
	name string
	play func(*testing.T)
}

// tell plays one story from the start of poise to its end. Its steps stand on each other:
// the whole world is the same for all, as it would be in a day of work.
func tell(t *testing.T, engine string, steps func(*world) []step) {
	if testing.Short() {
		t.Skip("real programs take a minute")
	}
	began := time.Now()
	for _, s := range steps(newWorld(t, engine)) {
		if !t.Run(s.name, s.play) {
			break
		}
	}
	t.Logf("took %.0f s", time.Since(began).Seconds())
}

// TestRealInput is everything, on the engine that is the default.
func TestRealInput(t *testing.T) {
	tell(t, "auto", func(w *world) []step {
		var home func(*testing.T)
		return []step{
			{"routing", w.routing},
			{"tls", w.secure},
			{"shares", w.shares},
			{"timeout", w.timeout},
			{"keys", w.keys},
			{"list", w.list},
			{"flap", func(t *testing.T) { home = w.flap(t) }},
			// The breaker keeps c out for a while; other things can happen meanwhile.
			{"outage", w.outage},
			{"probes", w.probes},
			{"home", func(t *testing.T) { home(t) }},
			{"reload", w.reload},
			{"mistake", w.mistake},
			{"certificate", w.certificate},
			{"end", w.end},
		}
	})
}

// TestOnNetHTTP is what an engine has a part in, on the other one: net/http reads and
// writes what clients see.
func TestOnNetHTTP(t *testing.T) {
	tell(t, "std", func(w *world) []step {
		return []step{
			{"routing", w.routing},
			{"tls", w.secure},
			{"outage", w.outage},
			{"reload", w.reload},
			{"certificate", w.certificate},
			{"end", w.end},
		}
	})
}
