package exchange

// The trace of an exchange, and the id of its request. Fields of the request carry both, so that logs
// and spans of all programs on the way fit together:
//
//	received                         sent to the endpoint
//	traceparent 00-T-C-01            00-T-A1-01, where A1 is the span of this attempt; at a retry A2
//	none, or one that is invalid     00-N-A1-00 of a new trace N
//	X-Request-Id of a trusted peer   the same
//	X-Request-Id of another peer     N, the id of the trace
//
// Spans are made later, from the record of the exchange: what happens here is to read the fields,
// to make the ids of the trace and its spans, and to write the fields anew (tracesent.go). If no spans
// are made a valid traceparent passes as it came. Nothing here runs, and nothing is kept, if the Table has no
// Tracing.

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/propagation"
	"github.com/poise-lb/poise/internal/record"
)

// Tracing is the configuration of traces and request ids.
type Tracing struct {
	// RequestID is the field with the id of a request; empty: requests have none.
	RequestID []byte
	Accept    Accept
	B3        bool // the field b3 is read and sent
	B3Multi   bool // the fields X-B3-... are
	// Below is the bound of the last 56 bits of a trace id: traces that reach it are recorded.
	// 0: all are; 1<<56: none is.
	Below uint64
	// Seed makes it unknowable which ids of clients that are not trusted are recorded.
	Seed  uint64
	Spans *record.Sink // nil: no spans are made
}

// Accept says whose request ids are kept.
type Accept uint8

// Whose ids are kept.
const (
	AcceptTrusted Accept = iota
	AcceptAlways
	AcceptNever
)

// tracing is what an Exchange keeps of its trace. Fields of the request point into its buffers
// until the exchange ends.
type tracing struct {
	propagation.Context        // of the client; Trace is that of the exchange
	record.Span                // but for ID and Flags, of no meaning if no spans are made; then ID is zero
	seed                uint64 // of the ids of spans; see newSpan

	came   bool   // a field of some trace came, valid or not
	w3c    bool   // a valid traceparent came
	b3     bool   // a valid b3 came
	multi  bool   // valid X-B3 fields came
	kept   bool   // the id of the request is the client's
	id     []byte // of the request; empty: none
	idText [record.IDBytesMax]byte

	parent  [propagation.W3CBytes]byte // value of traceparent
	single  []byte                     // value of b3
	traceID [32]byte                   // values of the X-B3 fields
	spanID  [16]byte
	above   [16]byte
	sampled [1]byte
}

// beginTrace reads what the request says of its trace, and decides what is not said. begin calls
// it if the table has Tracing.
func (x *Exchange) beginTrace() {
	if x.trace == nil {
		x.trace = new(tracing)
	}
	c, t := x.table.Tracing, x.trace
	t.Context, t.ID, t.Agent = propagation.Context{}, [8]byte{}, nil
	t.State = t.State[:0]
	t.Client = t.Client[:0]
	t.Sent = t.Sent[:0]
	t.came, t.w3c, t.b3, t.multi, t.kept, t.single = false, false, false, false, false, t.single[:0]
	trusted := len(x.table.Trusted) > 0 && x.table.trusts(x.peer.Addr)
	t.read(c, x.Request.Fields, trusted)
	known := t.Trace != [16]byte{}
	if !known {
		binary.BigEndian.PutUint64(t.Trace[:8], x.rt.Rand()|1) // never zero
		binary.BigEndian.PutUint64(t.Trace[8:], x.rt.Rand())
	}
	if c.Spans != nil {
		if known {
			t.seed = x.rt.Rand()
		} else {
			t.seedByTrace()
		}
		t.ID, t.Span.Parent = t.newSpan(), t.Context.Parent
		if !trusted || t.Decision == propagation.Undecided {
			t.Decision = propagation.NotSampled
			if c.chooses(&t.Trace, known && !trusted) {
				t.Decision = propagation.Sampled
			}
		}
	}
	t.Flags = propagation.Flags(t.Decision == propagation.Sampled, t.Random)
	if len(c.RequestID) > 0 && !t.kept {
		t.id = propagation.AppendTrace(t.idText[:0], &t.Trace)
	}
}

// newSpan makes the id of the next span of the exchange: the numbers of splitmix64, from a seed that
// is drawn once for an exchange, since drawing takes longer.
func (t *tracing) newSpan() (id [8]byte) {
	t.seed += 0x9e3779b97f4a7c15
	binary.BigEndian.PutUint64(id[:], mix(t.seed)|1) // never zero
	return id
}

// seedByTrace makes the seed of the ids of spans from a trace that began here: both its halves are random,
// so the spans need no drawing of their own. A trace of the client's may come several times.
func (t *tracing) seedByTrace() {
	t.seed = binary.BigEndian.Uint64(t.Trace[:8]) ^ bits.RotateLeft64(binary.BigEndian.Uint64(t.Trace[8:]), 32)
}

