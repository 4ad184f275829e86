// Package zookeeper is the source that watches the nodes below a path of ZooKeeper, as
// Curator, Spring Cloud and Dubbo write them, and the registrar that announces an instance
// in the same form. README.md describes what nodes look like.
package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// Config says which ZooKeeper to ask, and for what.
type Config struct {
	// Servers are host:port addresses of the ensemble, tried in turn from a random one on.
	// Without a port it is 2181. Names are resolved for every connection. Empty:
	// 127.0.0.1:2181.
	Servers []string

	// Path is the node whose children are the instances: /services/orders for Curator and
	// Spring Cloud and for Dubbo's applications, /dubbo/com.example.Orders/providers for
	// Dubbo's interfaces. It need not exist yet. A source needs it; a registrar without one
	// writes below /services/<service>.
	Path string

	// Username and Password are for the digest scheme. Empty: no authentication.
	Username, Password string

	// Protocol selects among the protocols that a Dubbo provider offers: "rest" or "tri",
	// say. Providers without it are left out. Empty: the port that the node names first,
	// and of interface nodes those with a protocol over HTTP.
	Protocol string

	// Scheme is that of instances which do not say; empty: "http". "http" also prefers the
	// plain port of an instance that has a secure one as well.
	Scheme string

	// Pool shares its connections with other sources that have the same servers and user.
	// nil: a connection of its own. (A server accepts 60 connections from one address,
	// unless it is told otherwise.)
	Pool *Pool
}

const (
	// The session that is asked for. The client library sends a ping every third of it and
	// gives a silent connection up after two thirds.
	sessionTime = 8 * time.Second

	openTimeout = 3 * time.Second // from dialling until there is a session

	// Between two questions whether all is well, and for the answer. The answer also tells
	// whether an event was missed.
	pulseEvery   = 5 * time.Second
	pulseTimeout = 5 * time.Second

	gather    = 20 * time.Millisecond // between two reads: many events at once are one set
	silentMax = 10 * time.Second      // client.Loop's Silent and Steady
	steady    = 5 * time.Second
	backMost  = 3 * time.Second // its Most
)

// A Source watches the children of one node. Make it with New. Its Run may be called
// again, but not concurrently.
type Source struct {
	config Config
}

// New returns a source for the children of c.Path.
func New(c Config) *Source { return &Source{config: c} }

// Run publishes the set when it is first known and whenever it has changed. When a
// connection breaks it tries every server before it says that the set may be stale, and
// says that once. It returns an error only if the configuration can never work.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	c := s.config
	if err := checkPath(c.Path); err != nil {
		return fmt.Errorf("zookeeper: %w", err)
	}
	servers, err := addresses(c.Servers)
	if err != nil {
		return fmt.Errorf("zookeeper: %w", err)
	}
	pool := c.Pool
	if pool == nil {
		pool = new(Pool)
		defer pool.wait()
	}
	out := client.Reporter{Publish: publish}
	seen := 0
	// The pool decides which server is asked, and tells all its users.
	loop := client.Loop{Name: "zookeeper", Servers: len(servers), Most: backMost, Steady: steady, Silent: silentMax}
	loop.Run(ctx, func() client.Turn {
		link, err := pool.acquire(ctx, key{strings.Join(servers, ","), c.Username, c.Password}, &seen)
		if err != nil {
			return client.Turn{Err: err}
		}
		defer pool.release(link)
		w := watch{link: link, config: c, out: &out}
		err = w.run(ctx)
		return client.Turn{Answered: w.heard, Err: err}
	}, out.Fail)
	return nil
}

// addresses are the servers with their ports.
func addresses(servers []string) ([]string, error) {
	if len(servers) == 0 {
		return []string{"127.0.0.1:2181"}, nil
	}
	out := make([]string, len(servers))
	for i, text := range servers {
		if strings.ContainsAny(text, "/@ ,") {
			return nil, errors.New("a server is not a host:port address") // which may hold a password
		}
		out[i] = text
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			host, port = strings.Trim(text, "[]"), "2181"
			out[i] = net.JoinHostPort(host, port)
		}
		if host == "" || port == "" {
			return nil, fmt.Errorf("the server %q is not a host:port address", text)
		}
	}
	return out, nil
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("a source needs the path of its nodes")
	case path[0] != '/':
		return fmt.Errorf("the path %q does not begin with a slash", path)
	case path == "/" || strings.HasSuffix(path, "/") || strings.Contains(path, "//"):
		return fmt.Errorf("the path %q has an empty part", path)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." || strings.ContainsRune(part, 0) {
			return fmt.Errorf("the path %q has a part that no node can have", path)
		}
	}
	return nil
}
