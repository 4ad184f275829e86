package metric

import (
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Content types of the two formats.
const (
	PrometheusType  = "text/plain; version=0.0.4; charset=utf-8"
	OpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// textRoom is how much a Text gathers before it writes.
const textRoom = 32 << 10

// A Text is a Visitor that writes the Prometheus text format 0.0.4 or OpenMetrics 1.0. It
// allocates one buffer and writes as it goes. The formats differ in three places:
//
//	                 Prometheus               OpenMetrics
//	counters         # TYPE requests_total    # TYPE requests, and requests_created
//	units            nothing                  # UNIT request_duration_seconds seconds
//	the end          nothing                  # EOF
//
// Make one with NewText. It belongs to one goroutine, which calls Close at the end.
type Text struct {
	w    io.Writer
	open bool // OpenMetrics
	buf  []byte
	err  error

	family *Family
	named  bool // the lines about the family were written
	base   string

	keys   []string // what stands before each label's value: service=" and ",endpoint="
	keysOf *string  // the labels that keys are of, by the first of them
	bounds *float64 // the bounds whose texts les has, by the first of them
	les    []string // 0.25"} with the space behind
	labels []byte   // those of the series that is being written
	bucket []byte   // the front of its lines of buckets, up to the bound
}

// NewText returns a Text that writes to w.
func NewText(w io.Writer, openMetrics bool) *Text {
	return &Text{w: w, open: openMetrics, buf: make([]byte, 0, textRoom)}
}

// Accepts reports whether a client that sends this field Accept wants OpenMetrics: it names it.
// Prometheus does, before the older format.
func Accepts(accept string) bool { return strings.Contains(accept, "application/openmetrics-text") }

// Close writes what is left, and returns the first error of the writer.
func (t *Text) Close() error {
	if t.open {
		t.buf = append(t.buf, "# EOF\n"...)
	}
	t.flush()
	return t.err
}

func (t *Text) flush() {
	if t.err == nil && len(t.buf) > 0 {
		_, t.err = t.w.Write(t.buf)
	}
	t.buf = t.buf[:0]
}

// Family implements Visitor.
func (t *Text) Family(f *Family) { t.family, t.named = f, false }

// name writes the lines about the family, before its first series.
func (t *Text) name() {
	if t.named {
		return
	}
	t.named = true
	f := t.family
	t.base = f.Name
	if t.open && f.Kind == Counter {
		t.base = strings.TrimSuffix(f.Name, "_total")
	}
	b := append(t.buf, "# HELP "...)
	b = append(append(b, t.base...), ' ')
	b = append(appendHelp(b, f.Help, t.open), "\n# TYPE "...)
	b = append(append(b, t.base...), ' ')
	b = append(append(b, f.Kind.String()...), '\n')
	if t.open && f.Unit != "" && strings.HasSuffix(t.base, "_"+f.Unit) {
		b = append(append(b, "# UNIT "...), t.base...)
		b = append(append(append(b, ' '), f.Unit...), '\n')
	}
	t.buf = b
}

// Value implements Visitor.
func (t *Text) Value(labels []string, v float64, created Created) {
	t.name()
	t.setLabels(labels)
	t.series(t.family.Name, "")
	t.number(v)
	if t.family.Kind == Counter {
		t.created(created)
	}
	t.spill()
}

// Histogram implements Visitor. Buckets are cumulative in both formats.
func (t *Text) Histogram(labels []string, d *Distribution, created Created) {
	t.name()
	t.setLabels(labels)
	front := append(append(append(t.bucket[:0], t.base...), "_bucket{"...), t.labels...)
	t.bucket = append(front, `le="`...)
	var n uint64
	for i, le := range t.boundsOf(d) {
		n += d.Counts[i]
		t.buf = append(append(t.buf, t.bucket...), le...)
		t.count(n)
	}
	t.series(t.base, "_sum")
	t.number(d.Sum)
	t.series(t.base, "_count")
	t.count(n)
	t.created(created)
	t.spill()
}

// boundsOf are the texts of the bounds of d, +Inf included. Histograms share their bounds.
func (t *Text) boundsOf(d *Distribution) []string {
	const end = `"} `
	if len(d.Bounds) == 0 {
		return []string{"+Inf" + end}
	}
	if t.bounds != &d.Bounds[0] {
		t.bounds, t.les = &d.Bounds[0], t.les[:0]
		for _, b := range d.Bounds {
			t.les = append(t.les, string(appendBound(nil, b))+end)
		}
		t.les = append(t.les, "+Inf"+end)
	}
	return t.les
}

// created writes the sample that says from when a series counts; only OpenMetrics has it.
func (t *Text) created(at time.Time) {
	if !t.open || at.IsZero() {
		return
	}
	t.series(t.base, "_created")
	t.number(float64(at.UnixMilli()) / 1000)
}

// setLabels makes the text of the labels of the next samples, each with a comma behind.
func (t *Text) setLabels(labels []string) {
	b := t.labels[:0]
	if len(labels) > 0 {
		t.setKeys()
		for i, v := range labels {
			b = appendLabel(append(b, t.keys[i]...), v)
		}
		b = append(b, '"', ',')
	}
	t.labels = b
}

// setKeys makes keys, once for a family.
func (t *Text) setKeys() {
	names := t.family.Labels
	if t.keysOf == &names[0] && len(t.keys) == len(names) {
		return
	}
	t.keysOf, t.keys = &names[0], t.keys[:0]
	for i, name := range names {
		if i > 0 {
			name = `",` + name
		}
		t.keys = append(t.keys, name+`="`)
	}
}

// series writes the name of a sample with its labels, and a space.
func (t *Text) series(name, suffix string) {
	b := append(append(t.buf, name...), suffix...)
	if len(t.labels) > 0 {
		b = append(append(b, '{'), t.labels...)
		b[len(b)-1] = '}' // in place of the last comma
	}
	t.buf = append(b, ' ')
}

func (t *Text) count(n uint64) { t.buf = append(strconv.AppendUint(t.buf, n, 10), '\n') }

func (t *Text) number(v float64) {
	switch {
	case math.IsInf(v, 1):
		t.buf = append(t.buf, "+Inf"...)
	case math.IsInf(v, -1):
		t.buf = append(t.buf, "-Inf"...)
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		t.buf = strconv.AppendInt(t.buf, int64(v), 10)
	default:
		t.buf = strconv.AppendFloat(t.buf, v, 'g', -1, 64)
	}
	t.buf = append(t.buf, '\n')
}

// spill writes when so much has gathered that the next series may not fit.
func (t *Text) spill() {
	if len(t.buf) > textRoom*3/4 {
		t.flush()
	}
}

// appendBound writes a bucket's bound: always with a point, as OpenMetrics asks for (1.0).
func appendBound(b []byte, v float64) []byte {
	from := len(b)
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	if !strings.ContainsAny(string(b[from:]), ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// appendLabel escapes a label's value; what is not UTF-8 becomes U+FFFD.
func appendLabel(b []byte, v string) []byte {
	if plain(v) {
		return append(b, v...)
	}
	for _, r := range v {
		switch r {
		case '\\':
			b = append(b, `\\`...)
		case '"':
			b = append(b, `\"`...)
		case '\n':
			b = append(b, `\n`...)
		default:
			b = append(b, string(r)...)
		}
	}
	return b
}

// appendHelp escapes a help text: the older format leaves quotes alone.
func appendHelp(b []byte, v string, open bool) []byte {
	if open {
		return appendLabel(b, v)
	}
	v = strings.ReplaceAll(v, `\`, `\\`)
	return append(b, strings.ReplaceAll(v, "\n", `\n`)...)
}

// plain reports whether a value needs no escapes, as nearly all do.
func plain(v string) bool {
	for i := range len(v) {
		if !ordinary[v[i]] {
			return false
		}
	}
	return true
}

// ordinary are the bytes that stand for themselves in a label's value.
var ordinary = func() (t [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()
