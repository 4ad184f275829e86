package sched

// What a loop measures of itself, for metrics: how long it has waited for events, and how long
// events may have waited for it. With two requests in one turn and a pause after them:
//
//	look       events of two sockets          lag 0.1 ms: the turn before took so long
//	turn       both are served, 0.05 ms
//	look       nothing there                  lag 0.05 ms
//	sleep      3 ms until the next event      waited 3 ms more
//
// A lag of many milliseconds means that some task kept the loop, and all its connections waited.

import (
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/record"
)

// measures are written by the loop, once or twice a turn, and read by any goroutine.
type measures struct {
	started time.Duration // instant
	looked  time.Duration // instant at which events were fetched last; the loop's own

	// waited is the time spent waiting for events, in nanoseconds. While the loop waits it is
	// that less the instant at which the wait began, which is negative: so it takes one number
	// to know both, and what readers see never goes back.
	waited atomic.Int64

	lag record.Histogram
}

// look notes that events were fetched at the instant now without waiting.
func (m *measures) look(now time.Duration) {
	m.lag.Add(now - m.looked)
	m.looked = now
}

// sleep notes that a wait begins, and wake that it is over.
func (m *measures) sleep(now time.Duration) { m.waited.Store(m.waited.Load() - int64(now)) }
func (m *measures) wake(now time.Duration) {
	m.waited.Store(m.waited.Load() + int64(now))
	m.looked = now
}

// Busy is how long the loop has not waited since it began. Any goroutine may call it.
func (l *Loop) Busy() time.Duration {
	waited := time.Duration(l.measures.waited.Load())
	now := time.Since(l.group.epoch)
	if waited < 0 {
		waited += now
	}
	return max(now-l.measures.started-waited, 0)
}

// Lag is how long events waited at most until they were fetched. Any goroutine may call it.
func (l *Loop) Lag() *record.Histogram { return &l.measures.lag }
