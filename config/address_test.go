package config

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestEndpointParse(t *testing.T) {
	for _, test := range []struct{ url, scheme, address, host, name string }{
		{"http://127.0.0.1:9001", "http", "127.0.0.1:9001", "", ""},
		{"http://127.0.0.1", "http", "127.0.0.1:80", "", ""},
		{"https://127.0.0.1/", "https", "127.0.0.1:443", "", ""},
		{"https://[2001:DB8::0:1]:8443", "https", "[2001:db8::1]:8443", "", ""},
		{"http://[::ffff:192.0.2.1]:80", "http", "192.0.2.1:80", "", ""},
		{"http://[fe80::1%25eth0]:80", "http", "[fe80::1%eth0]:80", "", ""},
		{"http://localhost:8080", "http", "localhost:8080", "localhost", "localhost"},
		{"HTTP://Users.Example.", "http", "users.example.:80", "users.example", "users.example."},
		{"https://my_svc.ns", "https", "my_svc.ns:443", "my_svc.ns", "my_svc.ns"},
		{"http://xn--bcher-kva.example", "http", "xn--bcher-kva.example:80", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"unix:/run/app.sock", "http", "unix:/run/app.sock", "", ""},
		{"unix:///run/app.sock", "http", "unix:/run/app.sock", "", ""},
		{"unix:@abstract", "http", "unix:@abstract", "", ""},
		{"http://unix:/run/app.sock", "http", "unix:/run/app.sock", "", ""},
		{"https://unix:/run/app.sock", "https", "unix:/run/app.sock", "", ""},
		{"h2c://unix:@abstract", "h2c", "unix:@abstract", "", ""},
		{"http://unix:8080", "http", "unix:8080", "unix", "unix"},
	} {
		spec, name, err := Endpoint{URL: test.url, Weight: 7}.Parse()
		if err != nil || spec.Scheme != test.scheme || spec.Address != test.address || spec.Host != test.host || name != test.name || spec.Weight != 7 {
			t.Errorf("%s: %+v, %q, %v", test.url, spec, name, err)
		}
	}
}

func TestEndpointParseRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"":                            "missing",
		"127.0.0.1:80":                "as in http://127.0.0.1:80",
		"http://":                     "host is missing",
		"http://:80":                  "host is missing",
		"http://a:":                   "port is missing",
		"http://a:0":                  "not a port",
		"http://a:080":                "not a port",
		"http://a:65536":              "not a port",
		"http://a:x":                  "not a URL",
		"http://u:p@a":                "no user",
		"http://a?x":                  "no query",
		"http://a?":                   "no query",
		"http://a#":                   "no query and no fragment",
		"http://a#f":                  "no query and no fragment",
		"http://a/x":                  "no path",
		"http://1.2.3":                "not an IP address",
		"http://1.2.3.400":            "not an IP address",
		"http://a..b":                 "not a host name",
		"http://bücher.example":       "xn--",
		"http://a b":                  "not a URL",
		"http://a*b":                  "not a host name",
		"http://[::1":                 "not a URL",
		"unix:":                       "absolute path",
		"unix:run/x":                  "absolute path",
		"unix:/":                      "path of a socket",
		"https://unix:/":              "path of a socket",
		"ftp://unix:/x":               "\"ftp\" is not known",
		"http://" + long(64) + ".com": "1 to 63",
	} {
		if spec, name, err := (Endpoint{URL: url}).Parse(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %q, error %v, want %q", url, spec, name, err, want)
		}
	}
}

func long(n int) string { return strings.Repeat("a", n) }

