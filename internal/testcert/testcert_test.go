package testcert

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

func TestCertificatesAreVerified(t *testing.T) {
	for _, kind := range []Kind{"", P256, P384, Ed25519, RSA2048} {
		c := New(t, Template{Kind: kind})
		for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
			if _, err := c.TLS.Leaf.Verify(x509.VerifyOptions{Roots: c.Pool(), DNSName: name}); err != nil {
				t.Errorf("%q for %s: %v", kind, name, err)
			}
		}
		if _, err := tls.X509KeyPair(c.Cert, c.Key); err != nil {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

func TestAnAuthoritySigns(t *testing.T) {
	ca := New(t, Template{Names: []string{"ca"}})
	c := New(t, Template{Names: []string{"api.example", "10.0.0.1"}, By: ca, Serial: 7})
	leaf := c.TLS.Leaf
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: "api.example"}); err != nil {
		t.Error(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: New(t, Template{}).Pool()}); err == nil {
		t.Error("another authority was good enough")
	}
	if leaf.SerialNumber.Int64() != 7 || leaf.Subject.CommonName != "api.example" || len(leaf.IPAddresses) != 1 || leaf.IsCA {
		t.Errorf("%+v", leaf)
	}
}

func TestFiles(t *testing.T) {
	c := New(t, Template{Until: time.Now().Add(time.Minute)})
	pair, err := tls.LoadX509KeyPair(c.Files(t))
	if err != nil || !slices.Equal(pair.Certificate[0], c.TLS.Certificate[0]) {
		t.Error(err)
	}
}
