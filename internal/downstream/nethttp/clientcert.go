package nethttp

// What crypto/tls knows of a client's certificate, in the form that exchanges pass on.

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"

	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/san"
)

// noCert is that of all clients who were asked and have none.
var noCert exchange.ClientCert

// ClientCert is the certificate that a client has shown, and crypto/tls has verified, to a server
// that asks for one. It is never nil. A certificate that nothing has verified counts for none.
func ClientCert(state *tls.ConnectionState) *exchange.ClientCert {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return &noCert
	}
	chain := state.VerifiedChains[0]
	leaf := chain[0]
	c := &exchange.ClientCert{
		Leaf:   appendBytes(nil, leaf),
		Proved: &record.Identity{Subject: leaf.Subject.String(), Name: san.First(leaf)},
	}
	for _, one := range chain[1:max(1, len(chain)-1)] { // the last one is the authority, which endpoints know
		if len(c.Chain) > 0 {
			c.Chain = append(c.Chain, ", "...)
		}
		c.Chain = appendBytes(c.Chain, one)
	}
	return c
}

// appendBytes appends a certificate as a Byte Sequence of structured fields (RFC 8941 §3.3.5).
func appendBytes(b []byte, c *x509.Certificate) []byte {
	b = append(b, ':')
	b = base64.StdEncoding.AppendEncode(b, c.Raw)
	return append(b, ':')
}
