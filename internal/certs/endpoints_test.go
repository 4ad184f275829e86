package certs

import (
	"crypto/tls"
	"testing"

	"github.com/poise-lb/poise/config"
)

// A name of a service that makes an entry of the list no name accepts no certificate: the host name
// is not verified where there is a list.
func TestForABadName(t *testing.T) {
	c, err := NewClient(&config.EndpointTLS{SPIFFE: []string{"spiffe://service/x"}})
	if err != nil {
		t.Fatal(err)
	}
	bad := c.For(&config.EndpointTLS{SPIFFE: []string{"spiffe://NO_DOMAIN!/x"}})
	if err := bad.Config.VerifyConnection(tls.ConnectionState{}); err == nil || err.Error() == c.Config.VerifyConnection(tls.ConnectionState{}).Error() {
		t.Errorf("a bad name: %v", err)
	}
}
