package poise_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// placed is a source whose endpoint has a zone and metadata.
type placed struct{ url string }

func (s placed) Run(ctx context.Context, publish func(discovery.Update)) error {
	spec, _, err := poise.Endpoint{URL: s.url}.Parse()
	spec.Zone, spec.Metadata = "north", map[string]string{"version": "7"}
	publish(discovery.Update{Endpoints: []endpoint.Spec{spec}, Err: err})
	<-ctx.Done()
	return nil
}

// TestWhatSourcesSayIsShown: zone and metadata in the status, the zone in the access log;
// and the totals count every response, also the proxy's own.
func TestWhatSourcesSayIsShown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	c := poise.Config{
		Services:  map[string]poise.Service{"all": {Source: &poise.Source{Custom: placed{named(t, "a")}}, Lanes: &poise.Lanes{By: "header(X-Version)", Label: "version"}}},
		Routes:    []poise.Route{{Match: poise.Match{Path: "/known"}, Service: "all"}},
		AccessLog: poise.AccessLog{Path: path},
		Logger:    quiet,
	}
	p := start(t, c)
	front := httptest.NewServer(p)
	defer front.Close()
	_, body := get(t, front.Client(), front.URL+"/known")
	get(t, front.Client(), front.URL+"/unknown")
	front.Close() // the handlers have returned: what they did is counted
	s := p.Status()
	e := s.Services[0].Endpoints[0]
	if e.Zone != "north" || e.Metadata["version"] != "7" || e.Lane != "7" {
		t.Errorf("the endpoint's status: %+v", e)
	}
	if n := s.Totals.Requests; n[2] != 1 || n[4] != 1 || s.Totals.BytesOut < uint64(len(body)) || s.AccessLogLost != 0 {
		t.Errorf("totals %+v, lost %d", s.Totals, s.AccessLogLost)
	}
	shut(t, p)
	log, err := os.ReadFile(path)
	if err != nil || strings.Count(string(log), `"zone":"north"`) != 1 {
		t.Errorf("%v, the log: %s", err, log)
	}
}

// TestTheStatusSaysSinceWhenAndWhy: policy, source, the latest probe, and when the next one is due.
func TestTheStatusSaysSinceWhenAndWhy(t *testing.T) {
	ill := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "db down", http.StatusServiceUnavailable)
	}))
	defer ill.Close()
	began := time.Now().Add(-time.Second) // the clocks may be a little apart
	c := toAll(ill.URL)
	all := c.Services["all"]
	all.Health = &poise.Health{Check: "GET /health", Interval: time.Hour}
	c.Services["all"] = all
	c.Services["made"] = poise.Service{Source: &poise.Source{Custom: placed{ill.URL}}}
	p := start(t, c)
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := p.Status()
	if one := s.Services[0]; one.Policy != "round_robin" || one.Source.Kind != "list" {
		t.Errorf("%+v", one)
	}
	if one := s.Services[1]; one.Policy != "least_time" || one.Source.Kind != "custom" {
		t.Errorf("%+v", one)
	}
	e := s.Services[0].Endpoints[0]
	switch now := time.Now().Add(time.Second); {
	case e.Condition != "ejected (probes)" || e.ID != ill.URL || e.Since.Before(began) || e.Since.After(now) || !e.Until.IsZero():
		t.Errorf("%+v", e)
	case e.Probe == nil || e.Probe.At.Before(began) || e.Probe.At.After(now) || e.Probe.Took <= 0 || e.Probe.Failed == 0 || e.Probe.Passed != 0 || !strings.Contains(e.Probe.Error, "503"):
		t.Errorf("%+v", e.Probe)
	}
	if e := s.Services[1].Endpoints[0]; e.Condition != "healthy" || e.Probe != nil {
		t.Errorf("%+v", e)
	}
}
