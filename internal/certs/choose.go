package certs

// Which certificate a handshake gets.

import (
	"crypto/tls"
	"net"
	"strings"
)

// GetCertificate chooses by the client's server name: certificates with that very name,
// then those with a wildcard in place of its first label, then the default
// certificate, which is the first of the configuration unless one is named. Among several (say ECDSA and RSA) it is the first the client supports.
// Without a name, as when the URL holds an address, the address the client connected to
// is the name (RFC 6066 §3 forbids to send it). It is made for tls.Config.GetCertificate.
func (s *Store) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	n := s.current.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" {
		name = localAddress(hello.Conn)
	}
	if c := supported(n.byName[name], hello); c != nil {
		return c, nil
	}
	if _, base, ok := strings.Cut(name, "."); ok {
		if c := supported(n.wild[base], hello); c != nil {
			return c, nil
		}
	}
	// Nothing fits by name, or what fits has a key the client cannot use: let the client
	// see a certificate and judge for itself. The name would make SupportsCertificate
	// refuse it, so it is left out of the question.
	anyName := *hello
	anyName.ServerName = ""
	for _, candidates := range [][]*tls.Certificate{n.byName[name], n.fallback} {
		if c := supported(candidates, &anyName); c != nil {
			return c, nil
		}
	}
	return n.fallback[0], nil
}

func supported(candidates []*tls.Certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	for _, c := range candidates {
		if hello.SupportsCertificate(c) == nil {
			return c
		}
	}
	return nil
}

func localAddress(c net.Conn) string {
	if c == nil {
		return ""
	}
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		return a.IP.String()
	}
	return ""
}
