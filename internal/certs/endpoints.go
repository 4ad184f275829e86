package certs

// TLS towards endpoints: the proxy's own certificate, which may be replaced while connections
// are open, and names that are verified in place of the host's.

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"sync/atomic"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filewatch"
	"github.com/poise-lb/poise/internal/san"
)

// sessionsMax is how many TLS sessions of a service's endpoints are kept.
const sessionsMax = 64

// A Client is how connections to the endpoints of one service are secured. Its configuration
// stays the same when the proxy's own certificate is replaced.
type Client struct {
	Config *tls.Config
	// Roots is of the file of authorities; zero: none is named.
	Roots filewatch.Sum
	files map[string]filewatch.Sum
	own   *identity
}

// An identity is the certificate that the proxy shows endpoints.
type identity struct {
	pair atomic.Pointer[tls.Certificate]
} // nil: none

// NewClient reads the files that t names; nil stands for the zero value. An error of a file is a
// *FileError.
func NewClient(t *config.EndpointTLS) (*Client, error) {
	c := &Client{own: new(identity), files: make(map[string]filewatch.Sum), Config: &tls.Config{}}
	c.Config.ClientSessionCache = newSessions()
	if t == nil {
		return c, nil
	}
	c.Config.ServerName, c.Config.InsecureSkipVerify = t.ServerName, t.Insecure
	if t.CA != "" {
		if err := c.readRoots(t.CA); err != nil {
			return nil, err
		}
	}
	if t.Cert != "" {
		if err := c.readPair(t.Cert, t.Key); err != nil {
			return nil, err
		}
		c.Config.GetClientCertificate = c.own.show
		c.Config.ClientSessionCache = nil // a session goes on with the certificate that it began with
	}
	if len(t.SAN)+len(t.SPIFFE) > 0 {
		accept, err := san.Parse(t.SAN, t.SPIFFE)
		if err != nil {
			return nil, err
		}
		c.verifyNames(accept)
	}
	return c, nil
}

// A FileError is why a file cannot be used. Key is that of the configuration which names it.
type FileError struct {
	Key, Path string
	Err       error
}

func (e *FileError) Error() string { return e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

func (c *Client) readRoots(path string) error {
	pem, err := filewatch.Read(path, caBytesMax)
	if err != nil {
		return &FileError{"ca", path, err}
	}
	c.Roots = filewatch.SumOf(pem)
	c.files[path] = c.Roots
	c.Config.RootCAs = x509.NewCertPool()
	if !c.Config.RootCAs.AppendCertsFromPEM(pem) {
		return &FileError{"ca", path, errors.New(path + " holds no PEM certificate")}
	}
	return nil
}

func (c *Client) readPair(cert, key string) error {
	s := Store{sums: c.files}
	pair, err := s.read(config.Certificate{Cert: cert, Key: key})
	if err != nil {
		return &FileError{"cert", cert, err}
	}
	c.own.pair.Store(pair)
	return nil
}

// verifyNames has names verified in place of the host name. crypto/tls can leave the host name
// out only together with the rest of its verification, so all of that is done here, also for
// sessions that are resumed.
func (c *Client) verifyNames(accept *san.Names) {
	roots := c.Config.RootCAs
	if roots == nil {
		roots, _ = x509.SystemCertPool() // read now, and not by a handshake; nil: crypto/x509 says why
	}
	c.Config.InsecureSkipVerify = true
	c.Config.VerifyConnection = func(state tls.ConnectionState) error {
		shown := state.PeerCertificates
		if len(shown) == 0 {
			return errors.New("the endpoint has shown no certificate")
		}
		between := x509.NewCertPool()
		for _, one := range shown[1:] {
			between.AddCert(one)
		}
		_, err := shown[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: shown, Err: err}
		}
		return accept.Check(shown[0])
	}
}

// For is the same for another service, with sessions and names of its own: those of t, which names
// the same files; nil stands for the zero value. A name that cannot be read accepts no certificate.
func (c *Client) For(t *config.EndpointTLS) *Client {
	again := &Client{Config: c.Config.Clone(), Roots: c.Roots, files: c.files, own: new(identity)}
	if pair := c.own.pair.Load(); pair != nil {
		again.own.pair.Store(pair)
		again.Config.GetClientCertificate = again.own.show
	} else {
		again.Config.ClientSessionCache = newSessions()
	}
	if t == nil {
		return again
	}
	again.Config.ServerName = t.ServerName
	if len(t.SAN)+len(t.SPIFFE) > 0 {
		accept, err := san.Parse(t.SAN, t.SPIFFE)
		if err != nil {
			again.Config.VerifyConnection = func(tls.ConnectionState) error { return err }
			return again
		}
		again.verifyNames(accept)
	}
	return again
}

// Files are the files that were read, by their content.
func (c *Client) Files() map[string]filewatch.Sum { return maps.Clone(c.files) }

// Renew takes over the certificate of next, which was made of the same configuration with the
// same Roots. Connections that are open stay, new ones begin with the new certificate.
func (c *Client) Renew(next *Client) {
	if now := next.own.pair.Load(); now != nil {
		c.own.pair.Store(now)
	}
}

// show is tls.Config.GetClientCertificate.
func (i *identity) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return cmp.Or(i.pair.Load(), new(tls.Certificate)), nil
}

// newSessions returns room for the TLS sessions of a service's endpoints.
func newSessions() tls.ClientSessionCache { return tls.NewLRUClientSessionCache(sessionsMax) }
