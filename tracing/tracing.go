// Package tracing makes spans of OpenTelemetry of the exchanges that a proxy has traced, and sends
// them to a receiver by OTLP over HTTP. It is a module of its own, for the programs that want it:
//
//	proxy, err := poise.New(poise.Config{
//		Spans:   tracing.OTLP(),
//		Tracing: poise.Tracing{OTLP: poise.OTLP{Endpoint: "http://127.0.0.1:4318"}, Sample: "1%"},
//		// ...
//	})
//
// Batches, the queue, and what is counted as lost are the proxy's; here is what a batch becomes
// (spans.go, wire.go), how it is sent (this file), and to which receiver (sender.go).
package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/yield"
	"github.com/poise-lb/poise/trace"
)

// OTLP is the kind of exporters that Config.Spans takes. They send to Tracing.OTLP.Endpoint, and
// nothing while that is empty.
func OTLP() config.SpanKind { return kind{} }

type kind struct{}

// Open implements config.SpanKind.
func (kind) Open(t config.Tracing, log *slog.Logger) (trace.Exporter, error) {
	if t.OTLP.Endpoint == "" {
		return nil, nil
	}
	return newExporter(t, log)
}

const (
	retryFor    = 30 * time.Second // how long a batch is tried again
	pauseFirst  = time.Second      // before the second try; later ones double
	pauseMax    = 10 * time.Second
	responseMax = 64 << 10 // bytes of a response that are read
)

// An exporter sends batches to one receiver. One goroutine calls its methods.
type exporter struct {
	url      string
	headers  map[string]string
	resource *resource
	sender   *sender
	log      *slog.Logger

	waiting bool         // the latest try failed, which the log has said
	raw     message      // of the latest request, for its room
	packed  bytes.Buffer // of the request under way
	zip     *gzip.Writer
}

func newExporter(t config.Tracing, log *slog.Logger) (*exporter, error) {
	u, err := t.OTLP.URL()
	if err != nil {
		return nil, fmt.Errorf("otlp.endpoint: %w", err)
	}
	s, err := newSender(&t.OTLP, log)
	if err != nil {
		return nil, err
	}
	zip, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return &exporter{url: u.String(), headers: t.OTLP.Headers, resource: newResource(t), sender: s, log: log, zip: zip}, nil
}

// Close implements io.Closer.
func (e *exporter) Close() error {
	e.sender.close()
	return nil
}

// Export implements trace.Exporter. A batch that the receiver cannot take now is sent again, for
// retryFor at most.
func (e *exporter) Export(ctx context.Context, batch []trace.Exchange) (lost int, err error) {
	spans := 0
	for i := range batch {
		spans += batch[i].Spans()
	}
	body, err := e.pack(batch)
	if err != nil {
		return spans, err
	}
	end := time.Now().Add(retryFor)
	for pause := pauseFirst; ; pause = min(2*pause, pauseMax) {
		rejected, again, err := e.post(ctx, body)
		if err == nil || again < 0 {
			e.waiting = false
			if rejected < 0 {
				rejected = spans
			}
			return rejected, err
		}
		if !e.waiting { // at once: the batch is given up only half a minute later
			e.log.Warn("spans wait: the receiver cannot take them now", "error", err)
			e.waiting = true
		}
		if again == 0 {
			again = pause/2 + rand.N(pause/2) // so that many proxies do not come at once
		}
		if time.Now().Add(again).After(end) {
			return spans, err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return spans, err
		}
	}
}

// turnBytes is how much is encoded or compressed before requests have a turn, in a fraction of a
// millisecond. A batch takes several.
const turnBytes = 64 << 10

// pack makes the content of a request.
func (e *exporter) pack(batch []trace.Exchange) ([]byte, error) {
	turn := yield.Begin(turnBytes)
	defer turn.End()
	e.raw = e.resource.request(e.raw[:0], batch, turn)
	e.packed.Reset()
	e.zip.Reset(&e.packed)
	for piece := range slices.Chunk(e.raw, turnBytes) {
		if _, err := e.zip.Write(piece); err != nil {
			return nil, err
		}
		turn.Did(len(piece))
	}
	if err := e.zip.Close(); err != nil {
		return nil, err
	}
	return e.packed.Bytes(), nil
}

// post sends a request once. rejected is how many spans the receiver did not take; -1: none was
// taken. again is how long to wait before the next try; 0: as long as the caller thinks right;
// below 0: there is to be none.
func (e *exporter) post(ctx context.Context, body []byte) (rejected int, again time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return -1, -1, err
	}
	req.Header.Set("User-Agent", "poise")
	for name, value := range e.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := e.sender.client.Load().Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return -1, -1, err
		}
		return -1, 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, responseMax))
	switch {
	case resp.StatusCode/100 == 2 && err == nil:
		rejected, err = partial(answer)
		return rejected, -1, err
	case resp.StatusCode/100 == 2:
		return 0, -1, nil // the spans were taken; what it had to say of them is lost
	}
	err = fmt.Errorf("%s answers %s%s", e.url, resp.Status, quoted(answer))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return -1, retryAfter(resp.Header.Get("Retry-After"), time.Now()), err
	}
	return -1, -1, err
}

// partial reads the answer of a receiver that has taken a batch, perhaps not all of it.
func partial(answer []byte) (rejected int, err error) {
	var r collector.ExportTraceServiceResponse
	if proto.Unmarshal(answer, &r) != nil {
		return 0, nil // some answer {} although they were asked in protobuf
	}
	p := r.GetPartialSuccess()
	if n := p.GetRejectedSpans(); n > 0 {
		return int(n), errors.New("the receiver rejected some spans: " + p.GetErrorMessage())
	}
	return 0, nil
}

// quoted is the beginning of an answer, if it is text.
func quoted(answer []byte) string {
	answer = answer[:min(len(answer), 200)]
	for _, c := range answer {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c > '~' {
			return ""
		}
	}
	if len(answer) == 0 {
		return ""
	}
	return fmt.Sprintf(": %q", bytes.TrimSpace(answer))
}

// retryAfter reads the field of that name: seconds, or a date. 0: it says nothing.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(v); err == nil && n >= 0 {
		return max(time.Duration(n)*time.Second, time.Millisecond)
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), time.Millisecond)
	}
	return 0
}
