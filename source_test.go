package poise_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/sources"
)

// byHand is a source that publishes what a test gives it.
type byHand chan discovery.Update

func (b byHand) Run(ctx context.Context, publish func(discovery.Update)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-b:
			publish(u)
		}
	}
}

// names publishes the set of these endpoints.
func (b byHand) names(t testing.TB, urls ...string) {
	t.Helper()
	var u discovery.Update
	for _, url := range urls {
		spec, _, err := config.Endpoint{URL: url}.Parse()
		if err != nil {
			t.Fatal(err)
		}
		u.Endpoints = append(u.Endpoints, spec)
	}
	b <- u
}

func fromHand(b byHand, guard config.Guard) poise.Config {
	return poise.Config{
		Services: map[string]poise.Service{"all": {Source: &poise.Source{Custom: b}, Guard: guard, Policy: poise.Policy{Type: "round_robin"}}},
		Routes:   []poise.Route{{Service: "all"}},
		Logger:   quiet,
	}
}

// eventually waits for something that other goroutines are about to bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in ten seconds: %s", what)
		}
	}
}

// TestARegistryThatLosesItsData: requests go on as long as endpoints answer, and no
// further; the status says why.
func TestARegistryThatLosesItsData(t *testing.T) {
	one, other := named(t, "one"), httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("other"))
	}))
	defer other.Close()
	source := make(byHand)
	p := start(t, fromHand(source, config.Guard{}))
	front := httptest.NewServer(p)
	defer front.Close()

	source.names(t, one, other.URL)
	get(t, front.Client(), front.URL) // waits for the first set
	source.names(t)                   // none at all
	all := func() poise.ServiceStatus { return p.Status().Services[0] }
	eventually(t, "both are held", func() bool { return all().Source.Held == 2 })
	for _, e := range all().Endpoints {
		if !e.Held || e.State != "healthy" {
			t.Errorf("%+v, want it held and healthy", e)
		}
	}
	for range 10 {
		if status, body := get(t, front.Client(), front.URL); status != 200 {
			t.Fatalf("%d %q while the endpoints are there", status, body)
		}
	}
	other.Close() // it did go away
	eventually(t, "its removal is confirmed", func() bool { return all().Source.Held == 1 })
	for range 10 {
		if status, body := get(t, front.Client(), front.URL); status != 200 || !strings.HasPrefix(body, "one ") {
			t.Fatalf("%d %q, want one", status, body)
		}
	}
	source.names(t, one)
	eventually(t, "nothing is held", func() bool { return all().Source.Held == 0 && !all().Endpoints[0].Held })

	source <- discovery.Update{Err: errors.New("no such host")}
	eventually(t, "it is stale", func() bool { return all().Source.Stale && all().Source.Age > 0 && all().Source.Error == "no such host" })
	source <- discovery.Update{Endpoints: []endpoint.Spec{}, Rejected: []discovery.Reject{{ID: "i-1", Reason: "port 0"}}}
	eventually(t, "it is back", func() bool {
		s := all().Source
		return !s.Stale && s.Error == "" && s.Rejects == 1 && s.Rejected[0] == poise.Rejected{ID: "i-1", Reason: "port 0"} && s.Held == 1
	})
	c := fromHand(source, config.Guard{MaxRemoval: -1})
	if err := p.Apply(c); err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, front.Client(), front.URL); status != 503 {
		t.Errorf("%d %q after the guard was switched off", status, body)
	}
}

// TestAColdStartWhileTheRegistryIsDown: what a source named last is there again, and it is
// said that it may be old.
func TestAColdStartWhileTheRegistryIsDown(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "snapshots")
	source := make(byHand)
	c := fromHand(source, config.Guard{})
	c.Snapshot = folder
	one := named(t, "one")
	up := start(t, c)
	source.names(t, one)
	front := httptest.NewServer(up)
	get(t, front.Client(), front.URL)
	front.Close()
	shut(t, up)

	down := start(t, c)
	source <- discovery.Update{Err: errors.New("connection refused")}
	front = httptest.NewServer(down)
	defer front.Close()
	if status, body := get(t, front.Client(), front.URL); status != 200 {
		t.Errorf("%d %q, want what the snapshot has", status, body)
	}
	if s := down.Status().Services[0].Source; !s.Stale || !strings.Contains(s.Error, "using the snapshot of ") || !strings.HasSuffix(s.Error, ": connection refused") {
		t.Errorf("%+v, want it stale, with the snapshot and the reason", s)
	}
	source.names(t, one, named(t, "two"))
	eventually(t, "it is back", func() bool { s := down.Status().Services[0]; return !s.Source.Stale && len(s.Endpoints) == 2 })
	if err := down.Apply(fromHand(source, config.Guard{})); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	source.names(t, one)
	shut(t, down)
	if _, err := os.Stat(folder); err == nil {
		t.Error("snapshots are written although they are switched off")
	}
}

// TestDiscover: one route leads to whatever service there is a list of.
func TestDiscover(t *testing.T) {
	folder := t.TempDir()
	list := func(service, url string) {
		t.Helper()
		next := filepath.Join(folder, "next")
		if err := os.WriteFile(next, []byte("- "+url+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(folder, service+".yaml")); err != nil {
			t.Fatal(err)
		}
	}
	list("orders", named(t, "one"))
	list("users", named(t, "two"))
	c := poise.Config{
		Sources: []poise.SourceKind{sources.File()},
		Discover: map[string]config.Discover{"lists": {
			Source: poise.Source{File: &poise.FileSource{Path: filepath.Join(folder, "{service}.yaml")}},
		}},
		Routes: []poise.Route{{Match: poise.Match{Path: "/api/{service}/**"}, Discover: "lists"}},
		Logger: quiet,
	}
	p := start(t, c)
	mounted := httptest.NewServer(p) // net/http reads the requests of one, the proxy itself those of the other
	defer mounted.Close()
	for _, front := range []string{mounted.URL, "http://" + serve(t, p)} {
		for service, name := range map[string]string{"orders": "one", "users": "two"} {
			if status, body := get(t, http.DefaultClient, front+"/api/"+service+"/x"); status != 200 || !strings.HasPrefix(body, name+" GET /api/"+service+"/x ") {
				t.Errorf("%s: %d %q, want %s", service, status, body, name)
			}
		}
		if status, _ := get(t, http.DefaultClient, front+"/api/..%2f..%2fetc/x"); status != 400 && status != 404 {
			t.Errorf("%d for a name that leaves the folder", status)
		}
	}
	if err := p.Apply(c); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range p.Status().Services {
		names = append(names, s.Name)
		if s.Endpoints[0].Attempts != 2 {
			t.Errorf("%s: %d attempts are remembered, want 2", s.Name, s.Endpoints[0].Attempts)
		}
	}
	if strings.Join(names, " ") != "lists/orders lists/users" {
		t.Errorf("services %q", names)
	}
	list("orders", named(t, "three")) // a change arrives
	eventually(t, "three answers for orders", func() bool {
		_, body := get(t, http.DefaultClient, mounted.URL+"/api/orders/x")
		return strings.HasPrefix(body, "three ")
	})
}
