package kubernetes

// Credentials that expire and are renewed, as programs named in a kubeconfig give them.

import (
	"context"
	"crypto/tls"
	"fmt"
)

// A Credential is how a client proves who it is. It is immutable.
type Credential struct {
	Token       string           // bearer token; empty: none
	Certificate *tls.Certificate // of the client; nil: none
}

// Credentials give a client what it proves itself with, for as long as it is valid. Both
// methods may be called by any goroutine.
type Credentials interface {
	// Get returns a credential that is valid now, and the same one while it is. It may
	// take a while; ctx ends it.
	Get(ctx context.Context) (*Credential, error)

	// Refused says that the server has answered 401 to c, and reports whether Get returns
	// another one now.
	Refused(ctx context.Context, c *Credential) bool
}

// authenticate makes sure that the requests that follow have a valid credential, which it
// returns; nil: none is needed, or it never changes.
func (c *apiServer) authenticate(ctx context.Context) (*Credential, error) {
	if c.credentials == nil {
		return nil, nil
	}
	now, err := c.credentials.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("the credentials: %w", err)
	}
	c.mu.Lock()
	before := c.credential
	c.credential = now
	used := c.made
	c.mu.Unlock()
	// A certificate is that of a connection, so another one needs another connection.
	if before != nil && before != now && (before.Certificate != nil || now.Certificate != nil) {
		return now, c.renew(used)
	}
	return now, nil
}

// certificate is what a handshake shows: one without contents if there is none.
func (c *apiServer) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credential == nil || c.credential.Certificate == nil {
		return new(tls.Certificate), nil
	}
	return c.credential.Certificate, nil
}
