// Package testcert makes certificates for tests, when the test runs: none is in the tree,
// so none expires there. It is the one place that does; only tests import it.
//
//	c := testcert.New(t, testcert.Template{})        // for localhost, its own authority
//	server := &tls.Config{Certificates: []tls.Certificate{c.TLS}}
//	client := &tls.Config{RootCAs: c.Pool(), ServerName: "localhost"}
package testcert

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A Kind is a kind of key. The zero value is P256, which is made in microseconds where
// RSA2048 takes a tenth of a second.
type Kind string

const (
	P256    Kind = "ecdsa"
	P384    Kind = "p384"
	Ed25519 Kind = "ed25519"
	RSA2048 Kind = "rsa"
)

// A Template says what is to be in a certificate. The zero value is good for most tests.
type Template struct {
	Names       []string  // DNS names, IP addresses and URIs; nil: localhost, 127.0.0.1 and ::1. The first is the common name too.
	Kind        Kind      // of its key; zero: P256
	Serial      int64     // by which a test distinguishes certificates; zero: random
	From, Until time.Time // zero: an hour ago, in two days
	By          *Cert     // which signs it; nil: itself, and it may sign others
	Authority   bool      // it may sign others although By is given
}

// A Cert is a certificate with its key.
type Cert struct {
	Cert, Key []byte          // PEM
	TLS       tls.Certificate // the same for crypto/tls; its Leaf is set
}

// New makes a certificate with a new key. Any number of goroutines may call it.
func New(t testing.TB, template Template) *Cert {
	t.Helper()
	key, err := template.Kind.generate()
	if err != nil {
		t.Fatal(err)
	}
	c := template.certificate()
	parent, signer := c, key
	if by := template.By; by != nil {
		parent, signer = by.TLS.Leaf, by.TLS.PrivateKey.(crypto.Signer)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &Cert{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		TLS:  tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
	}
}

// certificate is the template in the form of package x509, with defaults.
func (t Template) certificate() *x509.Certificate {
	if t.Names == nil {
		t.Names = []string{"localhost", "127.0.0.1", "::1"}
	}
	if t.From.IsZero() {
		t.From = time.Now().Add(-time.Hour)
	}
	if t.Until.IsZero() {
		t.Until = time.Now().Add(48 * time.Hour)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(cmp.Or(t.Serial, 1+mathrand.Int64N(1<<62))),
		Subject:      pkix.Name{CommonName: t.Names[0]},
		NotBefore:    t.From, NotAfter: t.Until,
		IsCA: t.By == nil || t.Authority, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if c.IsCA {
		c.KeyUsage |= x509.KeyUsageCertSign
	}
	for _, name := range t.Names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			c.URIs = append(c.URIs, u)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

func (k Kind) generate() (crypto.Signer, error) {
	switch k {
	case P256, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("testcert: no keys of kind %q", string(k))
}

// Pool trusts c and, where c is its own authority, what c has signed.
func (c *Cert) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.TLS.Leaf)
	return pool
}

// Write writes the certificate and then its key to these files, each in one step: it takes
// the place of what was there, as with programs that renew certificates.
func (c *Cert) Write(t testing.TB, cert, key string) {
	t.Helper()
	Replace(t, cert, c.Cert)
	Replace(t, key, c.Key)
}

// Files is Write into a folder that is removed with the test.
func (c *Cert) Files(t testing.TB) (cert, key string) {
	t.Helper()
	cert = filepath.Join(t.TempDir(), "cert.pem")
	key = cert + ".key" // where HAProxy looks for it
	c.Write(t, cert, key)
	return cert, key
}

// Replace writes a file by renaming another one: a reader sees the old content or the new.
func Replace(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
