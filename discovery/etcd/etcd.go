// Package etcd is the source that watches the keys under a prefix of etcd v3, and the
// registrar that writes such a key and keeps it alive. It speaks the JSON gateway of etcd
// 3.4 and later over net/http. README.md describes what keys and values look like.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// Config says which etcd to ask, and for what.
type Config struct {
	// Servers are the client URLs of the members, tried in turn. Without a scheme they are
	// http, or https if TLS is set. Empty: http://127.0.0.1:2379.
	Servers []string

	// Prefix is what the keys of the service begin with. It is taken as it is: end it with
	// a slash, or keys of services whose names begin alike are taken for its own. A source
	// needs it; a registrar without one writes below /services/<service>/.
	Prefix string

	// Username and Password log in at servers with authentication. At servers without,
	// they are not needed and do no harm. Empty: no login.
	Username, Password string

	// TLS is for https servers, client certificates included. nil: the system's roots.
	TLS *tls.Config

	// Scheme is that of endpoints whose value names none; empty: "http".
	Scheme string
}

const (
	requestTimeout = 5 * time.Second // for any answer but a watch's

	// Between two questions whether all is well, and for their answer: a server that is
	// silent is noticed after both, and is stale after requestTimeout more.
	pulseEvery   = 4 * time.Second
	pulseTimeout = 4 * time.Second
	doubtEvery   = time.Second // while the watch may be behind

	// A session is replaced after a random time from here to twice that, which lists all
	// keys again: whatever went wrong unseen does not last longer.
	sessionTime = 30 * time.Second

	silentMax = 10 * time.Second // client.Loop's Silent and Steady
	steady    = 2 * time.Second
)

// A Registry is what sources of one etcd share: the connection and the watch. Sources whose
// prefixes lie side by side, as /services/a/ and /services/b/, are served by one watch of
// what these have in common; a single one of them by a watch of its own prefix. It holds
// neither connections nor goroutines while no source runs. It is safe for concurrent use.
// Make it with NewRegistry.
type Registry struct {
	config Config
	dial   client.DialFunc // nil but in tests

	// together ends, by part, when it turns out that sources cannot share a watch.
	together context.Context
	part     context.CancelFunc

	group client.Group[string, string] // by what prefixes have in common
}

// NewRegistry returns a registry that is asked as c says; its Prefix is not used. What is
// wrong with c is what the sources' Run returns.
func NewRegistry(c Config) *Registry {
	r := &Registry{config: c}
	r.group.Open = func(parent string) client.Hub[string] { return newHub(r, parent) }
	r.together, r.part = context.WithCancel(context.Background())
	return r
}

// Source returns the source of the keys under the prefix.
func (r *Registry) Source(prefix string) *Source { return &Source{registry: r, prefix: prefix} }

// A Source watches the keys under one prefix. Its Run may be called again, but not
// concurrently.
type Source struct {
	registry *Registry
	prefix   string
}

// New returns a source for the keys under c.Prefix that shares its watch with no other.
func New(c Config) *Source {
	r := NewRegistry(c)
	r.part()
	return r.Source(c.Prefix)
}

// Run publishes the set when it is first known and whenever it has changed. When a watch
// breaks it tries every server before it says that the set may be stale, and says that
// once. It returns an error only if the configuration can never work.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if s.prefix == "" {
		return errors.New("etcd: a source needs the prefix of its keys")
	}
	if _, err := newGateway(s.registry.config, s.registry.dial); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	if p := parent(s.prefix); p != "" && s.registry.together.Err() == nil {
		shared, leave := context.WithCancel(ctx)
		defer leave()
		defer context.AfterFunc(s.registry.together, leave)()
		s.registry.group.Run(shared, p, s.prefix, publish)
	}
	if ctx.Err() == nil {
		s.alone(ctx, publish)
	}
	return nil
}

// alone runs sessions of this source only.
func (s *Source) alone(ctx context.Context, publish func(discovery.Update)) {
	out := client.Reporter{Publish: publish}
	s.registry.run(ctx, func(n *session, _ func()) {
		n.prefix, n.group = s.prefix, func(string) string { return s.prefix }
		n.changed = func(v *view, _ map[string]bool) { out.Set(v.set(s.prefix)) }
	}, out.Fail)
}

// run runs sessions, which prepare has made ready, one after the other until ctx is done.
func (r *Registry) run(ctx context.Context, prepare func(s *session, end func()), failed func(error)) {
	g, err := newGateway(r.config, r.dial)
	if err != nil {
		panic("etcd: " + err.Error()) // Run has looked
	}
	defer g.close()
	loop := client.Loop{Name: "etcd", Servers: len(g.servers), Use: g.use, Steady: steady, Silent: silentMax}
	loop.Run(ctx, func() client.Turn {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		n := session{gateway: g, scheme: r.config.Scheme}
		prepare(&n, func() { cancel(client.Again) })
		err := n.run(ctx)
		return client.Turn{Answered: n.answered, Err: err}
	}, failed)
}
