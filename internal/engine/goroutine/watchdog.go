package goroutine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// watchEvery is how often waiting clients are looked at. A goroutine that waits for an
// endpoint cannot wait for its client too; rather than give every connection a second
// goroutine, one looks at those that have waited for a whole tick. An exchange that is
// answered within a tick pays two uncontended locks for it.
const watchEvery = 50 * time.Millisecond

// patient is the number of ticks after which a client is looked at every fifth tick only.
const patient = 20

type watchdog struct {
	tick atomic.Uint32
	done chan struct{}

	mu      sync.Mutex
	clients []*stream // that have ever been watched and are not closed
}

// watched is a client's part: what is interrupted when it leaves.
type watched struct {
	mu    sync.Mutex
	up    engine.Interrupter
	since uint32 // tick of begin
	reset bool   // up waits for a reset, not for a FIN
	place int    // 1 + index in watchdog.clients; 0: not there; guarded by watchdog.mu
	known atomic.Bool
}

func (d *watchdog) run(stop <-chan struct{}) {
	defer close(d.done)
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			d.look(d.tick.Add(1))
		}
	}
}

func (d *watchdog) look(tick uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, c := range d.clients {
		c.watched.look(c, tick, uint32(i))
	}
}

func (w *watched) look(c *stream, tick, i uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	age := tick - w.since
	if w.up == nil || age < 2 || (age > patient && (tick+i)%5 != 0) {
		return
	}
	if c.gone(w.reset) {
		w.up.Interrupt(engine.ErrClientGone)
		w.up = nil
	}
}

func (d *watchdog) begin(c *stream, up engine.Interrupter, reset bool) {
	if c.raw == nil {
		return
	}
	w := &c.watched
	if !w.known.Load() {
		d.learn(c)
	}
	w.mu.Lock()
	w.up, w.since, w.reset = up, d.tick.Load(), reset
	w.mu.Unlock()
	if e := c.broken.Load(); e != nil { // looked at after up is set: pass sees the one or we the other
		w.pass(*e)
	}
}

// pass hands an interrupt of the client on.
func (w *watched) pass(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up != nil {
		w.up.Interrupt(err)
		w.up = nil
	}
}

func (w *watched) end() {
	w.mu.Lock()
	w.up = nil
	w.mu.Unlock()
}

func (d *watchdog) learn(c *stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clients = append(d.clients, c)
	c.watched.place = len(d.clients)
	c.watched.known.Store(true)
}

func (d *watchdog) forget(c *stream) {
	if !c.watched.known.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := c.watched.place - 1
	if i < 0 {
		return
	}
	last := d.clients[len(d.clients)-1]
	d.clients[i] = last
	last.watched.place = i + 1
	d.clients[len(d.clients)-1] = nil
	d.clients = d.clients[:len(d.clients)-1]
	c.watched.place = 0
}

// gone reports whether the peer has ended its side, or, with reset, has broken both.
func (s *stream) gone(reset bool) bool {
	gone := false
	err := s.raw.Control(func(fd uintptr) { gone = peerGone(fd, reset) })
	return gone || err != nil
}
