package exchange

import (
	"net/netip"
	"testing"
)

var addressForms = map[string]string{ // "": no address
	"192.0.2.1":                          "192.0.2.1",
	" 192.0.2.1\t":                       "192.0.2.1",
	"192.0.2.1:51001":                    "192.0.2.1",
	"192.0.2.1:":                         "192.0.2.1",
	"192.0.2.1:_port":                    "192.0.2.1",
	"192.0.2.1:http":                     "",
	"192.0.2.1:123456":                   "",
	`"192.0.2.1:80"`:                     "192.0.2.1",
	"2001:db8::1":                        "2001:db8::1",
	"2001:DB8:0:0::1":                    "2001:db8::1",
	"[2001:db8::1]":                      "2001:db8::1",
	"[2001:db8::1]:443":                  "2001:db8::1",
	`"[2001:db8::1]:443"`:                "2001:db8::1",
	`" [2001:db8::1] "`:                  "2001:db8::1",
	"[2001:db8::1":                       "",
	"[2001:db8::1]x":                     "",
	"[2001:db8::1]:x":                    "",
	"[]":                                 "",
	"::1":                                "::1",
	"::ffff:192.0.2.1":                   "192.0.2.1",
	"[::ffff:c000:201]:80":               "192.0.2.1",
	"fe80::1%eth0":                       "fe80::1",
	"[fe80::1%eth0]:80":                  "fe80::1",
	"[192.0.2.1]:80":                     "192.0.2.1",
	"FE80::1":                            "fe80::1",
	"unknown":                            "",
	"Unknown":                            "",
	"_hidden":                            "",
	"example.com":                        "",
	"example.com:80":                     "",
	"192.0.2":                            "",
	"192.0.2.1.":                         "",
	"192.0.2.1 192.0.2.2":                "",
	"":                                   "",
	":":                                  "",
	`"`:                                  "",
	"1" + string(make([]byte, 1000)):     "",
	"fe80::1%" + string(make([]byte, 9)): "fe80::1",
}

func TestParseAddress(t *testing.T) {
	for text, want := range addressForms {
		got, ok := ParseAddress([]byte(text))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q: %v, %v, want %q", text, got, ok, want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for text := range addressForms {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a, ok := ParseAddress(text)
		if ok != a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Fatalf("%q: %v, %v", text, a, ok)
		}
		// Whatever netip reads, we read as the same.
		if want, err := netip.ParseAddr(string(text)); err == nil && len(text) <= addressMax && want.WithZone("").Unmap() != a {
			t.Fatalf("%q: %v, want %v", text, a, want)
		}
		if want, err := netip.ParseAddrPort(string(text)); err == nil && len(text) <= addressMax && want.Addr().WithZone("").Unmap() != a {
			t.Fatalf("%q: %v, want %v", text, a, want)
		}
	})
}
