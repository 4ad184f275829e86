package compile

// How https endpoints are verified. The authorities stand in files, which may be replaced:
// what was read is compared by its content, so that a configuration that has not changed
// takes other authorities as well, and keeps its connections if they are the same.

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filewatch"
)

// caBytesMax bounds a file of authorities.
const caBytesMax = 16 << 20

// Files are the files of authorities that were read.
func (p *Plan) Files() map[string]filewatch.Sum {
	out := make(map[string]filewatch.Sum)
	note := func(sp *ServicePlan) {
		if t := sp.Config.TLS; t != nil && t.CA != "" {
			out[t.CA] = sp.CA
		}
	}
	for _, sp := range p.Services {
		note(sp)
	}
	for _, d := range p.Discover {
		note(d.template)
	}
	return out
}

// compileTLS reads the authorities that p.Config names.
func (p *ServicePlan) compileTLS(at string) (*tls.Config, error) {
	c := p.Config.TLS
	if c == nil {
		return &tls.Config{ClientSessionCache: newSessions()}, nil
	}
	t := &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.Insecure, ClientSessionCache: newSessions()}
	if c.CA == "" {
		return t, nil
	}
	pem, err := filewatch.Read(c.CA, caBytesMax)
	if err != nil {
		return nil, config.NewErrors(config.Problem{Path: at + ".tls.ca", Value: c.CA, Message: err.Error()})
	}
	p.CA = filewatch.SumOf(pem)
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, config.NewErrors(config.Problem{Path: at + ".tls.ca", Value: c.CA, Message: c.CA + " holds no PEM certificate"})
	}
	return t, nil
}

// newSessions returns room for the TLS sessions of a service's endpoints.
func newSessions() tls.ClientSessionCache { return tls.NewLRUClientSessionCache(64) }
