// Package nacos is the source that is pushed the instances of a service by a Nacos server,
// 2.x or 3.x, and the registrar that announces an instance there. Both speak the server's
// gRPC interface, which for this purpose is two methods and one message: so it is done with
// the HTTP/2 of net/http and a small codec. One Registry keeps one connection for all the
// sources that are made from it.
package nacos

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// Config says which servers to ask and how. Servers is needed, the rest has defaults.
type Config struct {
	// Servers are the servers of one cluster: host:port of their HTTP interface, or a URL
	// like https://10.0.0.1:8848/nacos where it is encrypted or its path is another one. The
	// first that answers is asked until it fails.
	Servers []string

	// Namespace is the id of the namespace, not its name; empty: "public".
	Namespace string

	// User and Password are for servers with authentication; empty: no login. The token is
	// renewed before it expires.
	User, Password string

	// AccessKey and SecretKey sign requests, for servers that want that; both or neither.
	AccessKey, SecretKey string

	// TLS makes the gRPC connection encrypted; nil: it is not. It is used for https servers
	// too; nil: the system's roots.
	TLS *tls.Config

	// PortOffset is how far the gRPC port is above the HTTP port; 0 means 1000.
	PortOffset int

	// Timeout is how long a server may take to answer; 0 means 3 s. It is asked for a sign of
	// life every 5 s: so one that hangs is noticed after 5 s and Timeout.
	Timeout time.Duration

	// Grace is how long a list that lacks known instances is held back after a reconnection;
	// 0 means 3 s, negative: it is not. A server that was restarted knows no instance at
	// first, and the instances come back one by one as their connections do.
	Grace time.Duration

	// Every is the time between two polls, less or more by a tenth, where the gRPC port
	// cannot be reached and the HTTP interface is asked instead; 0 means 10 s.
	Every time.Duration

	// ZoneKey is the metadata that holds an instance's zone; empty: "zone". Without it the
	// zone is the name of the instance's cluster, unless that is DEFAULT.
	ZoneKey string

	// Note is told, in one line, when polling begins in place of pushes and when it ends;
	// nil: not at all. It is called from a goroutine of the registry and must not block.
	Note func(text string)

	dial client.DialFunc // for tests
}

func (c Config) withDefaults() Config {
	c.Namespace = cmp.Or(c.Namespace, "public")
	c.PortOffset = cmp.Or(c.PortOffset, 1000)
	c.Timeout = cmp.Or(max(c.Timeout, 0), 3*time.Second)
	c.Grace = max(cmp.Or(c.Grace, 3*time.Second), 0)
	c.Every = cmp.Or(max(c.Every, 0), 10*time.Second)
	c.ZoneKey = cmp.Or(c.ZoneKey, "zone")
	if c.dial == nil {
		c.dial = (&net.Dialer{Timeout: c.Timeout, KeepAlive: 15 * time.Second}).DialContext
	}
	if c.Note == nil {
		c.Note = func(string) {}
	}
	return c
}

// ServiceConfig says which instances to watch. Service is needed.
type ServiceConfig struct {
	Service  string
	Group    string   // empty: "DEFAULT_GROUP"
	Clusters []string // only instances of these clusters; empty: of all
	Scheme   string   // of instances whose metadata say nothing; empty: "http"

	zoneKey string
}

// healthEvery is how often a server is asked for a sign of life. Servers ask clients that
// were silent for 20 s in turn, and close the connection without an answer.
const healthEvery = 5 * time.Second

// A Registry is what the sources of one Nacos namespace share. It holds a connection while
// at least one of its sources runs, and nothing otherwise. It is safe for concurrent use.
// Make it with NewRegistry.
type Registry struct {
	config  Config
	servers []server
	invalid error                                 // why no server can ever be asked
	group   client.Group[struct{}, ServiceConfig] // one, of all services
}

// NewRegistry returns a registry that is asked as c says. What is wrong with c is what the
// sources' Run returns.
func NewRegistry(c Config) *Registry {
	r := &Registry{config: c.withDefaults()}
	r.servers, r.invalid = parseServers(r.config)
	r.group.Open = func(struct{}) client.Hub[ServiceConfig] { return newLink(r.config, r.servers) }
	return r
}

// New returns a source of its own connection.
func New(c Config, s ServiceConfig) *Source { return NewRegistry(c).Source(s) }

// Source returns the source of the instances of one service. It may be called again for
// the same service.
func (r *Registry) Source(s ServiceConfig) *Source {
	s.Group = cmp.Or(s.Group, "DEFAULT_GROUP")
	s.Scheme = cmp.Or(s.Scheme, "http")
	s.zoneKey = r.config.ZoneKey
	return &Source{registry: r, config: s}
}

// A Source is the set of instances of one service that the server takes for healthy. Those
// that are disabled or have the weight 0 are Out in it. Its Run may be called again, but not concurrently.
type Source struct {
	registry *Registry
	config   ServiceConfig
}

// Run publishes the set when it is first known and whenever it has changed, and once per
// outage that it may be stale. A service that the registry does not have is an empty set.
// It returns an error only if the configuration is wrong.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if s.registry.invalid != nil {
		return s.registry.invalid
	}
	if s.config.Service == "" {
		return errors.New("nacos: the source names no service")
	}
	if s.config.Scheme != "http" && s.config.Scheme != "https" && s.config.Scheme != "h2c" {
		return errors.New("nacos: the scheme is none of http, https and h2c")
	}
	s.registry.group.Run(ctx, struct{}{}, s.config, publish)
	return nil
}
