package sign

import (
	"crypto/tls"
	"errors"
	"strings"
)

// A copy of a Config that answers GetCertificate itself has to choose among the
// certificates as crypto/tls would, since crypto/tls has no function for that. For example,
// with certificates for a.example and b.example, in this order, and no GetCertificate:
//
//	the client names   it is shown
//	b.example          the second: it supports that name
//	c.example          the first, as the client may accept it anyway
//	nothing            the first that the client's algorithms can verify

// choose returns the certificate of c that crypto/tls would choose for hello.
func choose(c *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.GetCertificate != nil && (len(c.Certificates) == 0 || hello.ServerName != "") {
		if chosen, err := c.GetCertificate(hello); chosen != nil || err != nil {
			return chosen, err
		}
	}
	if len(c.Certificates) == 0 {
		return nil, errors.New("loop: no certificates configured")
	}
	if len(c.Certificates) == 1 {
		return &c.Certificates[0], nil
	}
	name := strings.ToLower(hello.ServerName)
	//lint:ignore SA1019 crypto/tls still follows it, and so must what stands in for it
	if chosen, ok := c.NameToCertificate[name]; ok {
		return chosen, nil
	}
	if first, _, _ := strings.Cut(name, "."); name != "" {
		//lint:ignore SA1019 as above
		if chosen, ok := c.NameToCertificate["*"+name[len(first):]]; ok {
			return chosen, nil
		}
	}
	for i := range c.Certificates {
		if hello.SupportsCertificate(&c.Certificates[i]) == nil {
			return &c.Certificates[i], nil
		}
	}
	return &c.Certificates[0], nil
}
