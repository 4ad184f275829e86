package certs

// The certificates of clients (mutual TLS): who is asked, whose are accepted, and which sessions
// may be resumed. All of it belongs to the set of a Store, so that another file of authorities is
// in force for handshakes that begin later; connections that are open stay.
//
//	client                           mode require      mode verify_if_given
//	sends none                       refused           served
//	of an authority, name accepted   served            served
//	of an authority, another name    refused           refused
//	of another authority             refused           refused

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filewatch"
)

// caBytesMax bounds a file of authorities.
const caBytesMax = 16 << 20

// suites are the cipher suites of the profile intermediate for TLS 1.2. TLS 1.3 has its own.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Secure completes c, the configuration of a server that does not run yet: versions, cipher
// suites, certificates, clients' certificates. NextProtos and what seals tickets are set before.
func (s *Store) Secure(c *tls.Config) {
	c.MinVersion, c.CipherSuites = tls.VersionTLS12, suites
	if s.tls.MinVersion == "1.3" || s.tls.Profile == "modern" {
		c.MinVersion = tls.VersionTLS13
	}
	c.GetCertificate = s.GetCertificate
	if s.accept == nil {
		return
	}
	if c.ClientAuth = tls.RequireAndVerifyClientCert; s.tls.ClientAuth.Mode == "verify_if_given" {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	c.VerifyConnection = s.verify
	s.bind(c)
	c.ClientCAs = s.current.Load().clients
	base := c.Clone() // without what follows
	var latest atomic.Pointer[made]
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := s.current.Load()
		if m := latest.Load(); m != nil && m.of == now {
			return m.config, nil
		}
		m := &made{of: now, config: base.Clone()}
		m.config.ClientCAs = now.clients
		latest.Store(m)
		return m.config, nil
	}
}

// made is the configuration of a server with the authorities of one set.
type made struct {
	of     *set
	config *tls.Config
}

// AsksClients reports whether clients are asked for certificates.
func (s *Store) AsksClients() bool { return s.accept != nil }

// verify accepts a client by its name. crypto/tls has verified who signed the certificate, now
// or when the session began that is resumed.
func (s *Store) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return nil // crypto/tls has refused it if it must have one
	}
	if err := s.accept.Check(state.PeerCertificates[0]); err != nil {
		return refusal{err}
	}
	return nil
}

// A refusal is why the name of a client was not accepted.
type refusal struct{ error }

// ErrorOfClient reports whether a handshake failed because of the client's certificate, or for
// want of one.
func ErrorOfClient(err error) bool {
	var unknown *tls.CertificateVerificationError
	var name refusal
	// crypto/tls has no type for the last case; a test watches over its words.
	return errors.As(err, &unknown) || errors.As(err, &name) || err != nil && strings.Contains(err.Error(), "client didn't provide a certificate")
}

// bind has c resume only sessions that began under the same rules for clients. The keys of tickets
// are those of all listeners, whose authorities may differ, and a resumed session is not verified
// again: its ticket could be shown to another listener, or after the authorities have changed.
func (s *Store) bind(c *tls.Config) {
	wrap, unwrap := c.WrapSession, c.UnwrapSession
	if wrap == nil {
		wrap, unwrap = c.EncryptTicket, c.DecryptTicket
	}
	c.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, s.current.Load().binding)
		return wrap(state, session)
	}
	c.UnwrapSession = func(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := unwrap(identity, state)
		if err != nil || session == nil || !slices.ContainsFunc(session.Extra, func(b []byte) bool {
			return string(b) == string(s.current.Load().binding)
		}) {
			return nil, err // a whole handshake
		}
		return session, nil
	}
}

// authorities reads those of clients; nil: clients are not asked. Called with mu held.
func (s *Store) authorities() (*x509.CertPool, []byte, error) {
	c := s.tls.ClientAuth
	if c == nil {
		return nil, nil, nil
	}
	content, err := s.content(c.CA, caBytesMax)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, nil, errors.New(c.CA + ": holds no CERTIFICATE in PEM")
	}
	return pool, binding(c, content), nil
}

// binding is what sessions of clients are bound to: the rules by which the client was accepted.
func binding(c *config.ClientAuth, authorities []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%x %q %q %q", filewatch.SumOf(authorities), c.Mode, c.SAN, c.SPIFFE))
	return append([]byte("poise client_auth "), sum[:]...)
}
