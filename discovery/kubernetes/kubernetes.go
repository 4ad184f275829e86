// Package kubernetes is the source that follows the EndpointSlices of Services by the API
// server's plain HTTP interface: list, then watch. All Services of one namespace share one
// watch, however many there are: a Registry has one connection to an API server and, for
// each namespace, one goroutine that keeps an index of its slices by Service. A Source is a
// subscriber of one Service in such an index.
//
//	Registry ── namespace "shop" ── Source "cart"
//	        │                    └─ Source "users"
//	        └── namespace "blog" ── Source "web"
//
// README.md describes which endpoints are taken, and what the account needs to be allowed.
// There is no registrar: Kubernetes announces pods by itself.
package kubernetes

import (
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

	// Scheme is that of the endpoints: "http" or "https". Empty: "https" for a port whose
	// name or application protocol is https, else "http".
	Scheme string
}

// A Registry is what the sources of one API server share. It holds a connection and
// watches while at least one of its sources runs, and nothing otherwise. It is safe for
// concurrent use. Make it with NewRegistry.
type Registry struct {
	config    Config
	dial      dialFunc        // nil but in tests
	protocols *http.Protocols // nil but in tests

	mu     sync.Mutex
	api    *apiServer // nil while no source runs
	spaces map[string]*namespace
}

// NewRegistry returns a registry that is asked as c says. What is wrong with c is what the
// sources' Run returns.
func NewRegistry(c Config) *Registry {
	return &Registry{config: c, spaces: make(map[string]*namespace)}
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
	n, err := s.registry.join(s.config.Namespace)
	if err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	defer s.registry.leave(n)
	sub := n.subscribe(s.config.Service)
	defer n.unsubscribe(sub)
	out := client.Reporter{Publish: publish}
	seen := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sub.changed:
			p := n.read(sub)
			// During an outage a set is published only if it is another one: the set of
			// before may be stale, and that is what failure says.
			if p.version != 0 && (p.failure == nil || p.version != seen) {
				out.Set(set(p.slices, s.config, n.name))
				seen = p.version
			}
			if p.failure != nil {
				out.Fail(fmt.Errorf("kubernetes: %w", p.failure))
			}
		}
	}
}

// join returns the namespace of that name, which watches from the first user on; each call
// is followed by one of leave. An empty name is the registry's own namespace.
func (r *Registry) join(name string) (*namespace, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.api == nil {
		c, err := newAPIServer(r.config, r.dial, r.protocols)
		if err != nil {
			return nil, err
		}
		r.api = c
	}
	if name == "" {
		name = r.api.namespace
	}
	n := r.spaces[name]
	if n == nil {
		n = newNamespace(name, r.api)
		r.spaces[name] = n
		go n.run() // ends in leave, which waits for it
	}
	n.users++
	return n, nil
}

// leave takes a user away. The last of a namespace ends its watch, and the last of all
// closes the connection; both have ended when leave returns.
func (r *Registry) leave(n *namespace) {
	r.mu.Lock()
	var unused *apiServer
	if n.users--; n.users == 0 {
		delete(r.spaces, n.name)
	}
	last := n.users == 0
	if len(r.spaces) == 0 {
		unused, r.api = r.api, nil // a source that joins from here on connects anew
	}
	r.mu.Unlock()
	if last {
		n.stop()
	}
	if unused != nil {
		unused.close()
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
	case c.Scheme != "" && c.Scheme != "http" && c.Scheme != "https":
		return fmt.Errorf("the scheme %q is neither http nor https", c.Scheme)
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
