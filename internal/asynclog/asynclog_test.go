package asynclog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stalled is a writer that waits until it is let go.
type stalled struct {
	bytes.Buffer
	entered chan struct{}
	release chan struct{}
}

func (s *stalled) Write(p []byte) (int, error) {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.release
	return s.Buffer.Write(p)
}

// TestCallersNeverWait: a log that is not written takes what fits, drops the rest, and says
// how much that was once it can be written again.
func TestCallersNeverWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stalled{entered: make(chan struct{}, 1), release: make(chan struct{})}
		h := New(slog.NewTextHandler(w, nil))
		log := slog.New(h).With("service", "web")
		if !Is(log.Handler()) || Is(slog.DiscardHandler) {
			t.Error("Is does not know its own")
		}
		log.Info("first")
		<-w.entered
		for i := range queueLines + 7 {
			log.Info("line", "i", i)
		}
		if h.Lost() != 7 {
			t.Errorf("lost %d, want 7", h.Lost())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if h.Close(ctx) {
			t.Error("Close says that everything was written")
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close took %v, want 1 s", took)
		}
		log.Info("too late")
		close(w.release)
		if !h.Close(t.Context()) {
			t.Error("a second Close does not wait for the end")
		}
		text := w.String()
		for _, want := range []string{"msg=first service=web", "msg=line service=web i=0\n", fmt.Sprintf("i=%d\n", queueLines-1), "lines=8"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q", want)
			}
		}
		if strings.Contains(text, "too late") || strings.Contains(text, fmt.Sprintf("i=%d\n", queueLines)) {
			t.Error("a line that was dropped was written")
		}
	})
}

type panicking struct{ slog.Handler }

func (panicking) Enabled(context.Context, slog.Level) bool  { return true }
func (panicking) Handle(context.Context, slog.Record) error { panic("handler") }
func (p panicking) WithAttrs([]slog.Attr) slog.Handler      { return p }

// TestPanickingHandler: a handler that panics costs its record and nothing else.
func TestPanickingHandler(t *testing.T) {
	h := New(panicking{})
	slog.New(h).Info("x")
	if !h.Close(t.Context()) || h.Lost() == 0 {
		t.Error("a panic was not survived, or not counted")
	}
}
