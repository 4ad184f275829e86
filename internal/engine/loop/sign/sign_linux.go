package sign

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/tls"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
)

// A certificate is replaced by a copy with another key, and only if its own key is slow.
// A server's certificate is replaced when a handshake asks for it, since only then is known
// on which loop the handshake runs, if on any: the same Config also serves connections of
// other engines. A client's certificates are replaced before its handshake starts.

// A Conn is a net.Conn whose handshake runs on an event loop, as a task of Loop. ForServer
// looks for it in tls.ClientHelloInfo.Conn.
type Conn interface{ Loop() *sched.Loop }

// ForServer returns a copy of c for servers. When the handshake of a Conn asks for a
// certificate, it gets one that does not sign on the loop; any other connection gets the
// certificate itself. The same holds for what c.GetConfigForClient returns, which is best the
// same Config each time. c must not be changed afterwards.
func ForServer(c *tls.Config) *tls.Config {
	out := c.Clone()
	out.Certificates = nil
	out.NameToCertificate = nil //lint:ignore SA1019 choose follows it, so that crypto/tls must not
	out.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		chosen, err := choose(c, hello)
		if conn, ok := hello.Conn.(Conn); ok && err == nil {
			chosen = withSigner(chosen, conn.Loop())
		}
		return chosen, err
	}
	if get := c.GetConfigForClient; get != nil {
		var latest atomic.Pointer[served]
		out.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := get(hello)
			if other == nil || err != nil {
				return nil, err
			}
			if s := latest.Load(); s != nil && s.from == other {
				return s.config, nil
			}
			s := &served{from: other, config: ForServer(other)}
			latest.Store(s)
			return s.config, nil
		}
	}
	return out
}

// served is what ForServer has made of a Config, which GetConfigForClient mostly returns again.
type served struct{ from, config *tls.Config }

// ForClient returns a copy of c for one handshake with a server, which a task of l
// performs. c stays as it is.
func ForClient(c *tls.Config, l *sched.Loop) *tls.Config {
	out := c.Clone()
	out.Certificates = nil
	for i := range c.Certificates {
		out.Certificates = append(out.Certificates, *withSigner(&c.Certificates[i], l))
	}
	if get := c.GetClientCertificate; get != nil {
		out.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			chosen, err := get(r)
			if err == nil {
				chosen = withSigner(chosen, l)
			}
			return chosen, err
		}
	}
	return out
}

// withSigner returns c, or a copy that signs by way of l if the key of c is slow; nil for
// nil. A key that cannot sign is left to crypto/tls, which says what is wrong with it.
func withSigner(c *tls.Certificate, l *sched.Loop) *tls.Certificate {
	if c == nil || quick(c.PrivateKey) {
		return c
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return c
	}
	slow := *c
	slow.PrivateKey = signer{key, l}
	if d, ok := c.PrivateKey.(crypto.Decrypter); ok {
		slow.PrivateKey = decrypter{signer{key, l}, d}
	}
	return &slow
}

// quick reports whether key signs in some ten microseconds. A key of an unknown type may be
// a device or a server, and so is slow.
func quick(key crypto.PrivateKey) bool {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key.Curve == elliptic.P256()
	case ed25519.PrivateKey:
		return true
	}
	return false
}

// A signer has its key sign on a goroutine, while the calling task of loop waits.
type signer struct {
	crypto.Signer
	loop *sched.Loop
}

// Sign is called by crypto/tls in the task that performs the handshake.
func (s signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	full := compute(s.loop, func() { signature, err = s.Signer.Sign(rand, digest, opts) })
	return signature, cmp.Or(full, err)
}

// A decrypter is a signer that also decrypts, for the key exchange of RSA up to TLS 1.2.
type decrypter struct {
	signer
	key crypto.Decrypter
}

// Decrypt is called by crypto/tls in the task that performs the handshake.
func (d decrypter) Decrypt(rand io.Reader, text []byte, opts crypto.DecrypterOpts) (plain []byte, err error) {
	full := compute(d.loop, func() { plain, err = d.key.Decrypt(rand, text, opts) })
	return plain, cmp.Or(full, err)
}

// compute runs f on a goroutine and waits for it. If too many computations wait already it
// fails, and f does not run. A panic of f surfaces in the calling task.
func compute(l *sched.Loop, f func()) error {
	if l.Compute(f) != nil {
		return errTooMany
	}
	return nil
}

// errTooMany ends a handshake that would have to wait behind too many others: this process
// lacks processors, and no endpoint is to blame.
var errTooMany = fmt.Errorf("loop: too many handshakes wait for a signature: %w", engine.ErrExhausted)
