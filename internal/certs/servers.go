package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filewatch"
)

// SourceTLS is how a server that the proxy asks is verified, a registry or a receiver of spans, and
// what the proxy shows it; nil is nil. The authorities are read now: who follows their file calls it
// again. The proxy's certificate is tried now and read again for every connection, because it is
// replaced before it expires. The error is a *FileError.
func SourceTLS(c *config.SourceTLS) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.Insecure}
	if c.CA != "" {
		pem, err := filewatch.Read(c.CA, caBytesMax)
		if err == nil {
			out.RootCAs = x509.NewCertPool()
			if !out.RootCAs.AppendCertsFromPEM(pem) {
				err = errors.New(c.CA + " has no certificate in it")
			}
		}
		if err != nil {
			return nil, &FileError{"ca", c.CA, err}
		}
	}
	if c.Cert != "" {
		read := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			return &pair, err
		}
		if _, err := read(nil); err != nil {
			return nil, &FileError{"cert", c.Cert, err}
		}
		out.GetClientCertificate = read
	}
	return out, nil
}
