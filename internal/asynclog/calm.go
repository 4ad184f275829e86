package asynclog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A calmHandler is the embedder's slog.Handler with its panics recovered: the tasks that
// keep services, sources and connections write the log, and none of them may end by it. The
// panic itself goes to standard error, at most once a minute, since the log is what failed.
type calmHandler struct {
	slog.Handler
	last *atomic.Int64 // when a panic was written, in Unix seconds
}

// Calm returns a handler that does what h does and does not panic.
func Calm(h slog.Handler) slog.Handler {
	return calmHandler{h, new(atomic.Int64)}
}

// Enabled is false if the handler cannot say.
func (h calmHandler) Enabled(ctx context.Context, level slog.Level) bool {
	defer h.recover()
	return h.Handler.Enabled(ctx, level)
}

// Handle loses the record if the handler panics.
func (h calmHandler) Handle(ctx context.Context, r slog.Record) error {
	defer h.recover()
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is the handler without attrs if it panics over them.
func (h calmHandler) WithAttrs(attrs []slog.Attr) (out slog.Handler) {
	out = h
	defer h.recover()
	return calmHandler{h.Handler.WithAttrs(attrs), h.last}
}

// WithGroup is the handler without the group if it panics over it.
func (h calmHandler) WithGroup(name string) (out slog.Handler) {
	out = h
	defer h.recover()
	return calmHandler{h.Handler.WithGroup(name), h.last}
}

// recover ends a panic. It is called by a defer statement and by nothing else.
func (h calmHandler) recover() {
	p := recover()
	if p == nil {
		return
	}
	now, last := time.Now().Unix(), h.last.Load() // of the wall clock, which may be set back
	if (now < last || now-last >= 60) && h.last.CompareAndSwap(last, now) {
		fmt.Fprintf(os.Stderr, "poise: the log handler panicked: %v\n%s", p, debug.Stack())
	}
}
