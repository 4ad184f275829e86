package tracing

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/yield"
	"github.com/poise-lb/poise/trace"
)

// A receiver takes OTLP as the specification says, and keeps what came.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	requests []*collector.ExportTraceServiceRequest
	headers  []http.Header
	answers  []func(w http.ResponseWriter) // of the next requests; then all are taken
}

func newReceiver(t *testing.T, answers ...func(w http.ResponseWriter)) *receiver {
	r := &receiver{t: t, answers: answers}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/x-protobuf" || q.Header.Get("Content-Encoding") != "gzip" {
		r.t.Errorf("%s %s with %v", q.Method, q.URL, q.Header)
	}
	zip, err := gzip.NewReader(q.Body)
	if err != nil {
		r.t.Error(err)
		return
	}
	raw, err := io.ReadAll(zip)
	message := new(collector.ExportTraceServiceRequest)
	if err == nil {
		err = proto.Unmarshal(raw, message)
	}
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) > 0 {
		answer := r.answers[0]
		r.answers = r.answers[1:]
		answer(w)
		return
	}
	r.requests = append(r.requests, message)
	r.headers = append(r.headers, q.Header.Clone())
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// spans are all that came, in their order.
func (r *receiver) spans() (all []*tracev1.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.requests {
		for _, rs := range q.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				all = append(all, ss.Spans...)
			}
		}
	}
	return all
}

func refusal(code int, field, value string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if field != "" {
			w.Header().Set(field, value)
		}
		http.Error(w, "no", code)
	}
}

// attribute is the text of an attribute; "": there is none.
func attribute(list []*common.KeyValue, key string) string {
	for _, kv := range list {
		if kv.Key == key {
			if v, ok := kv.Value.Value.(*common.AnyValue_IntValue); ok {
				return strconv.FormatInt(v.IntValue, 10)
			}
			return kv.Value.GetStringValue()
		}
	}
	return ""
}

// check compares attributes with want, in which "" says that one is absent.
func check(t *testing.T, what string, list []*common.KeyValue, want map[string]string) {
	t.Helper()
	for key, v := range want {
		if got := attribute(list, key); got != v {
			t.Errorf("%s: %s is %q, want %q", what, key, got, v)
		}
	}
}

