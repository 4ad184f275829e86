package config

// What tags cannot say about TLS, of listeners and towards endpoints: who is accepted, and what
// belongs together. Certificates themselves are read by internal/certs.

import (
	"errors"

	"github.com/poise-lb/poise/internal/san"
)

// names checks the lists san and spiffe of the mapping at path.
func (v *validator) names(path string, names, ids []string) {
	_, err := san.Parse(names, ids)
	var m *san.Mistake
	if !errors.As(err, &m) {
		return
	}
	list, texts := "san", names
	if m.InIDs {
		list, texts = "spiffe", ids
	}
	v.add(Index(Key(path, list), m.At), texts[m.At], m.Near, m.Error())
}

// listenerTLS checks the TLS of a listener; t may be nil.
func (v *validator) listenerTLS(path string, t *TLS) {
	if t == nil || t.ClientAuth == nil {
		return
	}
	v.names(Key(path, "client_auth"), t.ClientAuth.SAN, t.ClientAuth.SPIFFE)
}

// endpointTLS checks the TLS towards endpoints; t may be nil.
func (v *validator) endpointTLS(path string, t *EndpointTLS) {
	if t == nil {
		return
	}
	if (t.Cert == "") != (t.Key == "") {
		v.add(path, "", "", "cert and key belong together")
	}
	v.names(path, t.SAN, t.SPIFFE)
	if t.Insecure && len(t.SAN)+len(t.SPIFFE) > 0 {
		v.add(Key(path, "insecure_skip_verify"), "true", "", "with it san and spiffe are not looked at: leave one of them out")
	}
}
