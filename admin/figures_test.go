package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/poise-lb/poise"
)

// A service that discover has found shows its own figures, by its attempts: those of the route are
// of all that it leads to. The total has each request once.
func TestFiguresOfDiscoveredServices(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/carts/fail" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, "hello")
	}))
	defer backend.Close()
	folder := t.TempDir()
	for _, name := range []string{"users", "carts"} {
		if err := os.WriteFile(filepath.Join(folder, name+".json"), []byte(`["`+backend.URL+`"]`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := poise.New(poise.Config{
		Logger: slog.New(slog.DiscardHandler),
		Discover: map[string]poise.Discover{"lists": {
			Source: poise.Source{File: &poise.FileSource{Path: filepath.Join(folder, "{service}.json")}},
			Retry:  poise.Retry{Attempts: 1},
		}},
		Routes: []poise.Route{{Match: poise.Match{Path: "/{service}/**"}, Discover: "lists"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	front := httptest.NewServer(p)
	defer front.Close()
	side := httptest.NewServer(Handler(p, Options{}))
	defer side.Close()
	fetch := func(url string, into any) {
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if into != nil {
			err = json.NewDecoder(res.Body).Decode(into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/users/1", "/users/2", "/users/3", "/carts/1", "/carts/fail"} {
		fetch(front.URL+path, nil)
	}
	var list struct{ Services []ServiceView }
	fetch(side.URL+"/api/v1/services", &list)
	want := map[string][2]uint64{"lists/users": {3, 0}, "lists/carts": {2, 1}}
	for _, s := range list.Services {
		if got := [2]uint64{s.Requests, s.Errors}; got != want[s.Name] || s.P99 == 0 {
			t.Errorf("%s: %d requests and errors, p99 %v s, want %d", s.Name, got, s.P99, want[s.Name])
		}
		delete(want, s.Name)
		var one ServiceDetail
		fetch(side.URL+"/api/v1/services/"+url.PathEscape(s.Name), &one)
		if one.Requests != s.Requests || one.Errors != s.Errors {
			t.Errorf("%s alone: %d requests, %d errors", s.Name, one.Requests, one.Errors)
		}
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

// What an endpoint is expected to get is by weight, within its place and its lane: what a lane gets is
// said by those who ask for it.
func TestExpected(t *testing.T) {
	one := func(label, lane, place string, weight float64, usable bool) poise.EndpointStatus {
		return poise.EndpointStatus{Label: label, Lane: lane, Place: place, Weight: weight, Usable: usable}
	}
	for name, test := range map[string]struct {
		s    poise.ServiceStatus
		had  map[string]float64
		want map[string]float64
	}{
		"weights": {poise.ServiceStatus{Endpoints: []poise.EndpointStatus{one("a", "", "", 3, true), one("b", "", "", 1, true), one("c", "", "", 1, false)}},
			nil, map[string]float64{"a": 0.75, "b": 0.25, "c": 0}},
		"places": {poise.ServiceStatus{Places: []poise.PlaceStatus{{Name: "near", Share: 0.8}, {Name: "far", Share: 0.2}},
			Endpoints: []poise.EndpointStatus{one("a", "", "near", 1, true), one("b", "", "near", 1, true), one("c", "", "far", 1, true)}},
			nil, map[string]float64{"a": 0.4, "b": 0.4, "c": 0.2}},
		"a lane that few ask for": {poise.ServiceStatus{Lanes: []poise.LaneStatus{{}, {Value: "v2"}},
			Endpoints: []poise.EndpointStatus{one("a", "", "", 1, true), one("b", "", "", 1, true), one("c", "v2", "", 5, true)}},
			map[string]float64{"a": 60, "b": 30, "c": 10}, map[string]float64{"a": 0.45, "b": 0.45, "c": 0.1}},
		"a lane that nothing asks for": {poise.ServiceStatus{Lanes: []poise.LaneStatus{{}, {Value: "v2"}},
			Endpoints: []poise.EndpointStatus{one("a", "", "", 1, true), one("c", "v2", "", 1, true)}},
			map[string]float64{"a": 5}, map[string]float64{"a": 1, "c": 0}},
	} {
		expected := expectedOf(&test.s, func(label string) float64 { return test.had[label] })
		for i := range test.s.Endpoints {
			e := &test.s.Endpoints[i]
			if got := expected(e); math.Abs(got-test.want[e.Label]) > 1e-9 {
				t.Errorf("%s: %s is expected to get %.3f, want %.3f", name, e.Label, got, test.want[e.Label])
			}
		}
	}
}
