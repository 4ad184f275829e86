package front

import (
	"errors"
	"testing"

	"github.com/poise-lb/poise/internal/event"
)

// However many events there were, the latest 1,024 are kept, in order and each once.
func TestTheLatestEventsAreKept(t *testing.T) {
	var c chronicle
	for seq := uint64(1); seq <= 5*eventsKept+7; seq++ {
		c.Observe(event.Event{Seq: seq, Detail: event.ConfigRefused{Err: errors.New("no")}})
		all, _ := c.after(0)
		want := min(seq, eventsKept)
		if uint64(len(all)) != want || all[0].Seq != seq-want+1 || all[want-1].Seq != seq {
			t.Fatalf("after %d events %d are kept", seq, len(all))
		}
	}
	if some, _ := c.after(5 * eventsKept); len(some) != 7 {
		t.Errorf("%d events, want 7", len(some))
	}
}
