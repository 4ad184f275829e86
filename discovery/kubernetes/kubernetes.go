// Package kubernetes is the source that follows the EndpointSlices of Services by the API
// server's plain HTTP interface: list, then watch. All Services of one namespace share one
// watch, however many there are: a Registry has one connection to an API server and, for
// each namespace, one goroutine that keeps an index of its slices by Service, and offers each
// Source the endpoints of its Service.
//
//	Registry ── namespace "shop" ── Source "cart"
//	        │                    └─ Source "users"
//	        └── namespace "blog" ── Source "web"
//
// README.md describes which endpoints are taken, and what the account needs to be allowed.
// There is no registrar: Kubernetes announces pods by itself.
package kubernetes

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// Config says which API server to ask. The zero value works within a pod, by the pod's
// service account.
type Config struct {
	// Server is the URL of the API server: https://host:port, and a path if there is a
	// proxy before it. Empty: that of the cluster whose pod this is.
	Server string

	// TLS verifies the server, and has the client's certificate if it uses one. nil: the
	// system's roots, or within a pod the cluster's.
	TLS *tls.Config

	// Token is the bearer token. TokenFile is a file that has it; it is read again for
	// every request, since tokens expire, and goes before Token. Both empty: within a pod
	// the service account's, elsewhere none. Neither is sent over plain http, except to
	// this machine.
	Token, TokenFile string

	// Credentials give a token or a certificate that expires; nil: there are none. They go
	// before Token, TokenFile and the certificate of TLS.
	Credentials Credentials

	// Namespace is that of services that name none. Empty: the pod's own, or elsewhere
	// "default".
	Namespace string

	// Account is the folder of the pod's service account; empty: where Kubernetes has it,
	// /var/run/secrets/kubernetes.io/serviceaccount.
	Account string
}

// ServiceConfig says which endpoints a source has. Service is needed.
type ServiceConfig struct {
	// Namespace is that of the Service. Empty: the Registry's.
	Namespace string

	// Service is the name of the Service.
	Service string

	// Port is the name of the port as the Service has it, or the number that pods listen
	// on (not that of the Service). Empty: the only port, or else the one named "http".
	Port string

	// Scheme is that of the endpoints: "http", "https" or "h2c". Empty: "https" for a port whose
	// name or application protocol is https, "h2c" where the latter is kubernetes.io/h2c, else
	// "http".
	Scheme string
}

// A Registry is what the sources of one API server share. It holds a connection and
// watches while at least one of its sources runs, and nothing otherwise. It is safe for
// concurrent use. Make it with NewRegistry.
type Registry struct {
	config    Config
	dial      dialFunc        // nil but in tests
	protocols *http.Protocols // nil but in tests

	spaces client.Group[string, ServiceConfig] // by namespace

	mu      sync.Mutex
	running int        // sources
	api     *apiServer // nil while no source runs
}

// NewRegistry returns a registry that is asked as c says. What is wrong with c is what the
// sources' Run returns.
func NewRegistry(c Config) *Registry {
	r := &Registry{config: c}
	r.spaces.Open = func(name string) client.Hub[ServiceConfig] { return newNamespace(name, r.api) } // connect has set it
	return r
}

// New returns a source that shares nothing.
func New(c Config, s ServiceConfig) *Source { return NewRegistry(c).Source(s) }

// Source returns the source of one Service. It may be called again for the same Service.
func (r *Registry) Source(s ServiceConfig) *Source { return &Source{registry: r, config: s} }

// A Source is the set of endpoints of one Service. Its Run may be called again, but not
// concurrently.
type Source struct {
	registry *Registry
	config   ServiceConfig
}

// Run publishes the set when it is first known and whenever it has changed, and once per
// outage that it may be stale. A Service that does not exist is an empty set. It returns an
// error only if the configuration can never work.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if err := s.config.check(); err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	api, err := s.registry.connect()
	if err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	defer s.registry.disconnect()
	s.registry.spaces.Run(ctx, cmp.Or(s.config.Namespace, api.namespace), s.config, publish)
	return nil
}

// connect returns the API server's client, which all sources share; each call is followed by
// one of disconnect.
func (r *Registry) connect() (*apiServer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.api == nil {
		api, err := newAPIServer(r.config, r.dial, r.protocols)
		if err != nil {
			return nil, err
		}
		r.api = api
	}
	r.running++
	return r.api, nil
}

// disconnect closes the connection after the last source.
func (r *Registry) disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running--; r.running == 0 {
		r.api.close()
		r.api = nil
	}
}

// check finds what can never work. Names are checked because they become parts of a path.
func (c *ServiceConfig) check() error {
	switch {
	case c.Service == "":
		return errors.New("a source needs the name of its service")
	case !isName(c.Service):
		return fmt.Errorf("%q cannot be the name of a service", c.Service)
	case c.Namespace != "" && !isName(c.Namespace):
		return fmt.Errorf("%q cannot be the name of a namespace", c.Namespace)
	case c.Scheme != "" && c.Scheme != "http" && c.Scheme != "https" && c.Scheme != "h2c":
		return fmt.Errorf("the scheme %q is none of http, https and h2c", c.Scheme)
	}
	if n, err := strconv.Atoi(c.Port); err == nil && (n < 1 || n > 65535) {
		return fmt.Errorf("there is no port %d", n)
	}
	return nil
}

// isName reports whether s is a DNS label of small letters (RFC 1123 §2.1).
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != "" && len(s) <= 63
}
