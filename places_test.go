package poise_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/metric"
)

// Places are shown by the status, metrics and explain, and only where there are several.
func TestPlacesAreShown(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	c := poise.Config{
		Zone: "north",
		Services: map[string]poise.Service{
			"two": {Endpoints: []poise.Endpoint{{URL: a, Zone: "north"}, {URL: b, Backup: true}}},
			"one": {Endpoints: []poise.Endpoint{{URL: a}, {URL: b}}},
		},
		Routes: []poise.Route{{Service: "two"}},
		Logger: quiet,
	}
	p := start(t, c)
	services := p.Status().Services
	one, two := services[0], services[1]
	if one.Places != nil || one.Endpoints[0].Place != "" {
		t.Errorf("%+v", one.Places)
	}
	if len(two.Places) != 2 || two.Places[0].Share != 1 || two.Places[1].Share != 0 || two.Places[1].Why != "1 of 1 usable: not needed" {
		t.Errorf("%+v", two.Places)
	}
	for _, e := range two.Endpoints {
		if want := map[string]string{a: "priority 0", b: "priority 1"}[e.URL]; e.Place != want {
			t.Errorf("%s is in %q, want %q", e.URL, e.Place, want)
		}
	}
	var out bytes.Buffer
	w := metric.NewText(&out, false)
	p.Collect(w, metric.Options{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`poise_place_share{service="two",priority="0",zone=""} 1`, `poise_place_share{service="two",priority="1",zone=""} 0`} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no series %s", line)
		}
	}
	if strings.Contains(out.String(), `poise_place_share{service="one"`) {
		t.Error("a series of a service with one place")
	}
	x, err := p.Explain(poise.ExplainRequest{URL: "/"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := x.WriteText(&text); err != nil || !strings.Contains(text.String(), "priority 1  0.0 %    1 of 1 usable: not needed") {
		t.Errorf("%v\n%s", err, text.String())
	}
}
