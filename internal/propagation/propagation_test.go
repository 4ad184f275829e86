package propagation

import (
	"encoding/hex"
	"strings"
	"testing"
)

const (
	traceText = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanText  = "00f067aa0ba902b7"
)

var (
	traceID = [16]byte{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}
	spanID  = [8]byte{0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7}
	short   = [16]byte{8: 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}
)

func TestParseW3C(t *testing.T) {
	ids := traceText + "-" + spanText
	for v, want := range map[string]Context{
		"00-" + ids + "-00":                        {traceID, spanID, NotSampled, false},
		"00-" + ids + "-01":                        {traceID, spanID, Sampled, false},
		"00-" + ids + "-03":                        {traceID, spanID, Sampled, true},
		"00-" + ids + "-fe":                        {traceID, spanID, NotSampled, true},
		"cc-" + ids + "-01":                        {traceID, spanID, Sampled, false},
		"cc-" + ids + "-01-more":                   {traceID, spanID, Sampled, false},
		"cc-" + ids + "-01-":                       {traceID, spanID, Sampled, false},
		"":                                         {},
		"00-" + ids + "-01-more":                   {},
		"00-" + ids + "-01-":                       {},
		"cc-" + ids + "-01.more":                   {},
		"ff-" + ids + "-01":                        {},
		"0-" + ids + "-01":                         {},
		"00-" + ids + "-1":                         {},
		"00-" + ids + "-0x":                        {},
		"00-" + ids:                                {},
		" 00-" + ids + "-01":                       {},
		"0X-" + ids + "-01":                        {},
		"00_" + ids + "-01":                        {},
		"00-" + traceText + "_" + spanText + "-01": {},
		"00-" + strings.ToUpper(traceText) + "-" + spanText + "-01": {},
		"00-" + traceText + "-" + strings.ToUpper(spanText) + "-01": {},
		"00-" + strings.Repeat("0", 32) + "-" + spanText + "-01":    {},
		"00-" + traceText + "-" + strings.Repeat("0", 16) + "-01":   {},
		"00-" + traceText + "-" + spanText + "x01":                  {},
	} {
		got, ok := ParseW3C([]byte(v))
		if got != want || ok != (want != Context{}) {
			t.Errorf("%q: %v %v, want %v", v, got, ok, want)
		}
	}
}

func TestParseB3(t *testing.T) {
	for v, want := range map[string]Context{
		traceText + "-" + spanText:                         {Trace: traceID, Parent: spanID},
		strings.ToUpper(traceText) + "-" + spanText + "-0": {traceID, spanID, NotSampled, false},
		traceText + "-" + spanText + "-d":                  {traceID, spanID, Sampled, false},
		traceText + "-" + spanText + "-1-" + spanText:      {traceID, spanID, Sampled, false},
		traceText[16:] + "-" + spanText + "-1":             {short, spanID, Sampled, false},
		"0":                                                {Decision: NotSampled},
		"1":                                                {Decision: Sampled},
		"d":                                                {Decision: Sampled},
		"":                                                 {},
		"2":                                                {},
		traceText:                                          {},
		traceText + "-":                                    {},
		traceText + "-" + spanText + "-":                   {},
		traceText + "-" + spanText + "-2":                  {},
		traceText + "-" + spanText + "-1-":                 {},
		traceText + "-" + spanText + "-1-" + spanText + "-more": {},
		traceText[1:] + "-" + spanText:                          {},
		strings.Repeat("0", 32) + "-" + spanText:                {},
		traceText + "-" + strings.Repeat("0", 16):               {},
	} {
		got, ok := ParseB3([]byte(v))
		if got != want || ok != (want != Context{}) {
			t.Errorf("%q: %v %v, want %v", v, got, ok, want)
		}
	}
}

