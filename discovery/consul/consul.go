// Package consul is the source that watches the healthy instances of a service in Consul
// by blocking queries, and the registrar that announces an instance at an agent and keeps
// its check passing. README.md describes what becomes of weights, zones and metadata.
package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// Config says which Consul to ask, and for what.
type Config struct {
	// Servers are the HTTP addresses of agents, tried in turn. Without a scheme they are
	// http, or https if TLS is set. Empty: http://127.0.0.1:8500.
	Servers []string

	// Service is the name in the catalog. A source needs it; a registrar takes the
	// instance's.
	Service string

	Tags       []string // only instances that have all of them; empty: all instances
	Datacenter string   // empty: the agent's own
	Namespace  string   // of Consul Enterprise; empty: the token's, or "default"
	Partition  string   // of Consul Enterprise; empty: the agent's own
	Token      string   // ACL token; empty: the anonymous one

	// TLS is for https servers, client certificates included. nil: the system's roots.
	TLS *tls.Config

	// Scheme is that of instances whose metadata has neither "scheme" nor "secure"; empty:
	// "http".
	Scheme string

	// ZoneMeta is the key of the metadata that holds the zone: the service's, or else the
	// node's. Empty: "zone".
	ZoneMeta string
}

const (
	// A blocking query waits so long for news, and Consul adds up to a sixteenth. The
	// wait is short because an agent that hangs is only noticed after it; answerTime is
	// what it has left then, and plainTime what it has for a query that does not block.
	waitTime   = 7 * time.Second
	blockTime  = waitTime + waitTime/16 + answerTime
	answerTime = 2 * time.Second
	plainTime  = 4 * time.Second

	silentMax = 9 * time.Second // without any answer, a set is stale even if agents are left to try
	backMost  = 2 * time.Second // between two tries

	// Between the beginnings of two queries: many changes at once are one set. It grows
	// while answers come early and have no news, as they do from a busy catalog.
	spaceFirst = 20 * time.Millisecond
	spaceMost  = 500 * time.Millisecond
)

// A Source watches one service. Make it with New. Its Run may be called again, but not
// concurrently.
type Source struct {
	config Config
	dial   dialFunc // nil but in tests
}

// New returns a source for c.Service.
func New(c Config) *Source { return &Source{config: c} }

// Run publishes the set when it is first known and whenever it has changed. When a query
// fails it tries every agent before it says that the set may be stale, and says that
// once. It returns an error only if the configuration can never work.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if s.config.Service == "" {
		return errors.New("consul: a source needs the name of its service")
	}
	c, err := newClient(s.config, s.dial)
	if err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	defer c.close()
	out := reporter{publish: publish}
	retry := retry{servers: len(c.servers)}
	q := query{client: c, config: s.config}
	for {
		began, blocks := time.Now(), q.index > 0
		list, err := q.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var wait time.Duration
		if err != nil {
			var stale bool
			if wait, stale = retry.failed(); stale {
				out.fail(fmt.Errorf("consul: %w", err))
			}
			q.index = 0
			c.next()
		} else {
			news := out.set(specs(list, s.config))
			early := blocks && !news && time.Since(began) < waitTime/2
			wait = retry.answered(early) - time.Since(began)
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// A retry decides when to ask again and when to tell. Its clock starts with it.
type retry struct {
	servers  int
	failures int       // in a row
	heard    time.Time // of the last answer
	backoff  discovery.Backoff
	space    time.Duration
}

// answered returns the time between the beginnings of two queries.
func (r *retry) answered(early bool) time.Duration {
	r.failures, r.heard = 0, time.Now()
	r.backoff.Reset()
	if early {
		r.space = min(2*max(r.space, spaceFirst), spaceMost)
	} else {
		r.space = spaceFirst
	}
	return r.space
}

// failed returns the time until the next query and whether the set is stale.
func (r *retry) failed() (wait time.Duration, stale bool) {
	r.backoff.First, r.backoff.Most = 200*time.Millisecond, backMost
	r.failures++
	// The first failure is what a restart looks like, and each agent deserves a try.
	stale = r.failures > r.servers || r.failures > 1 && time.Since(r.heard) > silentMax
	if r.failures <= r.servers {
		return rand.N(100 * time.Millisecond), stale
	}
	return r.backoff.Next(), stale
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
