package poise_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/configfile"
)

// TestOverrides plays an operator: what is said holds at once, is shown, outlives Apply, and can be
// copied as configuration.
func TestOverrides(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	c := toAll(a, b)
	p := start(t, c)
	front := httptest.NewServer(p)
	defer front.Close()
	serves := func(want string) {
		t.Helper()
		var got string
		// What takes an endpoint out holds at once. One that is back is in the next view, and the
		// policy draws: six requests may all go to the other.
		both := func() bool { return strings.Contains(got, "a") && strings.Contains(got, "b") }
		for limit := time.Now().Add(30 * time.Second); len(got) < 6 || want == "ab" && !both() && time.Now().Before(limit); {
			_, body := get(t, front.Client(), front.URL+"/x")
			got += body[:1]
		}
		if want == "ab" && !both() || want != "ab" && strings.Trim(got, want) != "" {
			t.Fatalf("%q have answered, want %q", got, want)
		}
	}
	until := time.Now().Add(time.Hour)
	ask := func(kind, endpoint string) poise.Override {
		t.Helper()
		r := poise.OverrideRequest{Service: "all", Endpoint: endpoint, Kind: kind, Who: "zhao", Why: "disk\nfull"}
		if kind == "drain" {
			r.Until = until
		}
		o, err := p.Override(r)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	serves("ab")
	o := ask("drain", a)
	serves("b")
	if o.Kind != "drain" || o.Endpoint != a || o.Who != "zhao" || o.Why != "disk full" || o.Until.Sub(until).Abs() > time.Second || time.Since(o.Made) > time.Minute {
		t.Errorf("%+v", o)
	}
	if err := p.Apply(c); err != nil {
		t.Fatal(err)
	}
	serves("b")
	of := func(url string) (found poise.EndpointStatus) {
		for _, e := range p.Status().Services[0].Endpoints {
			if e.URL == url {
				found = e
			}
		}
		return found
	}
	if e := of(a); e.Condition != "draining (operator)" || e.State != "healthy" || len(e.Overrides) != 1 || e.Overrides[0] != o || e.Until != o.Until || e.Since != o.Made {
		t.Errorf("%+v", e)
	}
	if all := p.Overrides(); len(all) != 1 || all[0] != o {
		t.Errorf("%+v", all)
	}
	if ended := ask("undrain", strings.TrimPrefix(a, "http://")); ended != o {
		t.Errorf("undrain has ended %+v", ended)
	}
	serves("ab")
	ask("eject", b)
	serves("a")
	if e := of(b); e.Condition != "ejected (operator)" || e.State != "ejected" || e.Cause != "operator" || !e.Until.IsZero() {
		t.Errorf("%+v", e)
	}
	history, err := p.History("all", b)
	if err != nil || len(history) != 1 || history[0].State != "ejected" || history[0].Cause != "operator" || history[0].At != of(b).Since {
		t.Errorf("%+v, %v", history, err)
	}
	ask("admit", b)
	serves("ab")
	if err := p.RemoveOverride("all", b, "eject", "li"); !errors.Is(err, poise.ErrNoOverride) {
		t.Error(err)
	}
	if all := p.Overrides(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// TestOverridesAsConfiguration: what is written is read again as what was meant.
func TestOverridesAsConfiguration(t *testing.T) {
	when := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	text := poise.OverridesYAML([]poise.Override{
		{Service: "users", Endpoint: "http://10.0.0.1:80", Kind: "weight", Weight: 2, Who: "zhao", Why: "slow\n- {url: x}", Until: when},
		{Service: "orders", Endpoint: "http://unix:/run/o.sock", Kind: "drain"},
		{Service: "users", Endpoint: "http://10.0.0.2:80#7", Kind: "eject"},
		{Service: "users", Endpoint: "http://10.0.0.1:80", Kind: "drain"},
	})
	want := `services:
  orders:
    endpoints:
      # drain
      - {url: "unix:/run/o.sock", drain: true}
  users:
    endpoints:
      # weight 2, by zhao, until 2026-01-02T15:04:05Z: slow - {url: x}
      # drain
      - {url: "http://10.0.0.1:80", weight: 2, drain: true}
      # eject
      # - {url: "http://10.0.0.2:80"}
`
	if text != want {
		t.Errorf("written:\n%s\nwant:\n%s", text, want)
	}
	c, err := configfile.Parse("o.yaml", []byte("version: 1\nroutes: [{service: users}]\n"+text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := c.Services["users"].Endpoints; len(e) != 1 || e[0].Weight != 2 || !e[0].Drain || !c.Services["orders"].Endpoints[0].Drain {
		t.Errorf("%+v", c.Services)
	}
	if one := (poise.Override{Service: "s", Endpoint: "http://h:1", Kind: "eject"}).YAML(); !strings.Contains(one, "# eject\n") {
		t.Errorf("%s", one)
	}
}

// TestOverrideRequestsWithMistakes: the errors say what was meant, most likely.
func TestOverrideRequestsWithMistakes(t *testing.T) {
	a := named(t, "a")
	p := start(t, toAll(a))
	for _, c := range []struct {
		change func(*poise.OverrideRequest)
		want   string
		is     error
	}{
		{func(r *poise.OverrideRequest) { r.Service = "al" }, `no such service "al": did you mean "all"?`, poise.ErrUnknownService},
		{func(r *poise.OverrideRequest) { r.Endpoint = a + "1" }, `no such endpoint in service "all": "` + a + `1": did you mean "` + a + `"?`, poise.ErrUnknownEndpoint},
		{func(r *poise.OverrideRequest) { r.Endpoint = "zz" }, `: there are ` + a, poise.ErrUnknownEndpoint},
		{func(r *poise.OverrideRequest) { r.Kind = "drian" }, `no such kind of override "drian": did you mean "drain"?`, nil},
		{func(r *poise.OverrideRequest) { r.Kind = "undrain" }, `no operator has set "drain" for ` + a, poise.ErrNoOverride},
		{func(r *poise.OverrideRequest) { r.Kind = "weight" }, `drain the endpoint`, nil},
		{func(r *poise.OverrideRequest) { r.Kind, r.Weight = "weight", 1001 }, `at most 1000`, nil},
		{func(r *poise.OverrideRequest) { r.Weight = 2 }, `drain has no weight`, nil},
		{func(r *poise.OverrideRequest) { r.Until = time.Now().Add(-time.Second) }, `has passed`, nil},
		{func(r *poise.OverrideRequest) { r.Kind, r.Until = "admit", time.Now().Add(time.Hour) }, `admit has no end`, nil},
		{func(r *poise.OverrideRequest) { r.Why = strings.Repeat("x", 501) }, `too long`, nil},
		{func(r *poise.OverrideRequest) { r.Who = "\xff" }, `UTF-8`, nil},
	} {
		r := poise.OverrideRequest{Service: "all", Endpoint: a, Kind: "drain"}
		c.change(&r)
		_, err := p.Override(r)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%+v: %v, want %s", r, err, c.want)
		}
	}
	if err := p.RemoveOverride("all", a, "admit", ""); err == nil || !strings.Contains(err.Error(), "there are drain, eject, weight") {
		t.Error(err)
	}
	if all := p.Overrides(); len(all) != 0 {
		t.Errorf("a request with a mistake has set %+v", all)
	}
}

// TestOverrideByLabel: what metrics and the status call an endpoint names it, and no other one.
func TestOverrideByLabel(t *testing.T) {
	p := start(t, poise.Config{
		Services: map[string]poise.Service{"all": {Endpoints: []poise.Endpoint{
			{URL: "http://127.0.0.1:1"}, {URL: "http://127.0.0.1:2"}, {URL: "https://127.0.0.1:2"},
		}}},
		Routes: []poise.Route{{Service: "all"}},
	})
	for _, e := range p.Status().Services[0].Endpoints {
		for _, text := range []string{e.Label, e.ID, e.URL} {
			o, err := p.Override(poise.OverrideRequest{Service: "all", Endpoint: text, Kind: "drain"})
			if err != nil || o.Endpoint != e.ID {
				t.Errorf("%s: %q, %v", text, o.Endpoint, err)
			}
		}
	}
}
