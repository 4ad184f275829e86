package poise_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
// and the totals count what was answered, by whom ever.
func TestWhatSourcesSayIsShown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	c := poise.Config{
		Services:  map[string]poise.Service{"all": {Source: &poise.Source{Custom: placed{named(t, "a")}}}},
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
	if e.Zone != "north" || e.Metadata["version"] != "7" {
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
