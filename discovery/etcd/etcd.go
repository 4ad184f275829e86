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

// A Source watches the keys under one prefix. Make it with New. Its Run may be called
// again, but not concurrently.
type Source struct {
	config Config
	dial   client.DialFunc // nil but in tests
}

// New returns a source for the keys under c.Prefix.
func New(c Config) *Source { return &Source{config: c} }

// Run publishes the set when it is first known and whenever it has changed. When a watch
// breaks it tries every server before it says that the set may be stale, and says that
// once. It returns an error only if the configuration can never work.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if s.config.Prefix == "" {
		return errors.New("etcd: a source needs the prefix of its keys")
	}
	g, err := newGateway(s.config, s.dial)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer g.close()
	out := client.Reporter{Publish: publish}
	loop := client.Loop{Name: "etcd", Servers: len(g.servers), Use: g.use, Steady: steady, Silent: silentMax}
	loop.Run(ctx, func() client.Turn {
		n := session{gateway: g, config: s.config, out: &out}
		err := n.run(ctx)
		return client.Turn{Answered: n.answered, Err: err}
	}, out.Fail)
	return nil
}
