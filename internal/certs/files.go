package certs

// Certificates and keys as files. A pair that does not fit, a file without PEM in it or a key
// where a certificate is expected is an error that names the file at fault.

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filewatch"
)

// fileBytesMax bounds what is read of one file.
const fileBytesMax = 1 << 20

// read reads one pair; its error begins with the name of the file that is at fault. Called
// with mu held.
func (s *Store) read(p config.Certificate) (*tls.Certificate, error) {
	certPEM, err := s.content(p.Cert, fileBytesMax)
	keyPEM, keyErr := s.content(p.Key, fileBytesMax) // in any case: Watch follows both
	if err := cmp.Or(err, keyErr); err != nil {
		return nil, err
	}
	leaf, err := parseChain(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Cert, err)
	}
	if err := findKey(keyPEM); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Key, err)
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		// The chain was read above, so it is the key that is at fault.
		what := strings.TrimPrefix(err.Error(), "tls: ")
		if strings.Contains(what, "does not match") {
			what = "the key does not belong to the certificate in " + p.Cert
		}
		return nil, fmt.Errorf("%s: %s", p.Key, what)
	}
	c.Leaf = leaf
	return &c, nil
}

// content reads a file of at most so many bytes and notes what it holds, so that Watch knows
// another content.
func (s *Store) content(path string, most int64) ([]byte, error) {
	b, err := filewatch.Read(path, most)
	if err != nil {
		s.sums[path] = filewatch.Sum{}
		return nil, errors.New(path + ": " + reason(path, err))
	}
	s.sums[path] = filewatch.SumOf(b)
	return b, nil
}

// reason is an error of reading without the path, which stands before it.
func reason(path string, err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), path+" ")
}

// parseChain parses every certificate of a PEM file and returns the first, the leaf.
func parseChain(b []byte) (*x509.Certificate, error) {
	var leaf *x509.Certificate
	for n := 1; ; {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		b = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %s", n, strings.TrimPrefix(err.Error(), "x509: "))
		}
		if leaf == nil {
			leaf = c
		}
		n++
	}
	if leaf == nil {
		return nil, errors.New("holds no CERTIFICATE in PEM")
	}
	return leaf, nil
}

// findKey gives the two mistakes seen most in practice words of their own.
func findKey(b []byte) error {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return errors.New("holds no PRIVATE KEY in PEM")
		}
		b = rest
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return errors.New("the private key is encrypted; store it without a passphrase")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil
		}
	}
}
