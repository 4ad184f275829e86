package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filewatch"
)

// TLS reads the files; nil is nil. The authorities are read now; package sources makes
// a source anew when their file changes. The certificate of the client is tried now and
// read again for every connection, because it is replaced before it expires.
func TLS(c *config.SourceTLS) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.Insecure}
	if c.CA != "" {
		pem, err := filewatch.Read(c.CA, 16<<20)
		if err == nil {
			out.RootCAs = x509.NewCertPool()
			if !out.RootCAs.AppendCertsFromPEM(pem) {
				err = errors.New(c.CA + " has no certificate in it")
			}
		}
		if err != nil {
			return nil, problem("tls.ca", c.CA, err)
		}
	}
	if c.Cert != "" {
		read := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			return &pair, err
		}
		if _, err := read(nil); err != nil {
			return nil, problem("tls.cert", c.Cert, err)
		}
		out.GetClientCertificate = read
	}
	return out, nil
}

func problem(path, value string, err error) error {
	return config.NewErrors(config.Problem{Path: path, Value: value, Message: err.Error()})
}
