package exchange

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// life ends a tunnel that is silent for too long. It costs a tunnel that is not next to
// nothing: bytes only note when they moved. The deadlines of the two reads are moved on when
// they have come, to what counts by then, and no task waits for them. A nil *life lets a
// tunnel live for ever.
type life struct {
	rt     engine.Runtime
	most   time.Duration
	moved  atomic.Int64 // the instant of the latest bytes
	ended  atomic.Bool
	client engine.Stream
	server engine.Stream
}

func newLife(rt engine.Runtime, most time.Duration, client, server engine.Stream) *life {
	l := &life{rt: rt, most: most, client: client, server: server}
	now := rt.Now()
	l.moved.Store(int64(now))
	client.SetReadDeadline(now + most)
	server.SetReadDeadline(now + most)
	return l
}

// moving notes that bytes are about to be written to dst, which is to take them in time: one
// that takes nothing would block the tunnel for ever.
func (l *life) moving(dst engine.Stream) {
	if l == nil {
		return
	}
	now := l.rt.Now()
	l.moved.Store(int64(now))
	dst.SetWriteDeadline(now + l.most)
}

// goesOn is asked when the time to read from src is over. If bytes have moved meanwhile, in
// either direction, src gets more time; otherwise the tunnel ends.
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

// blocked is told why a write failed.
func (l *life) blocked(err error) {
	if l != nil && errors.Is(err, engine.ErrTimeout) {
		l.end()
	}
}

func (l *life) end() {
	l.ended.Store(true)
	l.client.Interrupt(engine.ErrTimeout)
	l.server.Interrupt(engine.ErrTimeout)
}

// over reports whether the tunnel ended by its silence.
func (l *life) over() bool { return l != nil && l.ended.Load() }
