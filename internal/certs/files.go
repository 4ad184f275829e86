package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/poise-lb/poise/config"
)

// fileBytesMax bounds what is read of one file: /dev/zero is a path like any other.
const fileBytesMax = 1 << 20

// read reads one pair; its error begins with the name of the file that is at fault.
func read(p config.Certificate) (*tls.Certificate, error) {
	certPEM, err := readFile(p.Cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(p.Key)
	if err != nil {
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

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.New(path + ": " + reason(err))
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New(path + ": is not a file")
	}
	if info.Size() > fileBytesMax {
		return nil, fmt.Errorf("%s: %d bytes are too many for a PEM file", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.New(path + ": " + reason(err))
	}
	return b, nil
}

// reason is an error of package os without the path, which is told before it.
func reason(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
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

// A mark tells one state of a file from another without reading it.
type mark struct {
	info os.FileInfo // of what the path leads to, through links; nil if there is nothing
}

func (m mark) same(o mark) bool {
	if m.info == nil || o.info == nil {
		return m.info == nil && o.info == nil
	}
	return os.SameFile(m.info, o.info) && m.info.Size() == o.info.Size() && m.info.ModTime().Equal(o.info.ModTime())
}

func (s *Store) look() []mark {
	marks := make([]mark, 0, 2*len(s.pairs))
	for _, p := range s.pairs {
		for _, path := range []string{p.Cert, p.Key} {
			info, err := os.Stat(path)
			if err != nil {
				info = nil
			}
			marks = append(marks, mark{info})
		}
	}
	return marks
}
