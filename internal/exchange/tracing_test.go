package exchange

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/trace"
)

// spansOf returns a Sink for spans, with these rules.
func spansOf(always ...string) *record.Sink {
	s := record.NewSink(64)
	s.Format = record.CompileSpans(&config.Tracing{Always: always})
	return s
}

const none = 1 << 56 // as Tracing.Below

// TestATracedExchangeAllocatesNothing: ids and fields, for exchanges that leave no spans.
func TestATracedExchangeAllocatesNothing(t *testing.T) {
	if underRace {
		t.Skip("the race detector empties pools at random")
	}
	for name, tracing := range map[string]*Tracing{
		"ids":   {RequestID: []byte("X-Request-Id")},
		"b3":    {B3: true, B3Multi: true},
		"spans": {RequestID: []byte("X-Request-Id"), B3: true, B3Multi: true, Below: none, Spans: spansOf("retried")},
	} {
		once := cannedExchangeWith(t, tracing)
		once()
		if n := testing.AllocsPerRun(1000, once); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestSpansAllocateNothing: nor do exchanges that leave some, once the ring has been round.
func TestSpansAllocateNothing(t *testing.T) {
	if underRace {
		t.Skip("the race detector empties pools at random")
	}
	spans := spansOf()
	once := cannedExchangeWith(t, &Tracing{Spans: spans})
	out := make([]trace.Exchange, 0, 64)
	for range 64 {
		once()
	}
	if out = spans.Spans(out, 64); len(out) != 64 || len(out[0].Attempts) != 1 {
		t.Fatalf("%d exchanges left spans", len(out))
	}
	if n := testing.AllocsPerRun(60, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTraced(b *testing.B) {
	for name, tracing := range map[string]*Tracing{
		"off": nil, "ids": {RequestID: []byte("X-Request-Id")}, "unsampled": {Below: none, Spans: spansOf()},
		"1 percent": {Below: none / 100 * 99, Spans: spansOf("error", "retried", "slower 1s")},
	} {
		b.Run(name, func(b *testing.B) {
			once := cannedExchangeWith(b, tracing)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if once(); n%32 == 0 && tracing != nil && tracing.Spans != nil {
					tracing.Spans.Spans(nil, 64)
				}
			}
		})
	}
}

// TestTheShareIsExact: of many ids the share is chosen, the same ones each time, and for ids of
// clients that are not trusted other ones.
func TestTheShareIsExact(t *testing.T) {
	c := &Tracing{Below: none / 100 * 90, Seed: 1}
	var chosen, foreign, both int
	x := uint64(1)
	for range 100_000 {
		var id [16]byte
		x = x*6364136223846793005 + 1442695040888963407
		binary.BigEndian.PutUint64(id[8:], x^x>>29)
		a, b := c.chooses(&id, false), c.chooses(&id, true)
		if a != c.chooses(&id, false) || b != c.chooses(&id, true) {
			t.Fatal("another answer for the same id")
		}
		if a {
			chosen++
		}
		if b {
			foreign++
		}
		if a && b {
			both++
		}
	}
	for what, n := range map[string]int{"ours": chosen, "foreign": foreign, "both, times 10": both * 10} {
		if n < 9000 || n > 11000 {
			t.Errorf("%s: %d of 100,000 chosen, want a tenth", what, n)
		}
	}
	all, no := &Tracing{}, &Tracing{Below: none}
	for _, id := range [][16]byte{{}, {15: 1}, {8: 255, 9: 255, 10: 255, 11: 255, 12: 255, 13: 255, 14: 255, 15: 255}} {
		if !all.chooses(&id, false) || no.chooses(&id, false) {
			t.Errorf("%x: 100%% and 0%% are not all and none", id)
		}
	}
}

func TestSafeIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "AZ09._~+/=-": true, strings.Repeat("x", 128): true,
		"": false, strings.Repeat("x", 129): false, "a b": false, "<a>": false, "a\x00": false, "ü": false, "a,b": false, "a\"": false,
	} {
		if safeID([]byte(id)) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}

// TestAcceptSaysWhoseIDsAreKept plays every word with a peer that is trusted and one that is not.
func TestAcceptSaysWhoseIDsAreKept(t *testing.T) {
	for accept, want := range map[Accept][2]bool{AcceptTrusted: {true, false}, AcceptAlways: {true, true}, AcceptNever: {false, false}} {
		for i, addr := range []string{"10.0.0.1", "192.0.2.1"} {
			x := &Exchange{peer: &Peer{Addr: netip.MustParseAddr(addr)}, rt: newStage(t, 1).rt}
			x.table = &Table{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Tracing: &Tracing{RequestID: []byte("X-Request-Id"), Accept: accept}}
			x.Request.Fields = []message.Field{message.NewField("x-request-id", "theirs")}
			x.beginTrace()
			if kept := string(x.trace.id) == "theirs"; kept != want[i] || !kept && string(x.trace.id) != hex.EncodeToString(x.trace.Trace[:]) {
				t.Errorf("accept %d, peer %s: %s", accept, addr, x.trace.id)
			}
		}
	}
}

// TestIDsAreNotRepeated: ids of traces and of spans differ over many exchanges with many attempts,
// with spans and without.
func TestIDsAreNotRepeated(t *testing.T) {
	for _, spans := range []*record.Sink{nil, spansOf()} {
		x := &Exchange{peer: new(Peer), rt: newStage(t, 1).rt, table: &Table{Tracing: &Tracing{Spans: spans}}, traced: true}
		seen := make(map[string]bool)
		add := func(id []byte) {
			if seen[string(id)] || len(bytes.Trim(id, "\x00")) == 0 {
				t.Errorf("%x is repeated or zero", id)
			}
			seen[string(id)] = true
		}
		for range 1000 {
			x.Request.Fields = x.Request.Fields[:0]
			x.beginTrace()
			x.sendTrace(nil)
			add(x.trace.Trace[:])
			if spans == nil {
				add(x.trace.Context.Parent[:])
				continue
			}
			add(x.trace.ID[:])
			for range 3 {
				var a record.Attempt
				x.attemptSpan(&a)
				add(a.Span[:])
			}
		}
	}
}

// TestAttemptsOfARaceHaveTheirOwnSpans although they send one request side by side.
func TestAttemptsOfARaceHaveTheirOwnSpans(t *testing.T) {
	st := newStage(t, 1)
	st.serve(one)
	st.table.Tracing = &Tracing{Spans: spansOf(), B3: true, B3Multi: true}
	x := &Exchange{rt: st.rt, table: st.table, peer: new(Peer), traced: true, route: &st.table.Routes[0]}
	x.beginTrace()
	x.sendTrace(nil)
	var seen [2]map[string]string
	attempts := [2]*attempt{{x: x, race: new(race)}, {x: x, race: new(race)}}
	for _, a := range attempts {
		x.attemptSpan(&a.log)
	}
	for i, a := range attempts {
		seen[i] = make(map[string]string)
		for _, f := range a.request().Fields {
			seen[i][string(f.Name)] = string(f.Value)
		}
		span := hex.EncodeToString(a.log.Span[:])
		for name, at := range map[string]int{"traceparent": 36, "b3": 33, "X-B3-SpanId": 0} {
			if v := seen[i][name]; len(v) < at+16 || v[at:at+16] != span {
				t.Errorf("attempt %d: %s is %q, want the span %s", i, name, v, span)
			}
		}
	}
	if seen[0]["traceparent"] == seen[1]["traceparent"] || seen[0]["X-B3-TraceId"] != seen[1]["X-B3-TraceId"] {
		t.Errorf("%v\n%v", seen[0], seen[1])
	}
}
