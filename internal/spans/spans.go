// Package spans hands the exchanges that are traced to an exporter. Exchanges leave records in a
// ring and never wait; one goroutine takes them out in batches and calls the exporter, which may
// take its time: what comes meanwhile waits in the ring, and what does not fit is lost and
// counted. So a receiver of spans that hangs or is gone costs spans, and nothing else.
package spans

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/trace"
)

// Spans is where the spans of a Proxy go through all its configurations. Its methods may be called
// by any goroutine; only Close waits.
type Spans struct {
	kind config.SpanKind // nil: the program makes no spans
	log  *slog.Logger

	mu      sync.Mutex // held for some instructions, and while kind opens an exporter
	current *sender    // nil: no spans are made
	old     []*sender  // replaced ones that have not ended yet
	sent    uint64     // spans of senders that have ended
	lost    uint64
	closed  bool
}

// New returns Spans that make none yet. What goes wrong is said to log, which must not wait.
func New(kind config.SpanKind, log *slog.Logger) *Spans { return &Spans{kind: kind, log: log} }

// Open is called with every configuration in force and returns where records go; nil: no spans are
// made. If anything of t is another one, a new exporter takes over, and records that were put
// before still go to the old one. The error is one of the configuration; then nothing changes.
func (s *Spans) Open(t *config.Tracing) (*record.Sink, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil
	}
	old := s.current
	if old != nil && reflect.DeepEqual(&old.conf, t) {
		return old.sink, nil
	}
	exporter, err := s.open(t)
	if err != nil {
		return nil, err
	}
	var next *sender
	if exporter != nil {
		next = newSender(t, exporter, s.log)
		go s.run(next)
	}
	s.current = next
	if old != nil {
		if next != nil {
			old.sink.ReplaceBy(next.sink)
		}
		s.old = append(s.old, old)
		old.ask(&old.retired)
	}
	if next == nil {
		return nil, nil
	}
	return next.sink, nil
}

// open makes the exporter that t asks for; nil: none.
func (s *Spans) open(t *config.Tracing) (trace.Exporter, error) {
	fails := func(path, format string, args ...any) (trace.Exporter, error) {
		return nil, config.NewErrors(config.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if s.kind == nil {
		if t.OTLP.Endpoint != "" {
			return fails("tracing.otlp", "this program sends no spans: give New Spans: tracing.OTLP(), of module github.com/poise-lb/poise/tracing, in its Config")
		}
		return nil, nil
	}
	exporter, err := s.kind.Open(*t, s.log)
	switch {
	case err != nil:
		return fails("tracing", "%v", err)
	case exporter == nil && (len(t.Always) > 0 || len(t.Resource) > 0):
		return fails("tracing.otlp", "is missing: without it no spans are made")
	}
	return exporter, nil
}

// run sends until d is not needed any more.
func (s *Spans) run(d *sender) {
	d.run()
	s.mu.Lock()
	s.sent += d.sink.Written()
	s.lost += d.sink.Dropped()
	s.old = slices.DeleteFunc(s.old, func(o *sender) bool { return o == d })
	if s.current == d {
		s.current = nil
	}
	s.mu.Unlock()
	if c, ok := d.exporter.(io.Closer); ok {
		c.Close()
	}
	close(d.ended)
}

// Counts are the spans that a receiver took, and those that were lost: the queue was full, or the
// receiver did not take them.
func (s *Spans) Counts() (sent, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, lost = s.sent, s.lost
	for _, d := range s.all() {
		sent += d.sink.Written()
		lost += d.sink.Dropped()
	}
	return sent, lost
}

// all are the senders that run. Called with mu held.
func (s *Spans) all() []*sender {
	all := slices.Clone(s.old)
	if s.current != nil {
		all = append(all, s.current)
	}
	return all
}

// closeFor bounds how long Close sends what is left: a receiver that is gone shall not hold up the
// end of the process.
const closeFor = 3 * time.Second

// Close sends what is left and ends. It waits until ctx is done, and for closeFor at the most: then
// the exporter is interrupted, and what is left is lost, which the log says. Open returns nil from
// then on.
func (s *Spans) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeFor)
	defer cancel()
	s.mu.Lock()
	s.closed = true
	all := s.all()
	s.mu.Unlock()
	for _, d := range all {
		d.ask(&d.stop)
	}
	for _, d := range all {
		d.end(ctx)
	}
	if _, lost := s.Counts(); lost > 0 {
		s.log.Warn("spans were lost", "spans", lost)
	}
}
