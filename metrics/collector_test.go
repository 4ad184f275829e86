package metrics

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/metric"
	"github.com/prometheus/client_golang/prometheus"
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
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) { // an exchange is counted after its response
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
			if strings.HasSuffix(name, "busy_seconds_total") || strings.Contains(name, "lag") || strings.Contains(name, "estimate") {
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
	registry.MustRegister(NewCollector(p, Options{}))
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
