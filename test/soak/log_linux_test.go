package soak

import (
	"context"
	"log/slog"
	"strings"
	"sync"
)

// A log gets what the proxy logs: its errors are failures, what else it says is counted,
// and the last of it is shown with a failure.
type log struct {
	soak   *soak
	mu     sync.Mutex
	recent [40]string
	next   int
}

// blocked is what a build with invariants says of a loop that waits for its turn on the
// processor, too: a busy machine is no failure.
const blocked = "a task blocks its event loop"

func (l *log) Enabled(context.Context, slog.Level) bool { return true }
func (l *log) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *log) WithGroup(string) slog.Handler            { return l }

func (l *log) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	l.recent[l.next%len(l.recent)] = r.Time.Format("15:04:05.000 ") + line
	l.next++
	l.mu.Unlock()
	switch {
	case r.Message == blocked:
		l.soak.met.add("loops that waited for their turn")
	case r.Level >= slog.LevelError:
		l.soak.fail("the proxy says: %s", line)
	}
	return nil
}

// last is what was said last.
func (l *log) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for i := range l.recent {
		if line := l.recent[(l.next+i)%len(l.recent)]; line != "" {
			b.WriteString("\n    " + line)
		}
	}
	return b.String()
}
