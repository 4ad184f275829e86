// Package certs keeps the certificates of a TLS listener: it reads them from files,
// chooses among them by the name a client asks for, and reads them again when the files
// change. A set of files is taken as a whole or not at all, so a bad file on disk leaves
// the certificates that are being served as they were. The authorities of clients'
// certificates belong to the set (clients.go). What the proxy shows endpoints, and how it
// verifies theirs, is in endpoints.go.
package certs

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filewatch"
	"github.com/poise-lb/poise/internal/san"
)

// A Store holds the certificates of one listener. GetCertificate may be called by any
// number of goroutines while another reloads.
type Store struct {
	tls     config.TLS
	pairs   []config.Certificate // those of tls; the default certificate last, if there is one
	accept  *san.Names           // of clients; nil: clients are not asked for certificates
	current atomic.Pointer[set]

	mu   sync.Mutex               // held while files are read
	sums map[string]filewatch.Sum // of the files when they were last read, well or badly
}

// A set is an immutable index of certificates.
type set struct {
	byName   map[string][]*tls.Certificate // exact names and IP addresses, lower case
	wild     map[string][]*tls.Certificate // "*.example.com" under "example.com"
	fallback []*tls.Certificate            // the default one, and others for the same names
	all      []*tls.Certificate            // in the order of Store.pairs

	clients *x509.CertPool // authorities of clients; nil: they are not asked
	binding []byte         // of sessions: see bind
}

// Open reads all files that a listener names: its certificates, and the authorities of clients. The
// error names each file that cannot be used and says why; then there is no Store.
func Open(t config.TLS) (*Store, error) {
	if len(t.Certificates) == 0 {
		return nil, errors.New("no certificates are configured")
	}
	s := &Store{tls: t, pairs: slices.Clone(t.Certificates)}
	if t.DefaultCertificate != nil {
		s.pairs = append(s.pairs, *t.DefaultCertificate)
	}
	if c := t.ClientAuth; c != nil {
		var err error
		if s.accept, err = san.Parse(c.SAN, c.SPIFFE); err != nil {
			return nil, err
		}
	}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads all files again. If any of them cannot be used, the error says which and
// why, and the certificates stay as they were.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sums = make(map[string]filewatch.Sum)
	var all []*tls.Certificate
	var errs []error
	for _, p := range s.pairs {
		c, err := s.read(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, c)
	}
	clients, binding, err := s.authorities()
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	first := all[0]
	if s.tls.DefaultCertificate != nil {
		first = all[len(all)-1]
	}
	n := index(all, first)
	n.clients, n.binding = clients, binding
	s.current.Store(n)
	return nil
}

// index makes a set. first is used when no name fits, and so is what has a name of it.
func index(all []*tls.Certificate, first *tls.Certificate) *set {
	n := &set{byName: map[string][]*tls.Certificate{}, wild: map[string][]*tls.Certificate{}, all: all}
	for _, c := range all {
		shares := c == first
		for _, name := range names(c) {
			shares = shares || slices.Contains(names(first), name)
			if base, ok := strings.CutPrefix(name, "*."); ok {
				n.wild[base] = append(n.wild[base], c)
			} else {
				n.byName[name] = append(n.byName[name], c)
			}
		}
		if shares && c != first {
			n.fallback = append(n.fallback, c)
		}
	}
	n.fallback = append([]*tls.Certificate{first}, n.fallback...)
	return n
}

// names are the subject alternative names that servers are verified by (RFC 6125); the
// common name is no longer used.
func names(c *tls.Certificate) []string {
	var names []string
	for _, name := range c.Leaf.DNSNames {
		names = append(names, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
	for _, ip := range c.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Ends says when each certificate in use expires, by its file.
func (s *Store) Ends() map[string]time.Time {
	out := make(map[string]time.Time)
	for i, c := range s.current.Load().all { // in the order of pairs: see Warnings
		out[s.pairs[i].Cert] = c.Leaf.NotAfter
	}
	return out
}

// Costs says which certificates make handshakes dear: those with RSA keys. One line
// is for each, with its file.
func (s *Store) Costs() (lines []string) {
	all := s.current.Load().all
	for i, c := range all { // in the order of pairs: see Warnings
		key, ok := c.PrivateKey.(*rsa.PrivateKey)
		if !ok {
			continue
		}
		line := fmt.Sprintf("%s: a full handshake signs with RSA of %d bits, which takes about %d times the processor time of ECDSA on P-256", s.pairs[i].Cert, key.N.BitLen(), rsaCost(key.N.BitLen()))
		for j, other := range all {
			if _, rsa := other.PrivateKey.(*rsa.PrivateKey); !rsa && slices.Equal(names(c), names(other)) {
				if j < i {
					line += ", for clients without ECDSA: others get " + s.pairs[j].Cert
				} else {
					line += "; list " + s.pairs[j].Cert + " before it"
				}
				break
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// rsaCost is how many signatures with ECDSA on P-256 take as long as one with RSA of so many bits:
// measured with crypto/rsa for 2048, and growing with the third power.
func rsaCost(bits int) int {
	f := float64(bits) / 2048
	return max(1, int(rsa2048Cost*f*f*f+0.5))
}

const rsa2048Cost = 40

// Warnings says which certificates are served although they are expired or not valid
// yet: clients will refuse them, but so they would refuse a port that is closed.
func (s *Store) Warnings(now time.Time) []string {
	var out []string
	// pairs and all have the same order: a set is complete or it is not stored.
	for i, c := range s.current.Load().all {
		switch file := s.pairs[i].Cert; {
		case now.After(c.Leaf.NotAfter):
			out = append(out, file+": the certificate expired on "+c.Leaf.NotAfter.UTC().Format(time.RFC3339))
		case now.Before(c.Leaf.NotBefore):
			out = append(out, file+": the certificate is not valid before "+c.Leaf.NotBefore.UTC().Format(time.RFC3339))
		}
	}
	return out
}
