package record

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/trace"
)

// TestARecordBecomesAnExchange: every field arrives, and longer texts are cut.
func TestARecordBecomesAnExchange(t *testing.T) {
	end := time.Date(2027, 1, 31, 12, 0, 1, 0, time.UTC)
	s := NewSink(2)
	s.Clock, s.Format = func() time.Time { return end }, CompileSpans(&config.Tracing{})
	x := Exchange{Trace: new(Trace),
		Client: netip.MustParseAddr("10.0.0.1"), Method: []byte("GET"), Host: []byte("example.com"),
		Path: []byte("/a/b"), Query: []byte("page=2&token=x"), ID: []byte("id-1"), Protocol: "HTTP/1.1", Scheme: "https",
		TraceID: [16]byte{1}, Duration: time.Second, Service: "web", RouteName: "r", Generation: 7,
		Span: &Span{
			ID: [8]byte{2}, Parent: [8]byte{3}, Flags: 1, State: []byte("a=1"), Agent: []byte("curl"), Client: []byte("192.0.2.1"),
			Sent: []byte("/b"), Pattern: "/a/**", Policy: "p2c",
		},
	}
	x.Status, x.Reason, x.BytesIn, x.BytesOut = 502, "endpoint-reset", 3, 4
	x.Add(&Attempt{Scheme: "http", Address: "10.1.0.1:80", Zone: "z", Status: 200, Reason: "endpoint-reset", Start: 1, Time: 2, Head: 3, Span: [8]byte{4}})
	s.Put(&x)
	want := trace.Exchange{
		TraceID: [16]byte{1}, SpanID: [8]byte{2}, Parent: [8]byte{3}, Flags: 1, State: "a=1", RequestID: "id-1",
		Began: end.Add(-time.Second), Duration: time.Second, Peer: x.Client, Client: "192.0.2.1", Protocol: "HTTP/1.1", Scheme: "https",
		Method: "GET", Host: "example.com", Path: "/a/b", Query: "page=…&token=…", Agent: "curl",
		Status: 502, Reason: "endpoint-reset", BytesIn: 3, BytesOut: 4, Generation: 7,
		Service: "web", Policy: "p2c", RouteName: "r", Pattern: "/a/**", Sent: "/b",
		Attempts: []trace.Attempt{{SpanID: [8]byte{4}, Scheme: "http", Address: "10.1.0.1:80", Zone: "z", Status: 200, Reason: "endpoint-reset", Start: 1, Duration: 2, Head: 3}},
	}
	got := s.Spans(nil, 10)
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	x.Path, x.Span.Sent = bytes.Repeat([]byte("x"), 5000), nil
	s.Put(&x)
	if got := s.Spans(nil, 10); len(got) != 1 || len(got[0].Path) != PathBytesMax || got[0].Sent != "" || got[0].Agent != "curl" {
		t.Errorf("long: %+v", got)
	}
}

// TestRulesOfSpans: what is sampled is kept, and what a rule names.
func TestRulesOfSpans(t *testing.T) {
	for _, test := range []struct {
		always   string
		status   int
		reason   string
		attempts int
		took     time.Duration
		want     bool
	}{
		{"error", 200, "", 1, 0, false},
		{"error", 500, "", 1, 0, true},
		{"error", 503, "no-endpoint", 0, 0, true},
		{"error", 404, "no-route", 0, 0, false},
		{"error", 0, "client-gone", 1, 0, true},
		{"error", 200, "endpoint-reset", 1, 0, true},
		{"error", 101, "tunnel-idle", 1, 0, false},
		{"failed", 404, "no-route", 0, 0, true},
		{"404", 404, "no-route", 0, 0, true},
		{"retried", 200, "", 2, 0, true},
		{"retried", 200, "", 1, 0, false},
		{"slower 1s", 200, "", 1, time.Second, false},
		{"slower 1s", 200, "", 1, time.Second + 1, true},
	} {
		s := NewSink(2)
		s.Format = CompileSpans(&config.Tracing{Always: []string{test.always}})
		var x Trace
		x.Status, x.Reason = test.status, test.reason
		for range test.attempts {
			x.Add(&Attempt{})
		}
		if got := s.KeepsSpans(0, &x, test.took); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
		if !s.KeepsSpans(1, &x, test.took) {
			t.Errorf("%+v: sampled, and not kept", test)
		}
	}
	if (*Sink)(nil).KeepsSpans(1, new(Trace), 0) {
		t.Error("a nil Sink keeps spans")
	}
}
