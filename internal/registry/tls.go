package registry

import (
	"crypto/tls"
	"errors"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/certs"
)

// TLS reads the files, as certs.SourceTLS does; nil is nil. Package sources makes a source anew when
// the file of authorities changes. The error says which key of the configuration is at fault.
func TLS(c *config.SourceTLS) (*tls.Config, error) {
	out, err := certs.SourceTLS(c)
	var file *certs.FileError
	if errors.As(err, &file) {
		return nil, config.NewErrors(config.Problem{Path: "tls." + file.Key, Value: file.Path, Message: err.Error()})
	}
	return out, err
}
