package soak

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/poise-lb/poise"
)

var policies = []string{"least_time", "p2c", "round_robin", "weighted_round_robin", "least_connections", "random", "peak_ewma", "prequal", "consistent_hash"}

// probeEvery is also what a probe may take. It is so long that no stall of a busy machine
// ejects one endpoint while others leave, so that none is left to repeat a request at:
// probes meet everything else all the same, since half of the configurations have none and
// each that has begins anew.
const probeEvery = 5 * time.Second

// stall is so short that settle can wait for it: net/http's HTTP/2 sets a timer for each
// stream, and what it has stopped keeps the stream's whole connection alive until then.
const stall = 20 * time.Second

// limits of the requests under way at each endpoint: with the first ones many wait. None is answered
// 503, as the queue takes all for longer than requests stall.
var limits = []string{"1", "2", "auto"}

// queueTimeout is for which they wait at most.
const queueTimeout = 2 * time.Minute

// config draws a configuration. All of them serve every request; of calm some endpoints
// may be missing, since others do what they would. r nil: everything that may be there is.
func (s *soak) config(r *rand.Rand) poise.Config {
	all := r == nil
	if all {
		r = rand.New(rand.NewPCG(1, 1))
	}
	c := poise.Config{Services: make(map[string]poise.Service), Timeouts: poise.Timeouts{Stall: stall}, Logger: slog.New(s.log)}
	for _, name := range []string{"calm", "rude", "wild", "h2c"} {
		service := poise.Service{
			Policy:      poise.Policy{Type: policies[r.IntN(len(policies))]},
			TLS:         &poise.EndpointTLS{CA: s.papers.ca},
			Connections: poise.Connections{IdleTimeout: 700 * time.Millisecond, ConnectTimeout: 10 * time.Second},
			Breaker:     poise.Breaker{OpenFor: 300 * time.Millisecond, Off: r.IntN(3) == 0},
			// The endpoints that are left are asked.
			Retry: poise.Retry{Attempts: 8},
		}
		if r.IntN(2) == 0 || all {
			service.Health = &poise.Health{Check: "GET /health", Interval: probeEvery, Timeout: probeEvery}
		}
		if r.IntN(2) == 0 || all {
			service.Hedge = &poise.Hedge{After: "p75", MaxExtra: 10}
		}
		if r.IntN(2) == 0 || all {
			service.Overload = poise.Overload{EndpointMaxInFlight: poise.EndpointLimit{Limit: limits[r.IntN(len(limits))]}, Queue: &poise.Queue{Length: 10_000, Timeout: queueTimeout}}
		}
		if r.IntN(2) == 0 || all {
			service.Breaker.Outliers = &poise.Outliers{MaxEjected: 50}
		}
		skip := -1
		if name == "calm" && r.IntN(2) == 0 && !all {
			skip = r.IntN(3)
		}
		for _, e := range s.endpoints {
			if e.service != name {
				continue
			}
			if skip--; skip != -1 {
				service.Endpoints = append(service.Endpoints, poise.Endpoint{URL: e.url(), Weight: 1 + r.IntN(5)})
			}
		}
		c.Services[name] = service
		c.Routes = append(c.Routes, poise.Route{Match: poise.Match{Path: "/" + name + "/**"}, Service: name})
	}
	if r.IntN(2) == 0 || all { // one that comes and goes
		c.Services["other"] = poise.Service{Endpoints: []poise.Endpoint{{URL: s.endpoints[0].url()}}, Health: &poise.Health{Check: "GET /health"}}
		c.Routes = append(c.Routes, poise.Route{Match: poise.Match{Path: "/other"}, Service: "other"})
	}
	return c
}
