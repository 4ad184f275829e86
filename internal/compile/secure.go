package compile

// How https endpoints are verified, and what they are shown. Authorities and the proxy's own
// certificate stand in files, which may be replaced: what was read is compared by its content, so
// that a configuration that has not changed takes other content as well, and keeps its
// connections if the authorities are the same.

import (
	"errors"
	"maps"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/certs"
	"github.com/poise-lb/poise/internal/filewatch"
)

// Files are the files of authorities, certificates and keys that were read.
func (p *Plan) Files() map[string]filewatch.Sum {
	out := make(map[string]filewatch.Sum)
	note := func(sp *ServicePlan) { maps.Copy(out, sp.TLS.Files()) }
	for _, sp := range p.Services {
		note(sp)
	}
	for _, d := range p.Discover {
		note(d.template)
	}
	return out
}

// Announces reports whether endpoints of any service learn by the PROXY protocol who the client is.
func (p *Plan) Announces() bool {
	for _, sp := range p.Services {
		if sp.Connections.ProxyProtocol != 0 {
			return true
		}
	}
	for _, d := range p.Discover {
		if d.template.Connections.ProxyProtocol != 0 {
			return true
		}
	}
	return false
}

// compileTLS reads the authorities and the certificate that p.Config names.
func (p *ServicePlan) compileTLS(at string) (err error) {
	p.TLS, err = certs.NewClient(p.Config.TLS)
	var file *certs.FileError
	if errors.As(err, &file) {
		return config.NewErrors(config.Problem{Path: at + ".tls." + file.Key, Value: file.Path, Message: file.Error()})
	}
	return err
}
