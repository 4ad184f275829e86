package script

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/trace"
)

// traced plays RE: it waits for the oldest exchange of which spans are made and that was not asked
// about yet, and demands that the regular expression matches its line, all of it.
func (p *play) traced(words []string) error {
	if len(words) != 1 {
		return errors.New("want: traced RE")
	}
	re, err := regexp.Compile("^(?:" + words[0] + ")$")
	if err != nil {
		return err
	}
	var line string
	if !sleepUntil(p.stage, p.patience, func() (found bool) {
		line, _, found = strings.Cut(p.spans.text()[p.spansRead:], "\n")
		return found
	}) {
		return errors.New("no further exchange was traced")
	}
	p.spansRead += len(line) + 1
	if !re.MatchString(line) {
		return fmt.Errorf("the line is %s", line)
	}
	return nil
}

// tracedLine is what scripts see of an exchange:
//
//	GET /a/** 200 - trace T parent P flags 1, 503 status, 200 -
func tracedLine(x *trace.Exchange) string {
	dash := func(text string) string {
		if text == "" {
			return "-"
		}
		return text
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %d %s trace %x parent %x flags %d", x.Method, dash(x.Pattern), x.Status, dash(x.Reason), x.TraceID, x.Parent, x.Flags)
	for _, a := range x.Attempts {
		fmt.Fprintf(&b, ", %d %s", a.Status, dash(a.Reason))
	}
	return b.String() + "\n"
}

// spanLog has the lines of what was exported so far. It is the exporter of its own kind, for
// configurations that have an endpoint for spans; nothing is sent there.
type spanLog struct {
	mu    sync.Mutex
	lines strings.Builder
	rings []*record.Sink // of a stage without goroutines: records stay there until text looks
}

// Open implements config.SpanKind.
func (l *spanLog) Open(t config.Tracing, _ *slog.Logger) (trace.Exporter, error) {
	if t.OTLP.Endpoint == "" {
		return nil, nil
	}
	return l, nil
}

// Export implements trace.Exporter.
func (l *spanLog) Export(_ context.Context, batch []trace.Exchange) (lost int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		l.lines.WriteString(tracedLine(&batch[i]))
	}
	return 0, nil
}

// ring is the Spans of core.Options.
func (l *spanLog) ring(t *config.Tracing) (*record.Sink, error) {
	if t.OTLP.Endpoint == "" {
		return nil, nil
	}
	s := record.NewSink(t.Queue)
	s.Format = record.CompileSpans(t)
	l.rings = append(l.rings, s)
	return s, nil
}

func (l *spanLog) text() string {
	for _, r := range l.rings {
		l.Export(context.Background(), r.Spans(nil, 1000))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}