// mix is the finalizer of splitmix64 (Steele, Lea and Flood, 2014): each bit of n decides about half of
// those of the result.
func mix(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// chooses reports whether the share of traces that are recorded has this one. An id that comes from a
// client that is not trusted counts as another one, so that no client gets all its requests recorded.
func (c *Tracing) chooses(id *[16]byte, foreign bool) bool {
	n := binary.BigEndian.Uint64(id[8:])
	if foreign {
		n = mix((n ^ c.Seed) + 0x9e3779b97f4a7c15)
	}
	return n&(1<<56-1) >= c.Below
}

// read reads the fields of a request. A trace is that of the first format in the order W3C, b3,
// X-B3 that has a valid one.
func (t *tracing) read(c *Tracing, fields []message.Field, trusted bool) {
	var w3c, b3, id *message.Field
	var multi propagation.B3Fields
	count, ids := 0, 0
	for i := range fields {
		f := &fields[i]
		if f.Kind != message.Other {
			if f.Kind == message.UserAgent && c.Spans != nil && len(t.Agent) == 0 {
				t.Agent = f.Value[:min(len(f.Value), record.AgentBytesMax)]
			}
			continue
		}
		if kind := kindOf(f.Name); kind != fieldOther {
			t.came = true
			switch kind {
			case fieldTraceparent:
				w3c, count = f, count+1
			case fieldTracestate:
				t.keepState(c, f.Value)
			case fieldB3:
				b3 = f
			case fieldB3Multi:
				multiField(&multi, f)
			}
		}
		if len(f.Name) == len(c.RequestID) && bytes.EqualFold(f.Name, c.RequestID) {
			id, ids = f, ids+1
		}
	}
	if count == 1 { // several are as none
		t.Context, t.w3c = propagation.ParseW3C(w3c.Value)
	}
	if !t.w3c {
		t.State = t.State[:0]
	}
	if c.B3 && b3 != nil {
		t.b3 = t.take(propagation.ParseB3(b3.Value))
	}
	if c.B3Multi {
		t.multi = t.take(multi.Context())
	}
	believed := c.Accept == AcceptAlways || c.Accept == AcceptTrusted && trusted
	if t.id = nil; ids == 1 && believed && safeID(id.Value) {
		t.id, t.kept = append(t.idText[:0], id.Value...), true
	}
}

// take keeps c unless there is a trace already. It reports whether c has one.
func (t *tracing) take(c propagation.Context, ok bool) bool {
	if ok && t.Trace == [16]byte{} {
		t.Context = c
	}
	return ok && c.Trace != [16]byte{}
}

// keepState keeps the value of tracestate for spans; several are one, with commas.
func (t *tracing) keepState(c *Tracing, v []byte) {
	if c.Spans == nil || len(t.State)+1+len(v) > record.StateBytesMax {
		return
	}
	if len(t.State) > 0 {
		t.State = append(t.State, ',')
	}
	t.State = append(t.State, v...)
}

// A traceField is a field that carries a trace.
type traceField uint8

const (
	fieldOther traceField = iota
	fieldTraceparent
	fieldTracestate
	fieldB3
	fieldB3Multi
)

// kindOf says which field of that sort a name is. Most names have another length.
func kindOf(name []byte) traceField {
	switch len(name) {
	case len("b3"):
		if message.EqualFold(name, "b3") {
			return fieldB3
		}
	case len("tracestate"), len("traceparent"), len("X-B3-Sampled"), len("X-B3-ParentSpanId"):
		switch {
		case message.EqualFold(name, "traceparent"):
			return fieldTraceparent
		case message.EqualFold(name, "tracestate"):
			return fieldTracestate
		case message.EqualFold(name[:5], "x-b3-"):
			return fieldB3Multi
		}
	}
	return fieldOther
}

// multiField keeps the value of one of the X-B3 fields.
func multiField(to *propagation.B3Fields, f *message.Field) {
	switch {
	case message.EqualFold(f.Name, "X-B3-TraceId"):
		to.TraceID = f.Value
	case message.EqualFold(f.Name, "X-B3-SpanId"):
		to.SpanID = f.Value
	case message.EqualFold(f.Name, "X-B3-Sampled"):
		to.Sampled = f.Value
	case message.EqualFold(f.Name, "X-B3-Flags"):
		to.Flags = f.Value
	}
}

// safeID reports whether an id of a client may be used in logs and fields as it is.
func safeID(v []byte) bool {
	for _, c := range v {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._~+/=-", c) >= 0:
		default:
			return false
		}
	}
	return len(v) > 0 && len(v) <= record.IDBytesMax
}
