package san

import (
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
)

// with is a certificate with these names.
func with(t *testing.T, names ...string) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{}
	for _, name := range names {
		switch ip := net.ParseIP(name); {
		case ip != nil:
			c.IPAddresses = append(c.IPAddresses, ip)
		case strings.Contains(name, ":"):
			u, err := url.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		default:
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		san, spiffe string // lists with spaces
		cert        string
		want        bool
	}{
		{"", "", "", true},
		{"shop.internal", "", "shop.internal", true},
		{"shop.internal", "", "SHOP.internal.", true},
		{"Shop.Internal.", "", "a.test shop.internal", true},
		{"shop.internal", "", "*.internal", false},
		{"shop.internal", "", "xshop.internal", false},
		{"shop.internal", "", "", false},
		{"*.internal", "", "shop.internal", true},
		{"*.internal", "", "*.internal", true},
		{"*.internal", "", "a.shop.internal", false},
		{"*.internal", "", "internal", false},
		{"10.0.0.7", "", "10.0.0.7", true},
		{"10.0.0.7", "", "10.0.0.8", false},
		{"::1", "", "::1", true},
		{"urn:example:shop", "", "urn:example:shop", true},
		{"urn:example:shop", "", "urn:example:shops", false},
		{"", "spiffe://example.org/shop", "spiffe://example.org/shop", true},
		{"", "spiffe://example.org/shop", "spiffe://example.org/shop/2", false},
		{"", "spiffe://example.org/shop", "spiffe://example.org/Shop", false},
		{"", "spiffe://example.org/shop", "spiffe://other.org/shop", false},
		{"", "spiffe://example.org", "spiffe://example.org/any/thing", true},
		{"", "spiffe://example.org", "spiffe://example.org.evil.org/any", false},
		{"", "spiffe://example.org", "spiffe://example.org:8443/any", false},
		{"", "spiffe://example.org", "spiffe://user@example.org/any", false},
		{"", "spiffe://example.org", "https://example.org/any", false},
		{"", "spiffe://example.org", "example.org", false},
		// A second URI: the certificate is no SVID.
		{"", "spiffe://example.org", "spiffe://example.org/shop spiffe://example.org/cart", false},
		{"a.test", "spiffe://example.org", "a.test", true},
		{"a.test", "spiffe://example.org", "b.test spiffe://example.org/x", true},
	} {
		n, err := Parse(strings.Fields(c.san), strings.Fields(c.spiffe))
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if err := n.Check(with(t, strings.Fields(c.cert)...)); (err == nil) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
	var none *Names
	if none.Check(with(t)) != nil {
		t.Error("nil refuses a certificate")
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ san, spiffe, near, say string }{
		{"spiffe://example.org/a", "", "", "under spiffe"},
		{"https://shop.internal", "", "shop.internal", "URL"},
		{"shop.internal:8443", "", "shop.internal", "port"},
		{"shop internal", "", "", "neither"},
		{"a..b", "", "", "neither"},
		{"*", "", "", "neither"},
		{"", "example.org", "spiffe://example.org", "begins with"},
		{"", "spiffe:/example.org/a", "spiffe://example.org/a", "begins with"},
		{"", "spiffe://Example.org/a", "spiffe://example.org/a", "small letters"},
		{"", "spiffe://example.org/", "spiffe://example.org", "empty part"},
		{"", "spiffe://example.org/a/", "spiffe://example.org/a", "empty part"},
		{"", "spiffe://example.org/a//b", "", "empty part"},
		{"", "spiffe://example.org/../b", "", "dots"},
		{"", "spiffe://", "", "trust domain"},
		{"", "spiffe://example.org/a*", "", `'*'`},
		{"", "spiffe://" + strings.Repeat("a", 2048), "", "2048"},
	} {
		var names, ids []string
		if c.san != "" {
			names = []string{"ok.test", c.san}
		}
		if c.spiffe != "" {
			ids = []string{"spiffe://ok", c.spiffe}
		}
		_, err := Parse(names, ids)
		var m *Mistake
		if !errors.As(err, &m) || m.At != 1 || m.InIDs != (c.spiffe != "") || m.Near != c.near || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%+v: %+v", c, m)
		}
	}
}

func TestErrorsNameBothSides(t *testing.T) {
	n, err := Parse([]string{"a.test"}, []string{"spiffe://x.org/a"})
	if err != nil {
		t.Fatal(err)
	}
	err = n.Check(with(t, "1.test", "2.test", "3.test", "4.test", "5.test"))
	if err == nil || err.Error() != "the certificate is for 1.test, 2.test, 3.test, 4.test and 1 more, which is none of a.test, spiffe://x.org/a" {
		t.Error(err)
	}
	if err = n.Check(with(t)); err == nil || !strings.Contains(err.Error(), "without alternative names") {
		t.Error(err)
	}
}
