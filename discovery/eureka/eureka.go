// Package eureka is the source that polls a Eureka server, and the registrar that announces
// an instance there. One Registry keeps one copy of the server's whole registry for all
// the sources that are made from it: the server's change list and its checksum exist for
// the whole registry only, so that two hundred services cost one small request per
// interval, where asking for each would cost two hundred.
package eureka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// Config says which servers to ask and how. Servers is needed, the rest has defaults.
type Config struct {
	// Servers are the base URLs of the servers of one registry, which are its replicas:
	// http://10.0.0.1:8761/eureka for Spring Cloud's, …/eureka/v2 for Netflix's. The first
	// that answers is asked until it fails. User and password may stand in a URL; they are
	// then sent to that server only, and appear in no error.
	Servers []string

	// User and Password are sent to servers whose URL has none; empty: no credentials.
	User, Password string

	// TLS is for https servers; nil: the system's roots.
	TLS *tls.Config

	// Every is the time between two polls, less or more by a tenth, so that many clients do
	// not ask in step; 0 means 5 s. A server with its response cache on, the default, shows
	// a change up to 30 s late whatever this is.
	Every time.Duration

	// Timeout is how long a server may be silent; 0 means 3 s. An answer that keeps coming
	// may take four times as long.
	Timeout time.Duration

	// WeightKey and ZoneKey are the metadata that hold an instance's weight and zone; empty:
	// "weight" and "zone".
	WeightKey, ZoneKey string

	// PreferHost makes endpoints of the names that instances give rather than of their
	// addresses. A source with names must be resolved before a service can use it.
	PreferHost bool

	dial client.DialFunc // for tests
}

func (c Config) withDefaults() Config {
	c.Every = cmp.Or(max(c.Every, 0), 5*time.Second)
	c.Timeout = cmp.Or(max(c.Timeout, 0), 3*time.Second)
	c.WeightKey = cmp.Or(c.WeightKey, "weight")
	c.ZoneKey = cmp.Or(c.ZoneKey, "zone")
	return c
}

// A Registry is what the sources of one Eureka share. It asks the servers while at least
// one of its sources runs, and holds no connection and no goroutine otherwise. It is safe
// for concurrent use. Make it with NewRegistry.
type Registry struct {
	config  Config
	servers []server
	invalid error                          // why no server can ever be asked
	group   client.Group[struct{}, string] // one, of all apps
}

// NewRegistry returns a registry that is asked as c says. What is wrong with c is what the
// sources' Run returns.
func NewRegistry(c Config) *Registry {
	r := &Registry{config: c.withDefaults()}
	r.servers, r.invalid = parseServers(c)
	r.group.Open = func(struct{}) client.Hub[string] { return newReplica(r.config, r.servers) }
	return r
}

// New returns the source of one app that shares its polling with nobody.
func New(c Config, app string) *Source { return NewRegistry(c).Source(app) }

// Source returns the source of the instances of app, whose name is the same in upper and
// lower case. It may be called again for the same app.
func (r *Registry) Source(app string) *Source {
	return &Source{registry: r, app: strings.ToUpper(app)}
}

// A Source is the set of instances of one app that are UP. Its Run may be called again,
// but not concurrently.
type Source struct {
	registry *Registry
	app      string
}

// Run publishes the app's set when it is first known and whenever it has changed, and once
// per outage that it may be stale. An app that the registry does not have is an empty set.
// It returns an error only if the configuration is wrong.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if s.registry.invalid != nil {
		return s.registry.invalid
	}
	if s.app == "" {
		return errors.New("eureka: the source names no app")
	}
	s.registry.group.Run(ctx, struct{}{}, s.app, publish)
	return nil
}
