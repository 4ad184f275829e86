package h2

// The connections of one worker to an endpoint, and the calls that wait for one:
//
//	a call comes      the connection with the fewest calls carries it. If that has half of what
//	                  it may have, another connection is opened meanwhile
//	none has room     the call waits: for a new connection, of which one at a time is opened, or
//	                  for the end of another call. connect_timeout bounds the wait
//	GOAWAY, age       the connection leaves the list, its calls go on, the last one ends it
//
// The lock is held for some instructions. What it guards is used by tasks of the worker, and by
// others that look for idle connections. Order of locks: list.mu, then that of a mux.Conn.

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// A list is the connections of one worker to the endpoint.
type list struct {
	mu      sync.Mutex
	open    []*conn       // those that may take calls
	many    atomic.Int32  // len(open)
	born    uint64        // connections opened so far
	dialing *dialing      // the connection being opened; nil: none is
	waiting []*waiter     // the longest first
	calm    time.Duration // instant until which no connection is opened ahead, since one has failed
	_       [32]byte
}

// A dialing is a connection that is being opened.
type dialing struct {
	over bool
	err  error // once it is over; nil: it is in the list
}

// A waiter is a call that waits. Each has a Wakeup, so that a wake-up reaches the one that it is
// for.
type waiter struct {
	wake engine.Wakeup
	dial *dialing // that was under way when it began to wait; nil: none
}

// take returns the connection that has the fewest calls, if that has room, and counts a call
// there; nil: there is none. after is the number that connections must exceed. busy: it is worth
// opening another connection. The lock is held.
func (l *list) take(p *Pool, rt engine.Runtime, t *target, after uint64) (best *conn, busy bool) {
	now, room := rt.Now(), 0
	for i := 0; i < len(l.open); i++ {
		c := l.open[i]
		n := min(t.Streams-c.calls, c.mux.Room())
		switch {
		case n <= 0 && c.mux.Draining(), c.tired(t, now):
			l.retire(c)
			i--
		case n > 0 && c.number > after && (best == nil || c.calls < best.calls):
			best, room = c, n
		}
	}
	if best == nil {
		return nil, true
	}
	busy = 2*best.calls >= best.calls+room
	if best.calls == 0 {
		p.idle.Add(-1)
	}
	best.calls++
	best.begun++
	return best, busy
}

// tired reports whether c is to take no further call: its endpoint was told other limits, it is old,
// or it has had its number of calls.
func (c *conn) tired(t *target, now time.Duration) bool {
	return c.made.TLS != t.TLS || c.made.Limits != t.Limits || c.until != 0 && now >= c.until || t.Requests > 0 && c.begun >= t.Requests
}

// add puts a connection into the list. The lock is held.
func (l *list) add(c *conn) {
	l.open = append(l.open, c)
	l.many.Store(int32(len(l.open)))
	c.pool.idle.Add(1)
}

// remove takes c out of the list, if it is there. The lock is held.
func (l *list) remove(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	if i := slices.Index(l.open, c); i >= 0 {
		l.open = slices.Delete(l.open, i, i+1)
		l.many.Store(int32(len(l.open)))
		if c.calls == 0 {
			c.pool.idle.Add(-1)
		}
	}
}

// retire takes c out of the list, and has it end with its last call. A task of the worker calls
// it. The lock is held.
func (l *list) retire(c *conn) {
	l.remove(c)
	c.mux.Leave()
}

// release ends a call of c, which has closed its stream.
func (c *conn) release() {
	l, p := c.list, c.pool
	l.mu.Lock()
	defer l.mu.Unlock()
	c.calls--
	if c.calls == 0 && !c.gone {
		idle := p.idle.Add(1)
		if t := p.current.Load(); p.closed.Load() || idle > int64(t.MaxIdle) || c.tired(t, c.rt.Now()) {
			l.retire(c)
		}
	}
	l.wakeOne()
}

// roomier is called when frames have come: the endpoint may take more calls than before.
func (c *conn) roomier() {
	l := c.list
	if l == nil {
		return
	}
	l.mu.Lock()
	if len(l.waiting) > 0 && !c.gone && c.mux.Room() > 0 {
		l.wakeOne()
	}
	l.mu.Unlock()
}

// wakeOne wakes the call that waits longest. The lock is held.
func (l *list) wakeOne() {
	if len(l.waiting) > 0 {
		w := l.waiting[0]
		l.waiting = slices.Delete(l.waiting, 0, 1)
		w.wake.Set()
	}
}

// wakeAll wakes all calls. The lock is held.
func (l *list) wakeAll() {
	for len(l.waiting) > 0 {
		l.wakeOne()
	}
}

// wait waits to be woken, until by. The lock is held, and let go of meanwhile.
func (l *list) wait(w *waiter, by time.Duration) error {
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	err := w.wake.Wait(by)
	l.mu.Lock()
	if err == nil {
		return nil
	}
	if i := slices.Index(l.waiting, w); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	} else {
		l.wakeOne() // it was woken too late: the next one goes on
	}
	return err
}
