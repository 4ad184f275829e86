package propagation

// b3, as Zipkin and Spring Cloud Sleuth use it. A trace id has 16 or 32 hex digits; a short one is
// the end of a long one. Digits may be capitals here, which some clients write.
//
//	b3: 0                     do not record: no ids
//	b3: TRACE-SPAN            undecided
//	b3: TRACE-SPAN-1-PARENT   recorded; d in place of 1 is for debugging, and means recorded too

import (
	"bytes"
	"encoding/hex"
)

// B3SpanAt is where the span is in the value that AppendB3 makes.
const B3SpanAt = 33

// ParseB3 reads the value of the field b3. false: it is invalid.
func ParseB3(v []byte) (c Context, ok bool) {
	if len(v) == 1 {
		c.Decision, ok = decision(v)
		return c, ok
	}
	trace, rest, _ := bytes.Cut(v, []byte("-"))
	span, rest, more := bytes.Cut(rest, []byte("-"))
	if !c.ids(trace, span) {
		return Context{}, false
	}
	if !more {
		return c, true
	}
	said, parent, more := bytes.Cut(rest, []byte("-"))
	if c.Decision, ok = decision(said); !ok {
		return Context{}, false
	}
	var ignored [8]byte
	if more && !unhexAny(ignored[:], parent) {
		return Context{}, false
	}
	return c, true
}

// B3Fields are the values of the X-B3 fields of a request; nil: it has none of that name.
type B3Fields struct {
	TraceID, SpanID, Sampled, Flags []byte
}

// Context reads them. false: they are invalid, or there are none.
func (f *B3Fields) Context() (c Context, ok bool) {
	if f.TraceID != nil || f.SpanID != nil {
		if !c.ids(f.TraceID, f.SpanID) {
			return Context{}, false
		}
		ok = true
	}
	switch {
	case string(f.Flags) == "1": // debug
		c.Decision, ok = Sampled, true
	case string(f.Sampled) == "true": // of old clients
		c.Decision, ok = Sampled, true
	case string(f.Sampled) == "false":
		c.Decision, ok = NotSampled, true
	case f.Sampled != nil:
		var said bool
		if c.Decision, said = decision(f.Sampled); !said {
			return Context{}, false
		}
		ok = true
	}
	return c, ok
}

// AppendB3 appends the value of the field b3. parent is the span above span; zero: none is known.
func AppendB3(b []byte, trace *[16]byte, span, parent *[8]byte, d Decision) []byte {
	b = AppendTrace(b, trace)
	b = AppendSpan(append(b, '-'), span)
	if d == Undecided {
		return b
	}
	b = append(b, '-', said(d))
	if *parent != [8]byte{} {
		b = AppendSpan(append(b, '-'), parent)
	}
	return b
}

// said is the digit for a decision that is made.
func said(d Decision) byte {
	if d == Sampled {
		return '1'
	}
	return '0'
}

func decision(v []byte) (Decision, bool) {
	switch string(v) {
	case "0":
		return NotSampled, true
	case "1", "d":
		return Sampled, true
	}
	return Undecided, false
}

// ids sets Trace and Parent, if both are valid.
func (c *Context) ids(trace, span []byte) bool {
	into := c.Trace[:]
	if len(trace) == 16 {
		into = c.Trace[8:]
	}
	return unhexAny(into, trace) && unhexAny(c.Parent[:], span) && c.Trace != [16]byte{} && c.Parent != [8]byte{}
}

// unhexAny is unhex that takes capitals, too.
func unhexAny(dst, v []byte) bool {
	if len(v) != 2*len(dst) {
		return false
	}
	_, err := hex.Decode(dst, v)
	return err == nil
}
