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

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/front"
	"github.com/poise-lb/poise/internal/yield"
	"github.com/poise-lb/poise/trace"
)

// schema is the version of the conventions.
const schema = "https://opentelemetry.io/schemas/1.37.0"

// Numbers of fields, by message.
const (
	requestResourceSpans = 1

	resourceSpansResource = 1
	resourceSpansScope    = 2
	resourceSpansSchema   = 3
	resourceAttributes    = 1

	scopeSpansScope  = 1
	scopeSpansSpans  = 2
	scopeSpansSchema = 3
	scopeName        = 1
	scopeVersion     = 2

	spanTraceID    = 1
	spanID         = 2
	spanState      = 3
	spanParent     = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanStatus     = 15
	spanFlags      = 16

	statusMessage = 2
	statusCode    = 3
)

// Values of enumerations.
const (
	kindServer  = 2
	kindClient  = 3
	statusError = 2
)

// Flags of a span, beside those of traceparent.
const (
	hasIsRemote = 0x100
	isRemote    = 0x200
)

// A resource is what all spans have in common, as fields of ResourceSpans and ScopeSpans.
type resource struct {
	resource, scope message
}

func newResource(t config.Tracing) *resource {
	about := map[string]string{"service.name": t.ServiceName, "service.version": front.Version()}
	if host, err := os.Hostname(); err == nil {
		about["host.name"] = host
	}
	maps.Copy(about, t.Resource)
	r := new(resource)
	at := r.resource.begin(resourceSpansResource)
	for _, name := range slices.Sorted(maps.Keys(about)) {
		attributes{&r.resource, resourceAttributes}.text(name, about[name])
	}
	r.resource.end(at)
	r.resource.text(resourceSpansSchema, schema)
	at = r.scope.begin(scopeSpansScope)
	r.scope.text(scopeName, "github.com/poise-lb/poise/tracing")
	r.scope.text(scopeVersion, front.Version())
	r.scope.end(at)
	r.scope.text(scopeSpansSchema, schema)
	return r
}

// request appends to m the ExportTraceServiceRequest that sends a batch, in turns of so many bytes.
func (r *resource) request(m message, batch []trace.Exchange, turn *yield.Turn) message {
	all := m.begin(requestResourceSpans)
	m = append(m, r.resource...)
	scope := m.begin(resourceSpansScope)
	m = append(m, r.scope...)
	for i := range batch {
		x, before := &batch[i], len(m)
		at := m.begin(scopeSpansSpans)
		m.server(x)
		m.end(at)
		for n := range x.Attempts {
			at := m.begin(scopeSpansSpans)
			m.client(x, n)
			m.end(at)
		}
		turn.Did(len(m) - before)
	}
	m.end(scope)
	m.end(all)
	return m
}

// server writes the span of the exchange.
func (m *message) server(x *trace.Exchange) {
	method, name := methodOf(x.Method)
	if x.Pattern != "" {
		name += " " + x.Pattern
	}
	m.bytes(spanTraceID, x.TraceID[:])
	m.bytes(spanID, x.SpanID[:])
	m.text(spanState, x.State)
	flags := uint32(x.Flags) | hasIsRemote
	if x.Parent != [8]byte{} {
		m.bytes(spanParent, x.Parent[:])
		flags |= isRemote
	}
	m.text(spanName, name)
	m.varint(spanKind, kindServer)
	m.times(x.Began, x.Duration)
	a := attributes{m, spanAttributes}
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
	m.status(x.Failed(), x.Reason)
	m.fixed32(spanFlags, flags)
}

// client writes the span of attempt n of x.
func (m *message) client(x *trace.Exchange, n int) {
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
	m.bytes(spanTraceID, x.TraceID[:])
	m.bytes(spanID, id[:])
	m.text(spanState, x.State)
	m.bytes(spanParent, x.SpanID[:])
	m.text(spanName, name)
	m.varint(spanKind, kindClient)
	m.times(x.Began.Add(at.Start), at.Duration)
	a := attributes{m, spanAttributes}
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
	m.status(at.Reason != "" || at.Status >= 400, reason)
	m.fixed32(spanFlags, uint32(x.Flags)|hasIsRemote)
}

// times writes when a span began and ended.
func (m *message) times(began time.Time, took time.Duration) {
	m.fixed64(spanStart, nanos(began))
	m.fixed64(spanEnd, nanos(began.Add(took)))
}

// status writes that a span failed; unset, it did not.
func (m *message) status(failed bool, reason string) {
	if !failed {
		return
	}
	at := m.begin(spanStatus)
	m.text(statusMessage, reason)
	m.varint(statusCode, statusError)
	m.end(at)
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

func nanos(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }

func (a attributes) method(attribute, original string) {
	a.text("http.request.method", attribute)
	if attribute == "_OTHER" {
		a.text("http.request.method_original", original)
	}
}

// outcome adds the status, and why it is an error: the reason, or else the status.
func (a attributes) outcome(status int, reason string, failed bool) {
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
func (a attributes) address(prefix, hostport, scheme string) {
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
