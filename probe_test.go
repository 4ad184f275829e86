package poise_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

// TestProbesAtAnotherPort: the endpoint is as fit as what answers at the port that is probed.
func TestProbesAtAnotherPort(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
	}))
	defer health.Close()
	at, err := url.Parse(health.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, poise.Config{
		Services: map[string]poise.Service{"web": {
			Endpoints:      []poise.Endpoint{{URL: named(t, "one")}},
			Health:         &poise.Health{Check: "HEAD /", Port: port, Interval: 20 * time.Millisecond},
			PanicThreshold: -1,
		}},
		Routes: []poise.Route{{Service: "web"}},
		Logger: quiet,
	})
	front := httptest.NewServer(p)
	defer front.Close()
	answers := func(want int) func() bool {
		return func() bool {
			status, _ := get(t, front.Client(), front.URL)
			return status == want
		}
	}
	eventually(t, "503 while the probed port says so", answers(http.StatusServiceUnavailable))
	status.Store(http.StatusOK)
	eventually(t, "200 as soon as the probed port is well", answers(http.StatusOK))
	health.Close() // nothing listens there any more
	eventually(t, "503 when nothing listens at the probed port", answers(http.StatusServiceUnavailable))
}
