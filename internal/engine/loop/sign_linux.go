package loop

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/poise-lb/poise/internal/engine"
)

// Keys that take long sign on goroutines: the client waits for the signature, and the loop
// does not.

// signElsewhere is a copy of c whose certificates, when a loop asks for them, do not sign
// on that loop.
func signElsewhere(c *tls.Config) *tls.Config {
	out := c.Clone()
	out.Certificates = nil
	out.NameToCertificate = nil //lint:ignore SA1019 choose follows it, so that crypto/tls must not
	out.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		chosen, err := choose(c, hello)
		if w, ok := hello.Conn.(*wire); ok && err == nil {
			chosen = w.s.loop.withSigner(chosen)
		}
		return chosen, err
	}
	return out
}

// choose is how crypto/tls chooses among the certificates of c; it has no function for that.
func choose(c *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.GetCertificate != nil && (len(c.Certificates) == 0 || hello.ServerName != "") {
		if chosen, err := c.GetCertificate(hello); chosen != nil || err != nil {
			return chosen, err
		}
	}
	if len(c.Certificates) == 0 {
		return nil, errors.New("loop: no certificates configured")
	}
	if len(c.Certificates) == 1 {
		return &c.Certificates[0], nil
	}
	name := strings.ToLower(hello.ServerName)
	//lint:ignore SA1019 crypto/tls still follows it, and so must what stands in for it
	if chosen, ok := c.NameToCertificate[name]; ok {
		return chosen, nil
	}
	if first, _, _ := strings.Cut(name, "."); name != "" {
		//lint:ignore SA1019 as above
		if chosen, ok := c.NameToCertificate["*"+name[len(first):]]; ok {
			return chosen, nil
		}
	}
	for i := range c.Certificates {
		if hello.SupportsCertificate(&c.Certificates[i]) == nil {
			return &c.Certificates[i], nil
		}
	}
	return &c.Certificates[0], nil
}

// signAt is a copy of c, for one handshake with a server, that does not sign on l.
func signAt(c *tls.Config, l *loop) *tls.Config {
	out := c.Clone()
	out.Certificates = nil
	for i := range c.Certificates {
		out.Certificates = append(out.Certificates, *l.withSigner(&c.Certificates[i]))
	}
	if get := c.GetClientCertificate; get != nil {
		out.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			chosen, err := get(r)
			if err == nil {
				chosen = l.withSigner(chosen)
			}
			return chosen, err
		}
	}
	return out
}

// withSigner is c, or a copy if its key takes long.
func (l *loop) withSigner(c *tls.Certificate) *tls.Certificate {
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

// quick reports whether key signs in some ten microseconds. A key of a type that is not
// known may be a device, or a server.
func quick(key crypto.PrivateKey) bool {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key.Curve == elliptic.P256()
	case ed25519.PrivateKey:
		return true
	}
	return false
}

// A signer signs on a goroutine, and has the calling task of the loop wait.
type signer struct {
	crypto.Signer
	loop *loop
}

func (s signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	full := s.loop.compute(func() { signature, err = s.Signer.Sign(rand, digest, opts) })
	return signature, cmp.Or(full, err)
}

// A decrypter is for the key exchange of RSA, up to TLS 1.2.
type decrypter struct {
	signer
	key crypto.Decrypter
}

func (d decrypter) Decrypt(rand io.Reader, text []byte, opts crypto.DecrypterOpts) (plain []byte, err error) {
	full := d.loop.compute(func() { plain, err = d.key.Decrypt(rand, text, opts) })
	return plain, cmp.Or(full, err)
}

// compute has f, which computes for long, run on a goroutine.
func (l *loop) compute(f func()) error {
	if l.Compute(f) != nil {
		return errSignatures
	}
	return nil
}

// errSignatures ends a handshake that would have to wait behind too many others.
var errSignatures = fmt.Errorf("loop: too many handshakes wait for a signature: %w", engine.ErrExhausted)
