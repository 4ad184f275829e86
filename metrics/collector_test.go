package metrics

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/metric"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// used is a proxy that has served requests, good and bad ones.
func used(t *testing.T) *poise.Proxy {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(backend.Close)
	p, err := poise.New(poise.Config{
		Services: map[string]poise.Service{
			"users": {Endpoints: []poise.Endpoint{{URL: backend.URL}, {URL: "http://127.0.0.1:1"}}},
			"none":  {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:1"}}},
		},
		Routes: []poise.Route{
			{Name: "users", Match: poise.Match{Path: "/users/**"}, Service: "users"},
			{Match: poise.Match{Host: `*.example.com`, Path: "/**"}, Service: "none"},
			{Match: poise.Match{Path: "/bad"}, Service: "users"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(t.Context()) })
	front := httptest.NewServer(p)
	defer front.Close()
	for _, path := range []string{"/users/1", "/users/2", "/bad", "/missing"} {
		res, err := http.Get(front.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // an exchange is counted after its response
		ended := 0
		for _, n := range p.Status().Totals.Requests {
			ended += int(n)
		}
		if ended == 4 || time.Now().After(limit) {
			return p
		}
	}
}

// series are all samples of families as text.
func series(t *testing.T, families map[string]*dto.MetricFamily) []string {
	t.Helper()
	var out []string
	for name, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := fmt.Sprint(m.GetCounter().GetValue(), m.GetGauge().GetValue())
			if h := m.Histogram; h != nil {
				value = fmt.Sprint(h.GetSampleCount(), len(h.Bucket))
			}
			if strings.HasSuffix(name, "busy_seconds_total") || strings.Contains(name, "lag") || strings.Contains(name, "estimate") || !strings.HasPrefix(name, "poise_") {
				value = "" // differs from one moment to the next
			}
			slices.Sort(labels)
			out = append(out, fmt.Sprint(name, " ", f.GetType(), " ", labels, " ", value))
		}
	}
	slices.Sort(out)
	return out
}

// What the text says, as the parser of Prometheus reads it, is what a registry gathers.
func TestTextAndCollectorAgree(t *testing.T) {
	p := used(t)
	var text bytes.Buffer
	if err := p.WriteMetrics(&text, false, metric.Options{}); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	read, err := parser.TextToMetricFamilies(bytes.NewReader(text.Bytes()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	for _, f := range read { // the parser counts +Inf as a bucket
		for _, m := range f.Metric {
			if h := m.Histogram; h != nil && len(h.Bucket) > 0 {
				h.Bucket = slices.DeleteFunc(h.Bucket, func(b *dto.Bucket) bool { return math.IsInf(b.GetUpperBound(), 1) })
			}
		}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(p, Options{Options: metric.Options{Scopes: metric.Everything}}))
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	gathered := make(map[string]*dto.MetricFamily)
	for _, f := range all {
		gathered[f.GetName()] = f
	}
	one, other := series(t, read), series(t, gathered)
	if len(one) < 80 {
		t.Fatalf("only %d series: the test proves nothing\n%s", len(one), text.String())
	}
	for _, s := range one {
		if !slices.Contains(other, s) {
			t.Errorf("only the text has %s", s)
		}
	}
	for _, s := range other {
		if !slices.Contains(one, s) {
			t.Errorf("only the registry has %s", s)
		}
	}
	for _, f := range metric.Families() {
		if g := gathered[f.Name]; g != nil && g.GetHelp() != f.Help {
			t.Errorf("%s has the help %q", f.Name, g.GetHelp())
		}
	}
}

// The golden file of the text is read by the parser of Prometheus' libraries, every family and both of
// its series.
func TestGoldenFileIsRead(t *testing.T) {
	text, err := os.ReadFile("../metric/testdata/prometheus.txt")
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	read, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range metric.Families() {
		got := read[f.Name]
		if want := 1 + min(len(f.Labels), 1); got == nil || len(got.Metric) != want || got.GetHelp() != f.Help || strings.ToLower(got.GetType().String()) != f.Kind.String() {
			t.Errorf("%s is read as %v", f.Name, got)
			continue
		}
		for i, l := range got.Metric[0].Label {
			if l.GetName() != f.Labels[i] || l.GetValue() == "" {
				t.Errorf("%s has the labels %v", f.Name, got.Metric[0].Label)
			}
		}
	}
}

// go_* and process_* are the business of the registry's own collectors unless they are asked for: with
// these in it, as the default registry has them, it takes a Collector too. What both have means the
// same.
func TestBesideCollectorsOfTheRuntime(t *testing.T) {
	p := used(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection between the two would change the heap
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), NewCollector(p, Options{}))
	theirs, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	own := prometheus.NewPedanticRegistry()
	own.MustRegister(NewCollector(p, Options{Options: metric.Options{Scopes: metric.Runtime}}))
	ours, err := own.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]*dto.MetricFamily)
	for _, f := range theirs {
		known[f.GetName()] = f
	}
	if len(ours) < 20 || known["poise_endpoints"] == nil {
		t.Errorf("only %d families of the runtime, or no endpoints", len(ours))
	}
	for _, f := range ours {
		other := known[f.GetName()]
		if f.GetName() == "go_gc_cycles_total_gc_cycles_total" {
			continue // of client_golang by an option only
		}
		if other == nil || other.GetType() != f.GetType() {
			t.Errorf("%s is no such family of client_golang: %v", f.GetName(), other)
			continue
		}
		a, b := f.Metric[0].GetGauge().GetValue()+f.Metric[0].GetCounter().GetValue(), other.Metric[0].GetGauge().GetValue()+other.Metric[0].GetCounter().GetValue()
		slack := 2.0
		if f.GetName() == "go_memstats_heap_objects" {
			slack = 20_000 // what was gathered in between
		}
		if a < b/2-slack || a > 2*b+slack {
			t.Errorf("%s is %v, theirs %v", f.GetName(), a, b)
		}
	}
}

// Native histograms count the same observations, and their buckets are where the classic ones are.
func TestNativeHistograms(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(used(t), Options{Native: true, Options: metric.Options{Scopes: metric.Route}}))
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range all {
		for _, m := range f.Metric {
			if h := m.Histogram; h != nil {
				seen++
				if h.GetSchema() != schema || len(h.Bucket) != 0 {
					t.Errorf("%s is %v", f.GetName(), h)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("there is no histogram")
	}
	bounds := []float64{0.001, 0.01, 0.1}
	last := math.MinInt
	for i := range 4 {
		k := native(bounds, i)
		low, high := math.Exp2(float64(k-1)/8), math.Exp2(float64(k)/8)
		if i > 0 && low < bounds[i-1] || i < 3 && high > bounds[i] || k <= last {
			t.Errorf("bucket %d is from %v to %v", i, low, high)
		}
		last = k
	}
}