func TestB3Fields(t *testing.T) {
	for _, test := range []struct {
		trace, span, sampled, flags string
		want                        Context
	}{
		{traceText, spanText, "", "", Context{Trace: traceID, Parent: spanID}},
		{traceText, spanText, "1", "", Context{traceID, spanID, Sampled, false}},
		{traceText[16:], spanText, "false", "", Context{short, spanID, NotSampled, false}},
		{traceText, spanText, "0", "1", Context{traceID, spanID, Sampled, false}},
		{"", "", "true", "", Context{Decision: Sampled}},
		{"", "", "", "", Context{}},
		{traceText, "", "1", "", Context{}},
		{"", spanText, "1", "", Context{}},
		{traceText, spanText, "maybe", "", Context{}},
		{"x", spanText, "1", "", Context{}},
	} {
		value := func(s string) []byte {
			if s == "" {
				return nil
			}
			return []byte(s)
		}
		f := B3Fields{value(test.trace), value(test.span), value(test.sampled), value(test.flags)}
		got, ok := f.Context()
		if got != test.want || ok != (test.want != Context{}) {
			t.Errorf("%+v: %v %v", test, got, ok)
		}
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for _, flags := range []byte{0, 1, 2, 3} {
		b := AppendW3C(nil, &traceID, &spanID, flags)
		c, ok := ParseW3C(b)
		if !ok || len(b) != W3CBytes || string(b[SpanAt:SpanAt+16]) != spanText || Flags(c.Decision == Sampled, c.Random) != flags {
			t.Errorf("%d: %s: %v", flags, b, c)
		}
	}
	for _, d := range []Decision{Undecided, NotSampled, Sampled} {
		for _, parent := range [][8]byte{{}, {1}} {
			b := AppendB3(nil, &traceID, &spanID, &parent, d)
			if c, ok := ParseB3(b); !ok || c != (Context{traceID, spanID, d, false}) || string(b[B3SpanAt:B3SpanAt+16]) != spanText {
				t.Errorf("%d: %s: %v", d, b, c)
			}
		}
	}
}

func TestHex(t *testing.T) {
	var trace [16]byte
	var span [8]byte
	for at := range 256 { // each byte at each place
		for i := range trace {
			trace[i] = byte(at + 17*i)
		}
		copy(span[:], trace[3:])
		if got, want := string(AppendTrace([]byte("x"), &trace)), "x"+hex.EncodeToString(trace[:]); got != want {
			t.Errorf("%s\n%s", got, want)
		}
		if got, want := string(AppendSpan([]byte("x"), &span)), "x"+hex.EncodeToString(span[:]); got != want {
			t.Errorf("%s\n%s", got, want)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	v, b := []byte("00-"+traceText+"-"+spanText+"-01"), make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		c, _ := ParseW3C(v)
		b = AppendW3C(b[:0], &c.Trace, &c.Parent, 1)
		b = AppendB3(b[:0], &c.Trace, &c.Parent, &c.Parent, Sampled)
		ParseB3(b)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzW3C: no input panics; what is valid has ids, and in version 00 is written as it was read.
func FuzzW3C(f *testing.F) {
	f.Add([]byte("00-" + traceText + "-" + spanText + "-01"))
	f.Add([]byte("cc-" + traceText + "-" + spanText + "-01-x"))
	f.Fuzz(func(t *testing.T, v []byte) {
		c, ok := ParseW3C(v)
		switch {
		case !ok && c != Context{}:
			t.Errorf("%q is invalid, but %v", v, c)
		case ok && (c.Trace == [16]byte{} || c.Parent == [8]byte{}):
			t.Errorf("%q has no ids: %v", v, c)
		case ok && string(v[:2]) == "00" && v[53] == '0' && v[54] <= '3':
			if b := AppendW3C(nil, &c.Trace, &c.Parent, Flags(c.Decision == Sampled, c.Random)); string(b) != string(v) {
				t.Errorf("%q is written %q", v, b)
			}
		}
	})
}

// FuzzB3: no input panics, and what is valid is written as something that says the same.
func FuzzB3(f *testing.F) {
	f.Add([]byte(traceText + "-" + spanText + "-1-" + spanText))
	f.Add([]byte("0"))
	f.Fuzz(func(t *testing.T, v []byte) {
		c, ok := ParseB3(v)
		if !ok || c.Trace == [16]byte{} {
			return
		}
		again, ok := ParseB3(AppendB3(nil, &c.Trace, &c.Parent, new([8]byte), c.Decision))
		if !ok || again != c {
			t.Errorf("%q: %v, then %v", v, c, again)
		}
	})
}

func BenchmarkW3C(b *testing.B) {
	v, out := []byte("00-"+traceText+"-"+spanText+"-01"), make([]byte, 0, 100)
	for b.Loop() {
		c, _ := ParseW3C(v)
		out = AppendW3C(out[:0], &c.Trace, &c.Parent, 1)
	}
}