// TestAProxySendsItsSpans: a request that is retried, from a client to the receiver.
func TestAProxySendsItsSpans(t *testing.T) {
	r := newReceiver(t)
	var parents []string
	var mu sync.Mutex
	handler := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		parents = append(parents, q.Header.Get("Traceparent"))
		if len(parents) == 1 {
			w.WriteHeader(503)
		}
	})
	a, b := httptest.NewServer(handler), httptest.NewServer(handler)
	defer a.Close()
	defer b.Close()
	p, err := poise.New(poise.Config{
		Spans: OTLP(), Logger: slog.New(slog.DiscardHandler),
		Tracing: poise.Tracing{
			OTLP:   poise.OTLP{Endpoint: r.URL, Headers: map[string]string{"X-Token": "t"}},
			Sample: "0%", Always: []string{"retried"}, Resource: map[string]string{"deployment.environment.name": "test"},
		},
		RequestID: poise.RequestID{Field: "X-Request-Id"},
		Services: map[string]poise.Service{"users": {
			Endpoints: []poise.Endpoint{{URL: a.URL}, {URL: b.URL}},
			Retry:     poise.Retry{On: []string{"503"}},
		}},
		Routes: []poise.Route{{Name: "api", Service: "users", Match: poise.Match{Path: "/api/users/**"}, Rewrite: poise.Rewrite{StripPrefix: "/api"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(p)
	defer front.Close()
	q, _ := http.NewRequest("GET", front.URL+"/api/users/42?token=secret", nil)
	q.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	q.Header.Set("Tracestate", "a=1")
	q.Header.Set("User-Agent", "test/1")
	for range 2 { // the second one is not retried, and not sampled
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("X-Request-Id") != "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Errorf("%s with %v", resp.Status, resp.Header)
		}
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	spans := r.spans()
	if len(spans) != 3 || len(parents) != 3 {
		t.Fatalf("%d spans, %d requests at the endpoint: %v", len(spans), len(parents), spans)
	}
	resource := r.requests[0].ResourceSpans[0].Resource.Attributes
	check(t, "resource", resource, map[string]string{"service.name": "poise", "deployment.environment.name": "test"})
	if r.headers[0].Get("X-Token") != "t" {
		t.Errorf("headers %v", r.headers[0])
	}
	server := spans[0]
	check(t, "server", server.Attributes, map[string]string{
		"http.request.method": "GET", "http.route": "/api/users/**", "http.response.status_code": "200", "url.path": "/api/users/42",
		"url.query": "token=…", "url.scheme": "http", "server.address": "127.0.0.1", "client.address": "127.0.0.1", "user_agent.original": "test/1",
		"network.protocol.version": "1.1", "poise.service": "users", "poise.policy": "least_time", "poise.route": "api",
		"poise.request_id": "4bf92f3577b34da6a3ce929d0e0e4736", "poise.generation": "1", "error.type": "",
	})
	if server.Name != "GET /api/users/**" || server.Kind != tracev1.Span_SPAN_KIND_SERVER || hex.EncodeToString(server.ParentSpanId) != "00f067aa0ba902b7" || server.TraceState != "a=1" || server.Status.GetCode() != 0 {
		t.Errorf("server %v", server)
	}
	for i, s := range spans[1:] {
		if want := "00-4bf92f3577b34da6a3ce929d0e0e4736-" + hex.EncodeToString(s.SpanId) + "-00"; parents[i] != want {
			t.Errorf("the endpoint was told %s, want %s", parents[i], want)
		}
		if string(s.ParentSpanId) != string(server.SpanId) || string(s.TraceId) != string(server.TraceId) || s.Kind != tracev1.Span_SPAN_KIND_CLIENT || s.Name != "GET" ||
			s.StartTimeUnixNano < server.StartTimeUnixNano || s.EndTimeUnixNano > server.EndTimeUnixNano {
			t.Errorf("attempt %d: %v", i, s)
		}
		url := "http://127.0.0.1:" + attribute(s.Attributes, "server.port") + "/users/42?token=…"
		check(t, "attempt", s.Attributes, map[string]string{
			"url.full": url, "server.address": "127.0.0.1", "http.response.status_code": []string{"503", "200"}[i],
			"http.request.resend_count": []string{"", "1"}[i], "error.type": []string{"503", ""}[i],
		})
		if failed := s.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR; failed != (i == 0) || s.Status.GetMessage() != "" {
			t.Errorf("attempt %d: status %v", i, s.Status)
		}
	}
}

func exporterTo(t *testing.T, url string) *exporter {
	t.Helper()
	e, err := newExporter(config.Tracing{OTLP: config.OTLP{Endpoint: url, Timeout: time.Minute}, ServiceName: "poise"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

var one = []trace.Exchange{{TraceID: [16]byte{1}, SpanID: [8]byte{2}, Method: "GET", Attempts: []trace.Attempt{{}}}}

// answering is a transport without a network: the clock of a bubble stands still while a socket is
// waited for.
type answering struct{ receiver *receiver }

func (a answering) RoundTrip(q *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	a.receiver.ServeHTTP(w, q)
	return w.Result(), nil
}

// TestABatchIsTriedAgain: after pauses of its own, or as the receiver says, and not for ever.
func TestABatchIsTriedAgain(t *testing.T) {
	for _, test := range []struct {
		name     string
		answers  []func(http.ResponseWriter)
		min, max time.Duration
		lost     int
		says     string
	}{
		{"twice busy", []func(http.ResponseWriter){refusal(503, "", ""), refusal(429, "", "")}, 1500 * time.Millisecond, 3 * time.Second, 0, ""},
		{"as it says", []func(http.ResponseWriter){refusal(503, "Retry-After", "7")}, 7 * time.Second, 7 * time.Second, 0, ""},
		{"too late", []func(http.ResponseWriter){refusal(503, "Retry-After", "60")}, 0, 0, 2, "503"},
		{"refused", []func(http.ResponseWriter){refusal(400, "", "")}, 0, 0, 2, `400 Bad Request: "no"`},
		{"moved", []func(http.ResponseWriter){refusal(302, "Location", "http://127.0.0.1:1/")}, 0, 0, 2, "302"},
		{"for ever", []func(http.ResponseWriter){
			refusal(502, "", ""), refusal(502, "", ""), refusal(502, "", ""), refusal(502, "", ""), refusal(502, "", ""), refusal(502, "", ""),
			refusal(502, "", ""), refusal(502, "", ""), refusal(502, "", ""), refusal(502, "", ""), refusal(502, "", ""), refusal(504, "", ""),
		}, 20 * time.Second, 30 * time.Second, 2, "502"},
		{"in part", []func(http.ResponseWriter){func(w http.ResponseWriter) {
			b, _ := proto.Marshal(&collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "too old"}})
			w.Write(b)
		}}, 0, 0, 1, "too old"},
		{"json", []func(http.ResponseWriter){func(w http.ResponseWriter) { io.WriteString(w, "{}") }}, 0, 0, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{t: t, answers: test.answers}
				e := exporterTo(t, "http://receiver.example")
				e.sender.client.Load().Transport = answering{r}
				began := time.Now()
				lost, err := e.Export(t.Context(), one)
				took := time.Since(began)
				if lost != test.lost || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
					t.Errorf("%d lost, error %v", lost, err)
				}
				if took < test.min || took > test.max {
					t.Errorf("took %s, want %s to %s", took, test.min, test.max)
				}
			})
		})
	}
}

// TestAnInterruptedExportReturns while it waits for the next try.
func TestAnInterruptedExportReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{t: t, answers: []func(http.ResponseWriter){refusal(503, "Retry-After", "20")}}
		e := exporterTo(t, "http://receiver.example")
		e.sender.client.Load().Transport = answering{r}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if lost, err := e.Export(ctx, one); lost != 2 || err == nil || time.Since(began) != time.Second {
			t.Errorf("%d lost, %v, after %s", lost, err, time.Since(began))
		}
	})
}

