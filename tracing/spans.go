package tracing

// What an exchange becomes: the server's span, and a client's span below it for each attempt.
// Names of attributes are those of OpenTelemetry's conventions for HTTP, version 1.37; what has no
// convention begins with poise.

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/slim/otlp/trace/v1"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/front"
	"github.com/poise-lb/poise/trace"
)

// A resource is what all spans have in common.
type resource struct {
	resource *resourcev1.Resource
	scope    *common.InstrumentationScope
}

// schema is the version of the conventions.
const schema = "https://opentelemetry.io/schemas/1.37.0"

func newResource(t config.Tracing) *resource {
	var a attributes
	a.text("service.name", t.ServiceName)
	a.text("service.version", front.Version())
	if host, err := os.Hostname(); err == nil {
		a.text("host.name", host)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Resource)) {
		a = slices.DeleteFunc(a, func(old *common.KeyValue) bool { return old.Key == name })
		a.text(name, t.Resource[name])
	}
	return &resource{
		resource: &resourcev1.Resource{Attributes: a},
		scope:    &common.InstrumentationScope{Name: "github.com/poise-lb/poise/tracing", Version: front.Version()},
	}
}

// request is the message that sends a batch.
func (r *resource) request(batch []trace.Exchange) *collector.ExportTraceServiceRequest {
	var spans []*tracev1.Span
	for i := range batch {
		x := &batch[i]
		spans = append(spans, server(x))
		for n := range x.Attempts {
			spans = append(spans, client(x, n))
		}
	}
	return &collector.ExportTraceServiceRequest{ResourceSpans: []*tracev1.ResourceSpans{{
		Resource: r.resource, SchemaUrl: schema,
		ScopeSpans: []*tracev1.ScopeSpans{{Scope: r.scope, SchemaUrl: schema, Spans: spans}},
	}}}
}

// Flags of a span, beside those of traceparent.
const (
	hasIsRemote = uint32(tracev1.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	isRemote    = uint32(tracev1.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
)

// server is the span of the exchange.
func server(x *trace.Exchange) *tracev1.Span {
	method, name := methodOf(x.Method)
	if x.Pattern != "" {
		name += " " + x.Pattern
	}
	s := &tracev1.Span{
		TraceId: x.TraceID[:], SpanId: x.SpanID[:], TraceState: text(x.State), Flags: uint32(x.Flags) | hasIsRemote,
		Name: text(name), Kind: tracev1.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: nanos(x.Began), EndTimeUnixNano: nanos(x.Began.Add(x.Duration)),
		Status: status(x.Failed(), x.Reason),
	}
	if x.Parent != [8]byte{} {
		s.ParentSpanId, s.Flags = x.Parent[:], s.Flags|isRemote
	}
	a := attributes(make([]*common.KeyValue, 0, 24))
	a.method(method, x.Method)
	a.text("url.scheme", x.Scheme)
	a.text("url.path", x.Path)
	a.text("url.query", x.Query)
	a.address("server.", x.Host, x.Scheme)
	a.text("http.route", x.Pattern)
	a.text("network.protocol.version", versionOf(x.Protocol))
	if x.Peer.IsValid() {
		a.text("network.peer.address", x.Peer.String())
	}
	a.text("client.address", x.Client)
	a.text("user_agent.original", x.Agent)
	a.outcome(x.Status, x.Reason, x.Status >= 500)
	if x.GRPC != nil {
		a.text("rpc.system", "grpc")
		a.number("rpc.grpc.status_code", int64(*x.GRPC))
	}
	a.number("http.request.body.size", x.BytesIn)
	a.number("http.response.body.size", x.BytesOut)
	a.text("poise.service", x.Service)
	a.text("poise.policy", x.Policy)
	a.text("poise.route", x.RouteName)
	a.text("poise.request_id", x.RequestID)
	a.number("poise.generation", int64(x.Generation))
	s.Attributes = a
	return s
}

// client is the span of attempt n of x.
func client(x *trace.Exchange, n int) *tracev1.Span {
	at := &x.Attempts[n]
	method, name := methodOf(x.Method)
	id := at.SpanID
	if id == [8]byte{} { // it began under a configuration without spans
		binary.BigEndian.PutUint64(id[:], binary.BigEndian.Uint64(x.SpanID[:])+uint64(n)+1)
	}
	reason := at.Reason
	if reason == "status" && at.Status != 0 { // of the endpoint's status: that says more
		reason = ""
	}
	began := x.Began.Add(at.Start)
	s := &tracev1.Span{
		TraceId: x.TraceID[:], SpanId: id[:], ParentSpanId: x.SpanID[:], TraceState: text(x.State), Flags: uint32(x.Flags) | hasIsRemote,
		Name: name, Kind: tracev1.Span_SPAN_KIND_CLIENT,
		StartTimeUnixNano: nanos(began), EndTimeUnixNano: nanos(began.Add(at.Duration)),
		Status: status(at.Reason != "" || at.Status >= 400, reason),
	}
	a := attributes(make([]*common.KeyValue, 0, 12))
	a.method(method, x.Method)
	a.text("url.full", urlOf(x, at))
	a.address("server.", at.Address, at.Scheme)
	a.outcome(at.Status, reason, at.Status >= 400)
	if n > 0 {
		a.number("http.request.resend_count", int64(n))
	}
	a.text("poise.service", x.Service)
	a.text("poise.zone", at.Zone)
	if at.Head > 0 {
		a.float("poise.response_head_ms", float64(at.Head.Microseconds())/1000)
	}
	s.Attributes = a
	return s
}

// urlOf is what an endpoint was asked for.
func urlOf(x *trace.Exchange, at *trace.Attempt) string {
	path := x.Path
	if x.Sent != "" {
		path = x.Sent
	}
	if x.Query != "" {
		path += "?" + x.Query
	}
	if at.Scheme == "unix" {
		return "http://localhost" + path
	}
	return at.Scheme + "://" + at.Address + path
}

// methodOf is the method as an attribute and in the name of a span: clients can make up methods,
// so those that are not known are one.
func methodOf(method string) (attribute, name string) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT":
		return method, method
	}
	return "_OTHER", "HTTP"
}

