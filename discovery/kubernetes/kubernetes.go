// Package kubernetes is the source that watches the EndpointSlices of a Service by the
// API server's plain HTTP interface: list, then watch. README.md describes which
// endpoints are taken, and what the account needs to be allowed.
//
// There is no registrar: Kubernetes announces pods by itself.
package kubernetes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// Config says which API server to ask, and for what. With nothing but a service it works
// within a pod, by the pod's service account.
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

	// Namespace is that of the service. Empty: the pod's own, or elsewhere "default".
	Namespace string

	// Service is the name of the Service. A source needs it.
	Service string

	// Port is the name of the port as the Service has it, or the number that pods listen
	// on (not that of the Service). Empty: the only port, or else the one named "http".
	Port string

	// Scheme is that of the endpoints: "http" or "https". Empty: "https" for a port whose
	// name or application protocol is https, else "http".
	Scheme string

	// Account is the folder of the pod's service account; empty: where Kubernetes has it,
	// /var/run/secrets/kubernetes.io/serviceaccount.
	Account string
}

const (
	// The server is asked to end a watch after this time, and the next one goes on from
	// there: a server that hangs, or a connection that is dead but does not know, is
	// noticed when it is late. There is nothing else to notice it by, for a watch has
	// nothing to say for minutes.
	watchTime = 7 * time.Second
	lateTime  = 3 * time.Second
	listTime  = 4 * time.Second // for the whole list

	// All is listed again after a random time from here to twice that, which bounds how
	// long anything lasts that went wrong unseen.
	relistAfter = 60 * time.Second

	// Changes of several slices at once are one set, so that an address that moves from one
	// to another does not leave.
	gather = 10 * time.Millisecond
)

// A Source watches one Service. Make it with New. Its Run may be called again, but not
// concurrently.
type Source struct {
	config Config
	dial   dialFunc // nil but in tests
}

// New returns a source for c.Service.
func New(c Config) *Source { return &Source{config: c} }

// Run publishes the set when it is first known and whenever it has changed. When a
// watch breaks it lists again; when that fails too, it says that the set may be stale, and
// says that once. It returns an error only if the configuration can never work.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if err := s.config.check(); err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	c, err := newClient(s.config, s.dial)
	if err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	defer c.close()
	out := reporter{publish: publish}
	retry := retry{quick: true}
	for {
		n := session{client: c, config: s.config, out: &out}
		err := n.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait, stale := retry.after(n.listed, n.settled, err)
		if !errors.Is(err, errAgain) {
			c.renew()
		}
		if stale {
			out.fail(fmt.Errorf("kubernetes: %w", err))
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// A retry decides when to try again and when to tell.
type retry struct {
	failures int  // in a row, without a list between them
	quick    bool // the next failure is tried again at once
	backoff  discovery.Backoff
}

// after judges a session that had a list, or even a watch to its end, and then err. While
// lists succeed the set is not stale, even if no watch does: then they are what is left,
// as often as the back-off allows.
func (r *retry) after(listed, settled bool, err error) (wait time.Duration, stale bool) {
	r.backoff.First, r.backoff.Most = 200*time.Millisecond, 5*time.Second
	if listed {
		r.failures = 0
	}
	if settled {
		r.quick = true
		r.backoff.Reset()
	}
	if errors.Is(err, errAgain) {
		if settled {
			return 0, false
		}
		return r.backoff.Next(), false
	}
	r.failures++
	if r.quick { // what a restart looks like
		r.quick = false
		return rand.N(100 * time.Millisecond), r.failures > 1
	}
	return r.backoff.Next(), r.failures > 1
}

// check finds what can never work. Names are checked because they become parts of a path
// and of a selector.
func (c *Config) check() error {
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
