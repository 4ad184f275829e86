package config

import (
	"strings"
	"testing"
)

// Mistakes about TLS and the PROXY protocol are found where they are, with what was meant.
func TestMistakesAboutTLS(t *testing.T) {
	for _, c := range []struct {
		change          func(l *Listen, s *Service)
		path, near, say string
	}{
		{func(l *Listen, _ *Service) { l.TLS.Profile = "moder" }, "listen[0].tls.profile", "modern", "not one of"},
		{func(l *Listen, _ *Service) { l.TLS.ClientAuth = &ClientAuth{} }, "listen[0].tls.client_auth.ca", "", "is missing"},
		{func(l *Listen, _ *Service) { l.TLS.ClientAuth = &ClientAuth{CA: "ca.pem", Mode: "required"} }, "listen[0].tls.client_auth.mode", "require", "not one of"},
		{func(l *Listen, _ *Service) {
			l.TLS.ClientAuth = &ClientAuth{CA: "ca.pem", SAN: []string{"a.test", "b.test:443"}}
		}, "listen[0].tls.client_auth.san[1]", "b.test", "port"},
		{func(l *Listen, _ *Service) {
			l.TLS.ClientAuth = &ClientAuth{CA: "ca.pem", SPIFFE: []string{"example.org/shop"}}
		}, "listen[0].tls.client_auth.spiffe[0]", "spiffe://example.org/shop", "SPIFFE ID"},
		{func(l *Listen, _ *Service) { l.TLS.DefaultCertificate = &Certificate{Cert: "a.pem"} }, "listen[0].tls.default_certificate.key", "", "is missing"},
		{func(l *Listen, _ *Service) { l.Address = "unix:run/app.sock" }, "listen[0].address", "", "begins with /"},
		{func(l *Listen, _ *Service) { l.Address = "unix:/" + strings.Repeat("a", 200) }, "listen[0].address", "", "107 bytes"},
		{func(l *Listen, _ *Service) { l.Address, l.Mode = "unix:/run/app.sock", "rw" }, "listen[0].mode", "", "not a mode"},
		{func(l *Listen, _ *Service) { l.Mode = "0660" }, "listen[0].mode", "", "of unix sockets"},
		{func(l *Listen, _ *Service) { l.ProxyProtocol = &ProxyProtocol{} }, "listen[0].proxy_protocol.trusted", "", "is missing"},
		{func(l *Listen, _ *Service) { l.ProxyProtocol = &ProxyProtocol{Trusted: []string{"10.0.0.1/8"}} }, "listen[0].proxy_protocol.trusted[0]", "10.0.0.0/8", "behind its length"},
		{func(l *Listen, _ *Service) {
			l.ProxyProtocol = &ProxyProtocol{Trusted: []string{"10.0.0.0/8"}, Others: "server"}
		}, "listen[0].proxy_protocol.others", "serve", "not one of"},
		{func(_ *Listen, s *Service) { s.ProxyProtocol, s.Protocol = "v2", "auto" }, "services.a.protocol", "http1", "belongs to one client"},
		{func(_ *Listen, s *Service) { s.ProxyProtocol = "v3" }, "services.a.proxy_protocol", "v1", "not one of"},
		{func(_ *Listen, s *Service) { s.TLS = &EndpointTLS{Cert: "a.pem"} }, "services.a.tls", "", "belong together"},
		{func(_ *Listen, s *Service) { s.TLS = &EndpointTLS{SAN: []string{"spiffe://a.test/x"}} }, "services.a.tls.san[0]", "", "under spiffe"},
		{func(_ *Listen, s *Service) { s.TLS = &EndpointTLS{SAN: []string{"a.test"}, Insecure: true} }, "services.a.tls.insecure_skip_verify", "", "not looked at"},
	} {
		l := Listen{Address: "127.0.0.1:8443", TLS: &TLS{Certificates: []Certificate{{Cert: "a.pem", Key: "a.key"}}}}
		s := Service{Endpoints: []Endpoint{{URL: "http://127.0.0.1:1"}}}
		conf := func() error {
			return (&Config{Listen: []Listen{l}, Services: map[string]Service{"a": s}, Routes: []Route{{Service: "a"}}}).Validate()
		}
		if err := conf(); err != nil {
			t.Fatal(err)
		}
		c.change(&l, &s)
		bad, ok := conf().(*Errors)
		if !ok || len(bad.Problems()) != 1 {
			t.Errorf("%s: %v", c.path, bad)
			continue
		}
		if p := bad.Problems()[0]; p.Path != c.path || p.Near != c.near || !strings.Contains(p.Message, c.say) {
			t.Errorf("%+v, want %s, near %q: %s", p, c.path, c.near, c.say)
		}
	}
}
