package core

import (
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/explain"
)

// explainWith asks for a target with fields, as "Name: value".
func (w *world) explainWith(target string, fields ...string) (explain.Explanation, string) {
	w.t.Helper()
	q := explain.Request{URL: target, Fields: []explain.Field{{Name: "Host", Value: "a"}}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		q.Fields = append(q.Fields, explain.Field{Name: name, Value: value})
	}
	x, err := w.proxy.Explain(q)
	if err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	if err := x.WriteText(&text); err != nil {
		w.t.Fatal(err)
	}
	return x, text.String()
}

// variants are two services, of which the second has lanes and a cookie, and routes to them.
func variants() config.Config {
	v2 := map[string]string{"version": "v2"}
	return config.Config{
		Services: map[string]config.Service{
			"old": {Endpoints: []config.Endpoint{{URL: "http://10.0.0.1:80"}}},
			"new": {
				Endpoints: []config.Endpoint{{URL: "http://10.0.0.2:80"}, {URL: "http://10.0.0.3:80", Metadata: v2}},
				Sticky:    &config.Sticky{Cookie: "lb"},
				Lanes:     &config.Lanes{By: "header(X-Version)", Label: "version", Otherwise: "unlabelled"},
			},
		},
		Routes: []config.Route{
			{Match: config.Match{Path: "/split"}, Split: &config.Split{Services: []config.Share{{Service: "old", Weight: 3}, {Service: "new", Weight: 1}}, By: "header(X-User)"}},
			{Match: config.Match{Path: "/beta"}, Service: "new", Labels: v2},
			{Service: "new"},
		},
	}
}

// drawn are the addresses of the endpoints that were drawn.
func drawn(x *explain.Explanation) (all string) {
	for _, c := range x.Service.Candidates {
		if c.Draws > 0 {
			all += " " + strings.TrimPrefix(c.ID, "http://10.0.0.")
		}
	}
	return strings.TrimSpace(all)
}

// TestExplainLanes: the endpoints that are drawn, and what is said of the lane.
func TestExplainLanes(t *testing.T) {
	inWorld(t, variants(), func(w *world) {
		for _, c := range []struct{ target, field, drawn, says string }{
			{"/", "X-Version: v2", "3:80", `lane header(X-Version) = "v2": endpoints with version=v2`},
			{"/", "X-Version: v9", "2:80", `lane header(X-Version) = "v9": no usable endpoint has version=v9, so it goes to endpoints without the label version`},
			{"/", "X-Other: 1", "2:80", "the request names no lane (header(X-Version)): endpoints without the label version"},
			{"/beta", "X-Version: v1", "3:80", "labels of the route: version=v2: endpoints with these labels alone"},
		} {
			x, text := w.explainWith(c.target, c.field)
			if got := drawn(&x); got != c.drawn || !strings.Contains(text, c.says) || !strings.Contains(text, "not in the lane") {
				t.Errorf("%s with %s: drawn %q, want %q; %s", c.target, c.field, got, c.drawn, text)
			}
		}
	})
}

// TestExplainSplit: which service gets the request, and why another one does.
func TestExplainSplit(t *testing.T) {
	inWorld(t, variants(), func(w *world) {
		byUser := make(map[string]string)
		for _, user := range []string{"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"} {
			x, text := w.explainWith("/split", "X-User: "+user)
			byUser[x.Split.Chosen] = user
			if x.Service.Name != x.Split.Chosen || !strings.Contains(text, "the key belongs here") || x.Service.ConfigKey != "services."+x.Split.Chosen {
				t.Errorf("%+v: %s", x.Split, text)
			}
		}
		if len(byUser) != 2 {
			t.Fatalf("all users are with one service: %v", byUser)
		}
		if x, text := w.explainWith("/split"); x.Split.Chosen != "old" || len(x.Notes) == 0 || !strings.Contains(text, "split, drawn: the request has no key") {
			t.Errorf("%+v: %s", x.Split, text)
		}
		for _, s := range w.proxy.Services() {
			if s.Name() == "old" {
				if _, err := s.Override(endpoint.Override{Endpoint: endpoint.ID{Scheme: "http", Address: "10.0.0.1:80"}, Kind: endpoint.Drain}); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.wait(time.Second)
		if x, text := w.explainWith("/split", "X-User: "+byUser["old"]); x.Split.Chosen != "new" || !strings.Contains(text, "no usable endpoint: the others have its share") {
			t.Errorf("%+v: %s", x.Split, text)
		}
	})
}

// TestExplainSticky: what the cookie of a response says of the next request.
func TestExplainSticky(t *testing.T) {
	inWorld(t, variants(), func(w *world) {
		_, text := w.explainWith("/")
		if !strings.Contains(text, "cookie lb: the request has none") {
			t.Error(text)
		}
		head := w.proxy.table.Load().Routes[2].Service
		cookie := string(head.Sticky.AppendCookie(nil, head.Sticky.Token(endpoint.ID{Scheme: "http", Address: "10.0.0.2:80"}), false))
		cookie, _, _ = strings.Cut(cookie, ";")
		if x, text := w.explainWith("/", "Cookie: "+cookie); !x.Service.Sticky.Kept || x.Service.Sticky.Endpoint != "http://10.0.0.2:80" {
			t.Error(text)
		}
		if x, text := w.explainWith("/", "Cookie: "+cookie, "X-Version: v2"); x.Service.Sticky.Kept || !strings.Contains(text, "10.0.0.2:80 cannot be used now") {
			t.Error(text) // it is not in that lane
		}
		if _, text := w.explainWith("/", "Cookie: lb=BBBBBBBBBBA"); !strings.Contains(text, "names no endpoint of the service") {
			t.Error(text)
		}
	})
}
