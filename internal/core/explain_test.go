package core

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/explain"
)

// explain asks for a target as ask does.
func (w *world) explain(target string) explain.Explanation {
	w.t.Helper()
	x, err := w.proxy.Explain(explain.Request{URL: target, Client: netip.MustParseAddr("192.0.2.1").String(), Fields: []explain.Field{{Name: "Host", Value: "a"}}})
	if err != nil {
		w.t.Error(err)
	}
	return x
}

// replies compares the reply that is explained with the answer of the proxy.
func (w *world) replies(target string) {
	w.t.Helper()
	x := w.explain(target)
	if x.Reply == nil {
		w.t.Errorf("%s: no reply: %+v", target, x)
		return
	}
	answer := w.ask(target)
	if status, reason, _ := strings.Cut(answer, " "); status != itoa(x.Reply.Status) || reason != x.Reply.Reason {
		w.t.Errorf("%s: explained %+v, answered %s", target, x.Reply, answer)
	}
}

func itoa(n int) string {
	return string([]byte{'0' + byte(n/100), '0' + byte(n/10%10), '0' + byte(n%10)})
}

// Explaining a request for a service that no request has named yet does not start it.
func TestExplainStartsNoService(t *testing.T) {
	allow := func(d *config.Discover) { d.Allow = []string{"orders", "empty"} }
	inWorld(t, discovering(allow), func(w *world) {
		w.serve("10.0.0.1:80")
		w.registry.set("/orders", "10.0.0.1:80")
		x := w.explain("/orders/a")
		w.watched()
		if len(w.proxy.Services()) > 0 || x.Reply != nil || !x.Service.Starts || x.Service.Name != "apps/orders" || len(x.Notes) != 1 {
			t.Errorf("%+v", x)
		}
		w.answers("/orders/a", "200 10.0.0.1:80 /orders/a")
		if x = w.explain("/orders/a"); x.Service.Starts || x.Service.Candidates[0].Draws != explainDraws || x.Service.Candidates[0].ID != "http://10.0.0.1:80" {
			t.Errorf("%+v", x.Service)
		}
		w.replies("/other/a") // not allowed
		w.replies("/a%2Fb/")  // no name
		w.replies("/")
		w.replies("/x/../..")
		w.ask("/empty/")
		w.replies("/empty/") // the registry has none
		w.watched("/empty", "/orders")
	})
}

// An endpoint that the breaker has ejected is shown as that, with the rest of its time; when it is
// half-open it gets draws, and its trial is still there afterwards.
func TestExplainShowsTheStateOfEndpoints(t *testing.T) {
	c := config.Config{
		Services: map[string]config.Service{"s": {
			Endpoints: []config.Endpoint{{URL: "http://10.0.0.1:80"}, {URL: "http://10.0.0.2:80"}},
			Policy:    config.Policy{Type: "round_robin"}, Breaker: config.Breaker{ConsecutiveFailures: 2, OpenFor: 4 * time.Second},
		}},
		Routes: []config.Route{{Service: "s"}},
	}
	inWorld(t, c, func(w *world) {
		w.serve("10.0.0.2:80")
		for range 4 { // nothing listens at the first one
			w.answers("/", "200 10.0.0.2:80 /")
		}
		x := w.explain("/")
		ill, well := x.Service.Candidates[0], x.Service.Candidates[1]
		if ill.State != "ejected" || ill.Cause != "breaker" || ill.Eligible || ill.Draws != 0 || ill.For == "" || well.Draws != explainDraws || well.Expected != 1 {
			t.Errorf("%+v\n%+v", ill, well)
		}
		w.wait(4500 * time.Millisecond)
		w.serve("10.0.0.1:80")
		before := w.proxy.Services()[0].Snapshot()
		x = w.explain("/")
		if after := w.proxy.Services()[0].Snapshot(); !reflect.DeepEqual(before, after) {
			t.Errorf("before %+v\nafter %+v", before, after)
		}
		if half := x.Service.Candidates[0]; half.State != "half-open" || half.Draws == 0 {
			t.Errorf("%+v", half)
		}
		first := 0
		for range 6 {
			if w.ask("/") == "200 10.0.0.1:80 /" {
				first++
			}
		}
		if first == 0 {
			t.Error("the trial is gone")
		}
	})
}

// Of an outlier the figures are shown by which it is one, and for how long it is out.
func TestExplainShowsOutliers(t *testing.T) {
	c := config.Config{
		Services: map[string]config.Service{"s": {
			Endpoints: []config.Endpoint{{URL: "http://10.0.0.1:80"}, {URL: "http://10.0.0.2:80"}, {URL: "http://10.0.0.3:80"}},
			Policy:    config.Policy{Type: "round_robin"}, Breaker: config.Breaker{ConsecutiveFailures: 1000, Outliers: &config.Outliers{}},
		}},
		Routes: []config.Route{{Service: "s"}},
	}
	inWorld(t, c, func(w *world) {
		w.serve("10.0.0.2:80")
		w.serve("10.0.0.3:80")
		for range 3 { // nothing listens at the first one
			for range 60 {
				w.ask("/")
			}
			w.wait(1100 * time.Millisecond)
		}
		w.ask("/")
		w.wait(time.Second)
		x := w.explain("/")
		if ill := x.Service.Candidates[0]; ill.Cause != "outlier" || ill.For == "" || ill.Since == "" || !strings.HasPrefix(ill.Why, "failed 100 % of ") || !strings.HasSuffix(ill.Why, " requests, its peers 0 %") {
			t.Errorf("%+v", ill)
		}
		if well := x.Service.Candidates[1]; well.Why != "" || well.Since != "" {
			t.Errorf("%+v", well)
		}
	})
}

// What an operator has said of an endpoint is shown with it.
func TestExplainShowsOverrides(t *testing.T) {
	c := config.Config{
		Services: map[string]config.Service{"s": {Endpoints: []config.Endpoint{{URL: "http://10.0.0.1:80"}, {URL: "http://10.0.0.2:80"}}, Policy: config.Policy{Type: "random"}}},
		Routes:   []config.Route{{Service: "s"}},
	}
	inWorld(t, c, func(w *world) {
		s := w.proxy.Services()[0]
		for _, o := range []endpoint.Override{
			{Endpoint: endpoint.ID{Scheme: "http", Address: "10.0.0.1:80"}, Kind: endpoint.Drain},
			{Endpoint: endpoint.ID{Scheme: "http", Address: "10.0.0.2:80"}, Kind: endpoint.Weigh, Weight: 5},
		} {
			if _, err := s.Override(o); err != nil {
				t.Fatal(err)
			}
		}
		w.wait(time.Second)
		x := w.explain("/")
		out, heavy := x.Service.Candidates[0], x.Service.Candidates[1]
		if out.Flags != "drain by an operator" || out.Eligible || out.Draws > 0 || heavy.Flags != "weight 5 by an operator" || heavy.Weight != 5 || heavy.Draws != explainDraws {
			t.Errorf("%+v\n%+v", out, heavy)
		}
	})
}
