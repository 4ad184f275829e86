package exchange

// The idle limit of a tunnel (timeouts.tunnel). A timer per direction that is set anew for each
// piece of data would cost a busy tunnel two timer updates per piece. Instead data only notes the
// time, and an expired read decides whether the tunnel was silent:
//
//	limit 60 s
//	  0 s   both reads get the deadline 60
//	 50 s   data from the client: moved = 50
//	 60 s   the reads expire; 50 + 60 > 60, so their deadline becomes 110
//	110 s   a read expires; nothing has moved since 50: the tunnel ends
//
// No task exists for this: the two directions of tunnel.go call it.

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// life ends a tunnel in which nothing has moved for most. A nil *life is valid and sets no
// limit. Both directions of the tunnel use it, which may be two tasks.
type life struct {
	rt     engine.Runtime
	most   time.Duration // the limit, above 0
	moved  atomic.Int64  // instant at which data moved last, in either direction
	ended  atomic.Bool
	client engine.Stream
	server engine.Stream
}

// newLife starts the limit: it sets the read deadlines of both streams.
func newLife(rt engine.Runtime, most time.Duration, client, server engine.Stream) *life {
	l := &life{rt: rt, most: most, client: client, server: server}
	now := rt.Now()
	l.moved.Store(int64(now))
	client.SetReadDeadline(now + most)
	server.SetReadDeadline(now + most)
	return l
}

// moving notes that data is about to be written to dst, and sets the deadline of that write: a
// peer that reads nothing would block the tunnel for ever.
func (l *life) moving(dst engine.Stream) {
	if l == nil {
		return
	}
	now := l.rt.Now()
	l.moved.Store(int64(now))
	dst.SetWriteDeadline(now + l.most)
}

// goesOn is called when a read from src has expired. If data has moved meanwhile, in either
// direction, it sets a new deadline and returns true. Otherwise it ends the tunnel.
func (l *life) goesOn(src engine.Stream) bool {
	if l == nil {
		return false
	}
	by := time.Duration(l.moved.Load()) + l.most
	if l.rt.Now() < by {
		src.SetReadDeadline(by)
		return true
	}
	l.end()
	return false
}

// blocked ends the tunnel if err, the error of a write, is an expired deadline.
func (l *life) blocked(err error) {
	if l != nil && errors.Is(err, engine.ErrTimeout) {
		l.end()
	}
}

// end interrupts both streams. It may be called more than once.
func (l *life) end() {
	l.ended.Store(true)
	l.client.Interrupt(engine.ErrTimeout)
	l.server.Interrupt(engine.ErrTimeout)
}

// over reports whether the idle limit ended the tunnel.
func (l *life) over() bool { return l != nil && l.ended.Load() }
