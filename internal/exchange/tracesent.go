package exchange

// What an endpoint gets of the trace and the id of the request, and the client of the id. The fields
// that came are dropped and written anew; each attempt puts its own span into the same buffers.

import (
	"bytes"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/propagation"
	"github.com/poise-lb/poise/internal/record"
)

// Names of the fields that are sent.
var (
	nameTraceparent = []byte("traceparent")
	nameB3          = []byte("b3")
	nameB3Trace     = []byte("X-B3-TraceId")
	nameB3Span      = []byte("X-B3-SpanId")
	nameB3Parent    = []byte("X-B3-ParentSpanId")
	nameB3Sampled   = []byte("X-B3-Sampled")
)

// sendTrace puts the fields of the trace and of the id into the request, in place of those that came.
// clientIP is as in rewrite. prepare calls it.
func (x *Exchange) sendTrace(clientIP []byte) {
	c, t, q := x.table.Tracing, x.trace, &x.Request
	spans := c.Spans != nil
	if spans {
		t.Client = append(t.Client, clientIP...)
	}
	w3c, b3, multi := spans || !t.w3c, c.B3 && (spans || !t.b3), c.B3Multi && (spans || !t.multi)
	if t.came {
		x.dropTrace(w3c, b3, multi)
	}
	span := &t.Context.Parent // of no span of ours
	if spans {
		span = &t.ID // attempts have their own: see attemptSpan
	} else if *span == [8]byte{} {
		t.seedByTrace()
		*span = t.newSpan()
	}
	if w3c {
		propagation.AppendW3C(t.parent[:0], &t.Trace, span, t.Flags)
		q.Fields = append(q.Fields, message.Field{Name: nameTraceparent, Value: t.parent[:]})
	}
	if b3 || multi {
		x.sendB3(b3, multi, span)
	}
	if len(c.RequestID) > 0 {
		setField(&q.Fields, c.RequestID, t.id)
	}
}

// dropTrace drops the fields of a trace that came and are sent anew, or are not valid.
func (x *Exchange) dropTrace(w3c, b3, multi bool) {
	t, q := x.trace, &x.Request
	for i := range q.Fields {
		f := &q.Fields[i]
		if f.Kind != message.Other {
			continue
		}
		switch kindOf(f.Name) {
		case fieldTraceparent:
			f.Drop = f.Drop || w3c
		case fieldTracestate:
			f.Drop = f.Drop || !t.w3c
		case fieldB3:
			f.Drop = f.Drop || b3
		case fieldB3Multi:
			f.Drop = f.Drop || multi
		}
	}
}

// sendB3 is sendTrace for the fields of Zipkin. A span without one above it is the first of its trace.
func (x *Exchange) sendB3(b3, multi bool, span *[8]byte) {
	t, q := x.trace, &x.Request
	if b3 {
		t.single = propagation.AppendB3(t.single[:0], &t.Trace, span, &t.ID, t.Decision)
		q.Fields = append(q.Fields, message.Field{Name: nameB3, Value: t.single})
	}
	if !multi {
		return
	}
	propagation.PutTrace(&t.traceID, &t.Trace)
	propagation.PutSpan(&t.spanID, span)
	q.Fields = append(q.Fields,
		message.Field{Name: nameB3Trace, Value: t.traceID[:]}, message.Field{Name: nameB3Span, Value: t.spanID[:]})
	if t.ID != [8]byte{} {
		propagation.PutSpan(&t.above, &t.ID)
		q.Fields = append(q.Fields, message.Field{Name: nameB3Parent, Value: t.above[:]})
	}
	if t.Decision != propagation.Undecided {
		t.sampled[0] = '0' + byte(t.Decision-propagation.NotSampled)
		q.Fields = append(q.Fields, message.Field{Name: nameB3Sampled, Value: t.sampled[:]})
	}
}

// setField puts a field in the place of all others of its name.
func setField(fields *[]message.Field, name, value []byte) {
	for i := range *fields {
		if f := &(*fields)[i]; f.Kind == message.Other && len(f.Name) == len(name) && bytes.EqualFold(f.Name, name) {
			f.Drop = true
		}
	}
	*fields = append(*fields, message.Field{Name: name, Value: value})
}

// answerID sends the client the id of its request, in the final response r.
func (x *Exchange) answerID(r *message.Response) {
	if x.traced && len(x.table.Tracing.RequestID) > 0 {
		setField(&r.Fields, x.table.Tracing.RequestID, x.trace.id)
	}
}

// attemptSpan gives an attempt a span of its own, by the values of the fields that sendTrace has put
// into the request, if spans are made. begin of the attempt calls it.
func (x *Exchange) attemptSpan(a *record.Attempt) {
	if !x.traced || x.table.Tracing.Spans == nil {
		return
	}
	t := x.trace
	if path := x.Request.Path; len(t.Sent) == 0 && !bytes.Equal(path, x.asked.path) {
		t.Sent = append(t.Sent, path[:min(len(path), record.PathBytesMax)]...)
	}
	a.Span = t.newSpan()
	propagation.PutSpan(&t.spanID, &a.Span)
	copy(t.parent[propagation.SpanAt:], t.spanID[:])
	if len(t.single) > 0 {
		copy(t.single[propagation.B3SpanAt:], t.spanID[:])
	}
}

// resendTrace gives the attempt of a race values of its own in q, whose fields are a copy of those
// of the exchange's request: that of the other attempt has another span in the same buffer.
func (a *attempt) resendTrace(q *message.Request) {
	t := a.x.trace
	var span [16]byte
	propagation.PutSpan(&span, &a.log.Span)
	for i := range q.Fields {
		f := &q.Fields[i]
		at := -1
		switch {
		case len(f.Value) == 0:
		case &f.Value[0] == &t.parent[0]:
			at = propagation.SpanAt
		case len(t.single) > 0 && &f.Value[0] == &t.single[0]:
			at = propagation.B3SpanAt
		case &f.Value[0] == &t.spanID[0]:
			at = 0
		}
		if at >= 0 {
			f.Value = bytes.Clone(f.Value)
			copy(f.Value[at:], span[:])
		}
	}
}
