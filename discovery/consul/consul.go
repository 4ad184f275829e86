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

	// Stale lets any server answer, rather than the leader alone, which may be behind it by
	// a moment. An answer of one that has not heard of the leader for ten seconds is an
	// error.
	Stale bool
	// Cached lets the agent answer from its copy, which it keeps up to date by one query for
	// all its clients. An answer that is older than ten seconds is an error.
	Cached bool
	// Wait is how long a query may wait for news; 0: five minutes. More than ten are not
	// granted by Consul.
	Wait time.Duration

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
	// A blocking query waits so long for news, unless Config.Wait says otherwise, and Consul
	// adds up to a sixteenth. answerTime is what the agent has left then, and plainTime what
	// it has for a query that does not block.
	waitTime   = 5 * time.Minute
	answerTime = 2 * time.Second
	plainTime  = 4 * time.Second

	// staleMost is how old an answer may be that Stale or Cached has allowed.
	staleMost = 10 * time.Second

	silentMax = 9 * time.Second // client.Loop's Silent

	// Between the beginnings of two queries: many changes at once are one set. It grows
	// while answers come early and have no news, as they do from a busy catalog.
	spaceFirst = 20 * time.Millisecond
	spaceMost  = 500 * time.Millisecond
)

// A Registry is what sources of one Consul share: connections, and one question from time
// to time whether the agent is there. It holds neither connections nor goroutines while no
// source runs. It is safe for concurrent use. Make it with NewRegistry.
type Registry struct {
	config  Config
	invalid error // why no agent can ever be asked
	agents  *agents
	pulses  pulses
}

// NewRegistry returns a registry that is asked as c says; its Service and Tags are not
// used. What is wrong with c is what the sources' Run returns.
func NewRegistry(c Config) *Registry { return newRegistry(c, nil) }

func newRegistry(c Config, dial client.DialFunc) *Registry {
	if c.Wait <= 0 {
		c.Wait = waitTime
	}
	r := &Registry{config: c}
	r.agents, r.invalid = newAgents(c, dial, 1000)
	return r
}

// Source returns the source of the instances of a service that have all of the tags.
func (r *Registry) Source(service string, tags []string) *Source {
	c := r.config
	c.Service, c.Tags = service, tags
	return &Source{registry: r, config: c}
}

// A Source watches one service. Its Run may be called again, but not concurrently.
type Source struct {
	registry *Registry
	config   Config
}

// New returns a source for c.Service with a registry of its own.
func New(c Config) *Source { return NewRegistry(c).Source(c.Service, c.Tags) }

// Run publishes the set when it is first known and whenever it has changed. When a query
// fails it tries every agent before it says that the set may be stale, and says that
// once. It returns an error only if the configuration can never work.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if s.config.Service == "" {
		return errors.New("consul: a source needs the name of its service")
	}
	if s.registry.invalid != nil {
		return fmt.Errorf("consul: %w", s.registry.invalid)
	}
	s.registry.pulses.join(s.registry.agents)
	defer s.registry.pulses.leave(s.registry.agents)
	a := *s.registry.agents // with a place of its own
	out := client.Reporter{Publish: publish}
	q := query{agents: &a, pulses: &s.registry.pulses, config: s.config}
	loop := client.Loop{Name: "consul", Servers: len(a.servers), Use: a.use, Silent: silentMax}
	loop.Run(ctx, func() client.Turn { return q.turn(ctx, &out) }, out.Fail)
	return nil
}