// versionOf is 1.1 of HTTP/1.1, and 2 of HTTP/2.0.
func versionOf(protocol string) string {
	version := strings.TrimPrefix(protocol, "HTTP/")
	if version == "2.0" {
		return "2"
	}
	return version
}

func status(failed bool, reason string) *tracev1.Status {
	if !failed {
		return nil // unset
	}
	return &tracev1.Status{Code: tracev1.Status_STATUS_CODE_ERROR, Message: reason}
}

func nanos(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }

// text is s in UTF-8, which texts of protobuf must be.
func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// attributes gather those of a span. An empty text adds none.
type attributes []*common.KeyValue

func (a *attributes) text(key, value string) {
	if value != "" {
		*a = append(*a, &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: text(value)}}})
	}
}

func (a *attributes) number(key string, n int64) {
	*a = append(*a, &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}})
}

func (a *attributes) float(key string, n float64) {
	*a = append(*a, &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: n}}})
}

func (a *attributes) method(attribute, original string) {
	a.text("http.request.method", attribute)
	if attribute == "_OTHER" {
		a.text("http.request.method_original", original)
	}
}

// outcome adds the status, and why it is an error: the reason, or else the status.
func (a *attributes) outcome(status int, reason string, failed bool) {
	if status != 0 {
		a.number("http.response.status_code", int64(status))
	}
	switch {
	case reason != "":
		a.text("error.type", reason)
	case failed:
		a.text("error.type", strconv.Itoa(status))
	}
}

// address adds host and port; the port of the scheme where none is said.
func (a *attributes) address(prefix, hostport, scheme string) {
	if scheme == "unix" {
		a.text(prefix+"address", hostport)
		return
	}
	host, port := hostport, ""
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && !strings.HasSuffix(hostport, "]") {
		host, port = hostport[:i], hostport[i+1:]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(hostport); err == nil { // IPv6 without a port
		host, port = addr.String(), ""
	}
	a.text(prefix+"address", host)
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err == nil:
		a.number(prefix+"port", int64(n))
	case scheme == "https":
		a.number(prefix+"port", 443)
	case scheme == "http":
		a.number(prefix+"port", 80)
	}
}
