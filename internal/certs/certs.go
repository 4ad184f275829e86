// Package certs keeps the certificates of a TLS listener: it reads them from files,
// chooses among them by the name a client asks for, and reads them again when the files
// change. A set of files is taken as a whole or not at all, so a bad file on disk leaves
// the certificates that are being served as they were.
package certs

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filewatch"
)

// A Store holds the certificates of one listener. GetCertificate may be called by any
// number of goroutines while another reloads.
type Store struct {
	pairs   []config.Certificate
	current atomic.Pointer[set]

	mu   sync.Mutex               // held while files are read
	sums map[string]filewatch.Sum // of the files when they were last read, well or badly
}

// A set is an immutable index of certificates.
type set struct {
	byName   map[string][]*tls.Certificate // exact names and IP addresses, lower case
	wild     map[string][]*tls.Certificate // "*.example.com" under "example.com"
	fallback []*tls.Certificate            // the first, and others for the same names
	all      []*tls.Certificate            // in the order of the configuration
}

// Load reads every pair of files. The error names each file that cannot be used and
// says why; then there is no Store.
func Load(pairs []config.Certificate) (*Store, error) {
	if len(pairs) == 0 {
		return nil, errors.New("no certificates are configured")
	}
	s := &Store{pairs: slices.Clone(pairs)}
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
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	s.current.Store(index(all))
	return nil
}

func index(all []*tls.Certificate) *set {
	n := &set{byName: map[string][]*tls.Certificate{}, wild: map[string][]*tls.Certificate{}, all: all}
	for _, c := range all {
		shares := c == all[0]
		for _, name := range names(c) {
			shares = shares || slices.Contains(names(all[0]), name)
			if base, ok := strings.CutPrefix(name, "*."); ok {
				n.wild[base] = append(n.wild[base], c)
			} else {
				n.byName[name] = append(n.byName[name], c)
			}
		}
		if shares {
			n.fallback = append(n.fallback, c)
		}
	}
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
