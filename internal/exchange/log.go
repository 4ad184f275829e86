package exchange

// The record of an exchange: its line of the access log, and what spans are made of. What it says of the request is that of the client: rules of the
// route may change the Request later, so begin keeps what they might change. Values of fields
// are copied only if the format asks for some; otherwise the log costs one copy into a ring.

import (
	"time"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/record"
)

// asked is what the client asked for, as received. The slices are those of the request.
type asked struct {
	host, path, query []byte
	heads             record.Heads // buffers for fields that the log asks for
}

// logRequest keeps what the log says of the request. begin calls it.
func (x *Exchange) logRequest() {
	x.asked.host, x.asked.path, x.asked.query = x.Request.Host, x.Request.Path, x.Request.Query
	if x.table.Sink.Captures() {
		x.asked.heads.Request(x.table.Sink, &x.Request)
	}
}

// logHead keeps what the log says of a response head, which is about to be sent.
func (x *Exchange) logHead(r *message.Response) {
	if x.table.Sink.Captures() {
		x.asked.heads.Response(r)
	}
}

// leavesSpans reports whether spans are made of the exchange, which took so long.
func (x *Exchange) leavesSpans(took time.Duration) bool {
	return x.traced && x.table.Tracing.Spans.KeepsSpans(x.trace.Flags, &x.log, took)
}

// put hands the record of the exchange, which took so long, to the access log, if there is one,
// and to what makes spans, if leavesSpans.
func (x *Exchange) put(took time.Duration) {
	sink := x.table.Sink
	var line record.Exchange // filled field by field: a literal is made elsewhere and copied
	line.Client, line.Protocol, line.Scheme, line.TLS = x.peer.Addr, x.client.Protocol(), x.peer.Scheme, x.peer.TLS
	line.Method, line.Host, line.Path, line.Query = x.Request.Method, x.asked.host, x.asked.path, x.asked.query
	line.Duration, line.Generation, line.Trace = took, x.table.Generation, &x.log
	if x.peer.Cert != nil {
		line.Proved = x.peer.Cert.Proved
	}
	if x.route != nil {
		line.Norm = x.forward.norm
	}
	if x.service != nil {
		line.Route, line.RouteName, line.Service = x.route.Index, x.route.Name, x.service.Name
	}
	if x.traced {
		line.TraceID, line.ID = x.trace.Trace, x.trace.id
	}
	if x.leavesSpans(took) {
		x.putSpans(&line)
	}
	if sink.Captures() {
		line.Heads = &x.asked.heads
	}
	if sink.Samples() {
		line.Rand = x.rt.Rand()
	}
	sink.Put(&line)
}

// putSpans hands the record to what makes spans, with what only those have use for.
func (x *Exchange) putSpans(line *record.Exchange) {
	s := &x.trace.Span
	s.Pattern, s.Policy = "", ""
	if x.route != nil {
		s.Pattern = x.route.Pattern
	}
	if x.service != nil {
		s.Policy = x.service.Policy
	}
	line.Span = s
	x.table.Tracing.Spans.Put(line)
}
