package record

// Records of which spans are made: the same ring, whose reader takes structs instead of lines. An
// exchange decides at its end whether it leaves any, by KeepsSpans, so one that was not chosen
// copies nothing.

import (
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/propagation"
	"github.com/poise-lb/poise/trace"
)

// CompileSpans makes the Format of a Sink whose records become spans, of a configuration that is
// valid.
func CompileSpans(t *config.Tracing) *Format {
	f := &Format{spans: true}
	switch t.Query {
	case "keep":
		f.query = keepQuery
	case "drop":
		f.query = dropQuery
	}
	f.always, _ = t.Rules()
	return f
}

// KeepsSpans reports whether spans are to be made of an exchange with these flags of traceparent,
// which took so long: it is sampled, or a rule keeps it. A nil Sink keeps none.
func (s *Sink) KeepsSpans(flags byte, x *Trace, took time.Duration) bool {
	return s != nil && (flags&propagation.Flags(true, false) != 0 || ruled(&s.Format.always, x, took))
}

// spanned is what a slot has of a Span. Its texts are in that of the slot, behind the id.
type spanned struct {
	id, parent                 [8]byte
	flags                      byte
	state, agent, client, sent span
	pattern, policy            string
}

// copySpan copies the span of x behind the text of l.
func (l *slot) copySpan(x *Exchange) {
	if l.span == nil {
		l.span = new(spanned) // once: the slot keeps it
	}
	s := x.Span
	*l.span = spanned{
		id: s.ID, parent: s.Parent, flags: s.Flags, pattern: s.Pattern, policy: s.Policy,
		state: l.append(s.State), agent: l.append(s.Agent), client: l.append(s.Client), sent: l.append(s.Sent),
	}
}

// append puts a text behind the others of l.
func (l *slot) append(text []byte) span {
	from := len(l.text)
	l.text = append(l.text, text...)
	return span{uint16(from), uint16(len(text)) + 1}
}

// Spans takes up to most records that are ready and appends them to out. Like Drain it belongs to
// one goroutine. The caller says by Took what became of them.
func (s *Sink) Spans(out []trace.Exchange, most int) []trace.Exchange {
	s.dates()
	for range most {
		l := &s.slots[s.head&s.mask]
		if l.seq.Load() != s.head+1 {
			break
		}
		if l.span != nil {
			out = append(out, l.exchange(&s.pen, s.Format))
		}
		l.seq.Store(s.head + uint64(len(s.slots)))
		s.head++
	}
	return out
}

// Took counts spans that were taken by the receiver, and spans that were lost.
func (s *Sink) Took(taken, lost uint64) {
	s.written.Add(taken)
	s.refused.Add(lost)
}

// exchange makes of l what is exported.
func (l *slot) exchange(p *pen, f *Format) trace.Exchange {
	s := l.span
	text := func(v span) string { return string(v.of(l.text)) }
	x := trace.Exchange{
		TraceID: l.traceID, SpanID: s.id, Parent: s.parent, Flags: s.flags, State: text(s.state), RequestID: string(l.requestID()),
		Began: p.time(l, l.duration), Duration: l.duration,
		Peer: l.client, Client: text(s.client), Protocol: l.protocol, Scheme: l.scheme.String(),
		Method: string(l.method()), Host: string(l.host()), Path: string(l.path()), Agent: text(s.agent),
		Status: l.status, Reason: l.reason, BytesIn: l.bytesIn, BytesOut: l.bytesOut, Generation: l.generation,
		Service: l.service, Policy: s.policy, RouteName: l.routeName, Pattern: s.pattern, Sent: text(s.sent),
		Attempts: make([]trace.Attempt, len(l.attempts)),
	}
	if l.hasQuery {
		x.Query = string(appendQuery(nil, l.query(), f.query == redactQuery, plainText))
	}
	if l.rpc != 0 {
		status := int(grpc.Minus(l.rpc))
		x.GRPC = &status
	}
	for i := range l.attempts {
		a := &l.attempts[i]
		x.Attempts[i] = trace.Attempt{
			SpanID: a.Span, Scheme: a.Scheme, Address: a.Address, Zone: a.Zone, Status: a.Status, Reason: a.Reason,
			Start: a.Start, Duration: a.Time, Head: a.Head,
		}
	}
	return x
}

// plainText is the escaper of what is no text of a log.
func plainText(b, text []byte) []byte { return append(b, text...) }
