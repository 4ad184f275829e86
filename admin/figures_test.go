package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
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
