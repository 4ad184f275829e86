package poise

import (
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/poise-lb/poise/internal/record"
)

// accessLog owns the file of the access log and the goroutine that writes it.
type accessLog struct {
	log  *slog.Logger
	wake chan struct{}
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	sink   *record.Sink // nil until there is a file; lives on, so that exchanges under an older table can use it
	path   string
	out    io.Writer
	file   *os.File // to be closed; nil for standard output
	failed bool     // the last write failed, and that was said
}

func newAccessLog(log *slog.Logger) *accessLog {
	return &accessLog{log: log, wake: make(chan struct{}, 1), stop: make(chan struct{})}
}

// open is called with every configuration; it opens the file again, so that a log that
// was moved away is continued in a new one. It returns where records go: nil, if there is
// no access log.
func (a *accessLog) open(c AccessLog) *record.Sink {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.file
	a.path, a.out, a.file = c.Path, nil, nil
	switch c.Path {
	case "":
	case "-":
		a.out = os.Stdout
	default:
		f, err := os.OpenFile(c.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			a.log.Error("access log cannot be opened", "path", c.Path, "error", err)
		} else {
			a.out, a.file = f, f
		}
	}
	if old != nil {
		old.Close()
	}
	if a.out == nil {
		return nil
	}
	if a.sink == nil {
		a.begin(c.Buffer)
	}
	return a.sink
}

// begin makes the ring, whose size then stays, and starts the goroutine that empties it.
func (a *accessLog) begin(buffer int) {
	a.sink = record.NewSink(buffer)
	a.sink.Wake = func() {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	a.done.Go(func() { a.run(a.sink) })
}

func (a *accessLog) run(sink *record.Sink) {
	for {
		a.drain()
		if !sink.Park() {
			continue
		}
		select {
		case <-a.wake:
		case <-a.stop:
			a.drain()
			return
		}
	}
}

func (a *accessLog) drain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.out
	if out == nil {
		out = io.Discard
	}
	_, err := a.sink.Drain(out)
	if err != nil && !a.failed {
		a.log.Error("access log cannot be written, lines are lost", "path", a.path, "error", err)
	}
	a.failed = err != nil
}

// close writes what is left and closes the file.
func (a *accessLog) close() {
	close(a.stop)
	a.done.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != nil {
		a.file.Close()
	}
	if n := a.sink.Dropped(); n > 0 {
		a.log.Warn("access log has lost lines", "lines", n)
	}
}