// TestAReceiverThatIsGone is an error that names it.
func TestAReceiverThatIsGone(t *testing.T) {
	r := newReceiver(t)
	url := r.URL
	r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if lost, err := exporterTo(t, url).Export(ctx, one); lost != 2 || err == nil || !strings.Contains(err.Error(), url) {
		t.Errorf("%d lost, %v", lost, err)
	}
}

// TestWhatClientsSendIsValidProtobuf: bytes that are no UTF-8, methods that are made up.
func TestWhatClientsSendIsValidProtobuf(t *testing.T) {
	r := newReceiver(t)
	x := trace.Exchange{
		TraceID: [16]byte{1}, SpanID: [8]byte{2}, State: "\xff", Method: "BR\xc3", Host: "\xfe:x", Path: "/\xff", Query: "\xff", Agent: "\x80",
		Peer: netip.MustParseAddr("::1"), Protocol: "HTTP/2.0", Status: 404, Reason: "no-route",
		Attempts: []trace.Attempt{{Scheme: "unix", Address: "/run/\xff"}, {Scheme: "https", Address: "[::1]:8443", Status: 404}},
	}
	if lost, err := exporterTo(t, r.URL).Export(t.Context(), []trace.Exchange{x}); lost != 0 || err != nil {
		t.Fatalf("%d lost, %v", lost, err)
	}
	s := r.spans()
	check(t, "server", s[0].Attributes, map[string]string{
		"http.request.method": "_OTHER", "url.path": "/\ufffd", "network.protocol.version": "2", "network.peer.address": "::1",
		"error.type": "no-route", "server.port": "",
	})
	check(t, "second attempt", s[2].Attributes, map[string]string{"server.address": "::1", "server.port": "8443", "error.type": "404"})
	if s[0].Name != "HTTP" || s[0].Status.GetCode() != 0 || s[2].Status.GetCode() != tracev1.Status_STATUS_CODE_ERROR || string(s[1].SpanId) == string(s[2].SpanId) {
		t.Errorf("%v", s)
	}
}

func TestOpen(t *testing.T) {
	if e, err := OTLP().Open(config.Tracing{}, nil); e != nil || err != nil {
		t.Errorf("without an endpoint: %v, %v", e, err)
	}
	tls := &config.SourceTLS{CA: "/does/not/exist"}
	if _, err := OTLP().Open(config.Tracing{OTLP: config.OTLP{Endpoint: "https://x", TLS: tls}}, nil); err == nil || !strings.Contains(err.Error(), "otlp.tls.ca") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "0": time.Millisecond, "3": 3 * time.Second,
		"Sun, 31 Jan 2027 12:00:05 GMT": 5 * time.Second, "Sun, 31 Jan 2027 11:00:00 GMT": time.Millisecond,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}