func TestTrusted(t *testing.T) {
	got, err := Config{TrustedProxies: []string{"10.0.0.0/8", "::ffff:192.0.2.1", "2001:db8::/32", "::1"}}.Trusted()
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"),
		netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::1/128")}
	if err != nil || len(got) != len(want) {
		t.Fatal(got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
}

func TestDNSTarget(t *testing.T) {
	for in, want := range map[string]string{"": "", "10.0.0.1": "10.0.0.1:53", "10.0.0.1:5353": "10.0.0.1:5353", "::1": "[::1]:53", "[::1]": "[::1]:53", "[::1]:5": "[::1]:5"} {
		spec, name, server, err := (DNSSource{URL: "https://a.example", Server: in}).Target()
		if err != nil || server != want || name != "a.example" || spec.Address != "a.example:443" {
			t.Errorf("%q: %v %q %q %v", in, spec, name, server, err)
		}
	}
}

func TestDNSRecord(t *testing.T) {
	name, server, err := (DNSSource{SRV: "_Http._tcp.Users.example.", Server: "10.0.0.1"}).Record()
	if name != "_http._tcp.users.example." || server != "10.0.0.1:53" || err != nil {
		t.Error(name, server, err)
	}
	if _, _, err := (DNSSource{SRV: "_http._tcp.users.example", Server: "ns.example"}).Record(); err == nil {
		t.Error("a name for a name server")
	}
	for text, near := range map[string]string{
		"_http._tcp.a": "", "_users._v2.service.consul": "", "_http._tcp.a.svc.cluster.local.": "", // right
		"a.example":                  "_http._tcp.a.example",
		"a":                          "_http._tcp.a",
		"http.tcp.a.example":         "_http._tcp.a.example",
		"_http.tcp.a":                "_http._tcp.a",
		"_grpc.a.example":            "_grpc._tcp.a.example",
		"grpc._udp.a":                "_grpc._udp.a",
		"http://a.example:8080/":     "_http._tcp.a.example",
		"http://_http._tcp.a":        "_http._tcp.a",
		"_http._tcp.a.example:8080":  "_http._tcp.a.example",
		"dns://_http._tcp.a.example": "_http._tcp.a.example",
	} {
		got, err := checkRecord(text)
		if got != near || (err == nil) != (near == "") {
			t.Errorf("%q: near %q, %v, want %q", text, got, err, near)
		}
		if near != "" {
			if _, err := checkRecord(near); err != nil {
				t.Errorf("what is proposed for %q is wrong: %v", text, err)
			}
		}
	}
	for _, text := range []string{"_http._tcp.", "_http._tcp", "_http._tcp..a", "_._tcp.a b", "_http._tcp.ü", "10.0.0.1", "[::1]:53", "_http._tcp." + strings.Repeat("a.", 130)} {
		if near, err := checkRecord(text); err == nil {
			t.Errorf("%q is accepted, near %q", text, near)
		}
	}
}

func TestWords(t *testing.T) {
	method, target, err := (&Health{Check: "HEAD  /a?b=c"}).Request()
	if method != "HEAD" || target != "/a?b=c" || err != nil {
		t.Error(method, target, err)
	}
	ranges, err := (&Health{Expect: []string{"204", "300 - 399"}}).Statuses()
	if err != nil || len(ranges) != 2 || !ranges[0].Has(204) || ranges[0].Has(205) || !ranges[1].Has(300) || !ranges[1].Has(399) || ranges[1].Has(400) {
		t.Error(ranges, err)
	}
	c, err := (&Retry{On: []string{"connect", "timeout", "503"}}).Conditions()
	if err != nil || !c.Connect || c.Reset || !c.Timeout || len(c.Statuses) != 1 || c.Statuses[0] != 503 {
		t.Error(c, err)
	}
}

// FuzzEndpointParse: whatever is accepted can be dialed, and means the same when read again.
func FuzzEndpointParse(f *testing.F) {
	for _, s := range []string{"http://127.0.0.1:9001", "https://[::1%25a]", "unix:/x", "http://a.b.", "http://1.2", "http://A:1", "http://%61", "http://[::1]:", "unix://x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		spec, name, err := Endpoint{URL: url}.Parse()
		if err != nil {
			return
		}
		again, _, err := Endpoint{URL: strings.ReplaceAll(spec.URL(), "%", "%25")}.Parse()
		if path, unix := strings.CutPrefix(spec.Address, "unix:"); unix {
			again, _, err = Endpoint{URL: spec.Address}.Parse()
			if len(path) < 2 {
				t.Fatalf("%q: no path", url)
			}
		} else {
			host, port, splitErr := net.SplitHostPort(spec.Address)
			if _, addrErr := netip.ParseAddr(host); splitErr != nil || port == "" || (addrErr == nil) != (name == "") || addrErr != nil && name != host {
				t.Fatalf("%q: address %q, name %q", url, spec.Address, name)
			}
		}
		if err != nil || !again.Equal(spec) {
			t.Fatalf("%q: %+v and again %+v, %v", url, spec, again, err)
		}
	})
}
