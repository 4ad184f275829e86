package front

// The latest events in words, for people that were not there when they happened.

import (
	"sync"

	"github.com/poise-lb/poise/internal/event"
)

// eventsKept is how many are kept.
const eventsKept = 1024

// A chronicle keeps the latest events. Any goroutine may read it.
type chronicle struct {
	mu   sync.Mutex
	all  []event.Entry // in order; the last eventsKept of them count
	more chan struct{} // closed at the next event; made by the first that asks for it
}

// Observe implements event.Observer.
func (c *chronicle) Observe(e event.Event) {
	entry, ok := event.Describe(e)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 2*eventsKept { // not one by one: an outage has thousands at once
		c.all = append(c.all[:0], c.all[eventsKept:]...)
	}
	c.all = append(c.all, entry)
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
}

// after returns a copy of the events with a higher number than seq, and a channel that is closed
// at the next one.
func (c *chronicle) after(seq uint64) ([]event.Entry, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, oldest := len(c.all), max(0, len(c.all)-eventsKept)
	for i > oldest && c.all[i-1].Seq > seq {
		i--
	}
	if c.more == nil {
		c.more = make(chan struct{})
	}
	return append([]event.Entry(nil), c.all[i:]...), c.more
}

// Events returns the events that are kept and have a higher number than seq, and a channel that is
// closed when there is another.
func (srv *Server) Events(seq uint64) ([]event.Entry, <-chan struct{}) { return srv.events.after(seq) }
