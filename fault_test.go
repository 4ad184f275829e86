package poise_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// badPolicy panics in every Build.
type badPolicy struct{}

func (badPolicy) Build(_, _ []*endpoint.Endpoint, _ policy.Picker) policy.Picker { panic("no picker") }

// badSource names its endpoint in the second run.
type badSource struct {
	runs *atomic.Int64
	url  string
}

func (s badSource) Run(ctx context.Context, publish func(discovery.Update)) error {
	if s.runs.Add(1) == 1 {
		panic("no source")
	}
	spec, _, err := poise.Endpoint{URL: s.url}.Parse()
	publish(discovery.Update{Endpoints: []endpoint.Spec{spec}, Err: err})
	<-ctx.Done()
	return nil
}

// badHandler panics over every record.
type badHandler struct{ slog.Handler }

func (badHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (badHandler) Handle(context.Context, slog.Record) error { panic("no log") }

// TestCodeOfOthersThatPanics: a policy, a source and a log handler that panic cost neither
// requests nor Apply nor Close.
func TestCodeOfOthersThatPanics(t *testing.T) {
	c := poise.Config{
		Services: map[string]poise.Service{
			"policy": {Endpoints: []poise.Endpoint{{URL: named(t, "one")}}, Policy: poise.Policy{Custom: badPolicy{}}},
			"source": {Source: &poise.Source{Custom: badSource{new(atomic.Int64), named(t, "two")}}},
		},
		Routes: []poise.Route{
			{Match: poise.Match{Path: "/policy"}, Service: "policy"},
			{Match: poise.Match{Path: "/source"}, Service: "source"},
		},
		Logger: slog.New(badHandler{slog.DiscardHandler}),
	}
	p, err := poise.New(c)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(p)
	defer front.Close()
	if _, got := get(t, front.Client(), front.URL+"/policy"); !strings.HasPrefix(got, "one ") {
		t.Errorf("behind the policy answers %q", got)
	}
	eventually(t, "the source is run again", func() bool {
		r, err := front.Client().Get(front.URL + "/source")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	for _, s := range p.Status().Services {
		if fault := strings.Contains(s.Fault, "no picker"); fault != (s.Name == "policy") {
			t.Errorf("the status of %s says: %q", s.Name, s.Fault)
		}
	}
	done := make(chan error, 1)
	go func() {
		if err := p.Apply(c); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		done <- p.Close(ctx)
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Apply or Close hangs")
	}
}
