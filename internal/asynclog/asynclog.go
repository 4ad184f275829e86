// Package asynclog makes a slog.Handler that never makes its caller wait. A log is written
// to a pipe, a terminal or a disk, and each of them may stall: a task that logged would
// then stand still, and with it a health check, a reload or the end of the process. Here
// the caller leaves the record in a bounded queue, and one goroutine writes. What does not
// fit is dropped and counted, and the log says so as soon as it can be written again.
package asynclog

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// queueLines is how many records may wait for the writer.
const queueLines = 1024

// A Handler passes records to another handler on a goroutine of its own. It keeps their
// order and their time. Values that change after the call are written as they are then.
type Handler struct {
	inner slog.Handler
	*queue
}

// queue is what a Handler shares with those that With made of it.
type queue struct {
	lines chan line
	lost  atomic.Uint64 // since the last line that said so
	all   atomic.Uint64

	mu     sync.RWMutex // guards closed; held for no longer than a send that does not wait
	closed bool
	ended  chan struct{} // closed when the goroutine has returned
}

// line is a record and where it goes.
type line struct {
	to     slog.Handler
	record slog.Record
	ctx    context.Context
}

// New starts a Handler in front of inner, whose Enabled must not wait. Close ends it.
func New(inner slog.Handler) *Handler {
	q := &queue{lines: make(chan line, queueLines), ended: make(chan struct{})}
	go q.run(inner)
	return &Handler{inner: inner, queue: q}
}

// Is reports whether h is a Handler of this package, which needs no other in front.
func Is(h slog.Handler) bool {
	_, is := h.(*Handler)
	return is
}

// Enabled asks the handler behind.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// WithAttrs returns a Handler with the same queue.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{inner: h.inner.WithAttrs(attrs), queue: h.queue}
}

// WithGroup returns a Handler with the same queue.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{inner: h.inner.WithGroup(name), queue: h.queue}
}

// Handle queues the record, or drops it where the queue is full or closed. It never waits
// and never fails.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.closed {
		select {
		case h.lines <- line{to: h.inner, record: r.Clone(), ctx: context.WithoutCancel(ctx)}:
			return nil
		default:
		}
	}
	h.lost.Add(1)
	h.all.Add(1)
	return nil
}

// Lost is how many records were dropped so far. Any goroutine may ask.
func (h *Handler) Lost() uint64 { return h.all.Load() }

// Close writes what is queued and ends the goroutine. It waits for that until ctx is done
// at most and reports whether it was so; else the goroutine is left behind, in the write
// that does not end. Records that come later are dropped. It may be called more than once.
func (h *Handler) Close(ctx context.Context) bool {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.lines)
	}
	h.mu.Unlock()
	select {
	case <-h.ended:
		return true
	case <-ctx.Done():
		return false
	}
}

// run writes until the queue is closed and empty.
func (q *queue) run(inner slog.Handler) {
	defer close(q.ended)
	for l := range q.lines {
		q.write(l.to, l.ctx, l.record)
		if n := q.lost.Swap(0); n > 0 {
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped: they came faster than the log was written", 0)
			r.AddAttrs(slog.Uint64("lines", n))
			q.write(inner, context.Background(), r)
		}
	}
}

// write outlives a handler that panics, which costs that record.
func (q *queue) write(to slog.Handler, ctx context.Context, r slog.Record) {
	defer func() {
		if recover() != nil {
			q.lost.Add(1)
			q.all.Add(1)
		}
	}()
	_ = to.Handle(ctx, r)
}