// TestASpanOfACallOfGRPC: its status decides, not that of HTTP.
func TestASpanOfACallOfGRPC(t *testing.T) {
	for code, failed := range map[int]bool{0: false, 5: false, 14: true} {
		s := serverOf(t, &trace.Exchange{Method: "POST", Status: 200, GRPC: &code})
		found := false
		for _, a := range s.Attributes {
			found = found || a.Key == "rpc.grpc.status_code" && a.Value.GetIntValue() == int64(code)
		}
		if !found || (s.Status != nil) != failed {
			t.Errorf("status %d: %v, %v", code, s.Attributes, s.Status)
		}
	}
	for _, a := range serverOf(t, &trace.Exchange{Method: "POST", Status: 200}).Attributes {
		if strings.HasPrefix(a.Key, "rpc.") {
			t.Errorf("a span of HTTP has %s", a.Key)
		}
	}
}

// serverOf is the span of an exchange as the generated code reads it.
func serverOf(t *testing.T, x *trace.Exchange) *tracev1.Span {
	t.Helper()
	var q collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(newResource(config.Tracing{}).request(nil, []trace.Exchange{*x}, yield.Begin(turnBytes)), &q); err != nil {
		t.Fatal(err)
	}
	return q.ResourceSpans[0].ScopeSpans[0].Spans[0]
}

// TestMessagesAreThoseOfProtobuf: the generated code reads every field, and writes as many bytes.
func TestMessagesAreThoseOfProtobuf(t *testing.T) {
	code := 14
	long := strings.Repeat("x", 300) // its size has two bytes
	full := trace.Exchange{
		TraceID: [16]byte{1}, SpanID: [8]byte{2}, Parent: [8]byte{3}, Flags: 3, State: "a=1", RequestID: long, Began: time.Unix(1e9, 1), Duration: time.Second,
		Peer: netip.MustParseAddr("::1"), Client: "10.0.0.1", Protocol: "HTTP/2.0", Scheme: "https", Method: "BREW", Host: "[::1]:8443", Path: "/\xff",
		Query: "a=1", Agent: "curl", Status: 503, Reason: "endpoint-reset", BytesIn: 1 << 40, Service: "web", Policy: "p2c", RouteName: "r", Pattern: "/**",
		Sent: "/" + long, Generation: 300, GRPC: &code,
		Attempts: []trace.Attempt{
			{Scheme: "http", Address: "10.1.0.1:80", Zone: "z", Status: 200, Start: 1, Duration: 2, Head: 3 * time.Microsecond, SpanID: [8]byte{4}},
			{Scheme: "unix", Address: "/run/x", Status: 503, Reason: "status"},
		},
	}
	for _, batch := range [][]trace.Exchange{nil, {{}}, {full}, {full, {}, full}} {
		raw := newResource(config.Tracing{ServiceName: "shop", Resource: map[string]string{"service.version": "7", "team": "a"}}).request(nil, batch, yield.Begin(turnBytes))
		var q collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(raw, &q); err != nil {
			t.Fatal(err)
		}
		again, err := proto.Marshal(&q)
		if err != nil || len(again) != len(raw) || len(q.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%d exchanges: %d bytes, written again %d, %v", len(batch), len(raw), len(again), err)
		}
		group := q.ResourceSpans[0]
		check(t, "resource", group.Resource.Attributes, map[string]string{"service.name": "shop", "service.version": "7", "team": "a"})
		spans := 0
		for i := range batch {
			spans += batch[i].Spans()
		}
		if scope := group.ScopeSpans[0]; len(scope.Spans) != spans || scope.Scope.Name == "" || scope.SchemaUrl != schema || group.SchemaUrl != schema {
			t.Errorf("%d spans of %d: %v", len(scope.Spans), spans, scope.Scope)
		}
		if len(batch) == 0 || len(batch[0].Attempts) == 0 {
			continue
		}
		server, client := group.ScopeSpans[0].Spans[0], group.ScopeSpans[0].Spans[1]
		if server.Flags != 0x303 || client.Flags != 0x103 || server.Kind != tracev1.Span_SPAN_KIND_SERVER || client.Kind != tracev1.Span_SPAN_KIND_CLIENT ||
			server.EndTimeUnixNano-server.StartTimeUnixNano != 1e9 || server.Status.Code != tracev1.Status_STATUS_CODE_ERROR || client.Status != nil ||
			string(client.ParentSpanId) != string(server.SpanId) || server.ParentSpanId[0] != 3 || server.TraceState != "a=1" || server.Name != "HTTP /**" {
			t.Errorf("%v\n%v", server, client)
		}
		check(t, "server", server.Attributes, map[string]string{"url.path": "/\ufffd", "poise.request_id": long, "http.request.body.size": "1099511627776", "rpc.grpc.status_code": "14"})
	}
}
