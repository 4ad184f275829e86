// Command ca is the authority of the example: it makes certificates with SPIFFE IDs, new ones of
// the same authority, and a new authority without a moment in which a connection fails. A mesh of
// yours has SPIRE, Vault, step-ca or cert-manager in its place; they write the same files.
//
//	ca -out run shop orders stock    run/shop.pem, run/shop.key, ... by the newest authority
//	ca -out run -authority           a new authority; run/roots.pem has the old one as well
//	ca -out run -forget              run/roots.pem has the newest authority alone
//
// The first call makes the first authority. Every file is replaced in one step.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// trustDomain is the first part of every SPIFFE ID of the example.
const trustDomain = "shop.example"

func main() {
	out := flag.String("out", "run", "folder of the files")
	authority := flag.Bool("authority", false, "make a new authority, and trust the old ones as well")
	forget := flag.Bool("forget", false, "trust the newest authority alone")
	flag.Parse()
	if err := run(*out, *authority, *forget, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "ca:", err)
		os.Exit(1)
	}
}

func run(out string, authority, forget bool, services []string) error {
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	roots := filepath.Join(out, "roots.pem")
	ca, err := tls.LoadX509KeyPair(filepath.Join(out, "ca.pem"), filepath.Join(out, "ca.key"))
	if errors.Is(err, fs.ErrNotExist) {
		authority = true
	} else if err != nil {
		return err
	}
	if authority {
		known, err := os.ReadFile(roots)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if ca, err = issue(filepath.Join(out, "ca"), &x509.Certificate{
			Subject: pkix.Name{CommonName: "authority of " + trustDomain}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().AddDate(1, 0, 0),
		}, nil); err != nil {
			return err
		}
		if err := replace(roots, append(known, certificate(ca)...)); err != nil {
			return err
		}
	}
	if forget {
		if err := replace(roots, certificate(ca)); err != nil {
			return err
		}
	}
	for _, name := range services {
		if _, err := issue(filepath.Join(out, name), &x509.Certificate{
			Subject:     pkix.Name{CommonName: name},
			URIs:        []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: "/" + name}},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			NotAfter:    time.Now().Add(24 * time.Hour),
		}, &ca); err != nil {
			return err
		}
	}
	return nil
}

// issue makes a certificate with a new key and writes both to path.pem and path.key. by nil: it
// signs itself.
func issue(path string, c *x509.Certificate, by *tls.Certificate) (tls.Certificate, error) {
	var none tls.Certificate
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return none, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return none, err
	}
	c.NotBefore = time.Now().Add(-time.Minute)
	parent, signer := c, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		return none, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return none, err
	}
	made := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if made.Leaf, err = x509.ParseCertificate(der); err != nil {
		return none, err
	}
	if err := replace(path+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})); err != nil {
		return none, err
	}
	return made, replace(path+".pem", certificate(made))
}

func certificate(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

// replace writes a file in one step: a reader finds the old content or the new.
func replace(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
