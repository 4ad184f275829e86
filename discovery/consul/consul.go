// Package consul is the source that watches the healthy instances of a service in Consul
// by blocking queries, and the registrar that announces an instance at an agent and keeps
// its check passing. README.md describes what becomes of weights, zones and metadata.
package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
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

	silentMax = 9 * time.Second // client.Loop's Silent

	// Between the beginnings of two queries: many changes at once are one set. It grows
	// while answers come early and have no news, as they do from a busy catalog.
	spaceFirst = 20 * time.Millisecond
	spaceMost  = 500 * time.Millisecond
)

// A Source watches one service. Make it with New. Its Run may be called again, but not
// concurrently.
type Source struct {
	config Config
	dial   client.DialFunc // nil but in tests
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
	a, err := newAgents(s.config, s.dial)
	if err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	defer a.close()
	out := client.Reporter{Publish: publish}
	q := query{agents: a, config: s.config}
	loop := client.Loop{Name: "consul", Servers: len(a.servers), Use: a.use, Silent: silentMax}
	loop.Run(ctx, func() client.Turn { return q.turn(ctx, &out) }, out.Fail)
	return nil
}
