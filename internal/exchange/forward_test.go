package exchange

import (
	"net/netip"
	"testing"

	"github.com/poise-lb/poise/internal/message"
)

func TestWhoTheClientIs(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		name, peer  string
		chain       []string
		realIP      string
		ip, forward string
	}{
		{"a client says nothing", "198.51.100.7", nil, "", "198.51.100.7", "198.51.100.7"},
		{"a client lies", "198.51.100.7", []string{"192.0.2.1"}, "192.0.2.1", "198.51.100.7", "198.51.100.7"},
		{"a proxy names its client", "10.0.0.1", []string{"192.0.2.1"}, "", "192.0.2.1", "192.0.2.1, 10.0.0.1"},
		{"the client lied to the proxy", "10.0.0.1", []string{"1.1.1.1, 192.0.2.1"}, "1.1.1.1", "192.0.2.1", "1.1.1.1, 192.0.2.1, 10.0.0.1"},
		{"two proxies", "10.0.0.1", []string{"192.0.2.1, 10.0.0.2"}, "", "192.0.2.1", "192.0.2.1, 10.0.0.2, 10.0.0.1"},
		{"several fields", "10.0.0.1", []string{"192.0.2.1", "10.0.0.2"}, "", "192.0.2.1", "192.0.2.1, 10.0.0.2, 10.0.0.1"},
		{"all are trusted", "10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "", "10.0.0.3", "10.0.0.3, 10.0.0.2, 10.0.0.1"},
		{"rubbish ends the chain", "10.0.0.1", []string{"192.0.2.1, rubbish, 10.0.0.2"}, "", "10.0.0.2", "192.0.2.1, rubbish, 10.0.0.2, 10.0.0.1"},
		{"empty elements are skipped", "10.0.0.1", []string{"192.0.2.1, , "}, "", "192.0.2.1", "192.0.2.1, , , 10.0.0.1"},
		{"only X-Real-IP", "10.0.0.1", nil, "192.0.2.1", "192.0.2.1", "10.0.0.1"},
		{"a port", "10.0.0.1", []string{"203.0.113.1:51001"}, "", "203.0.113.1", "203.0.113.1:51001, 10.0.0.1"},
		{"ports all over", "10.0.0.1", []string{"203.0.113.1:51001,10.0.0.2:80", " [fd00::2]:443 "}, "", "203.0.113.1", "203.0.113.1:51001,10.0.0.2:80,  [fd00::2]:443 , 10.0.0.1"},
		{"brackets and a zone", "10.0.0.1", []string{"[fe80::1%eth0]:443"}, "", "fe80::1", "[fe80::1%eth0]:443, 10.0.0.1"},
		{"unknown ends the chain", "10.0.0.1", []string{"192.0.2.1, unknown, 10.0.0.2"}, "", "10.0.0.2", "192.0.2.1, unknown, 10.0.0.2, 10.0.0.1"},
		{"only unknown", "10.0.0.1", []string{"_hidden"}, "192.0.2.1", "10.0.0.1", "_hidden, 10.0.0.1"},
		{"X-Real-IP with a port", "10.0.0.1", nil, "192.0.2.1:80", "192.0.2.1", "10.0.0.1"},
		{"X-Real-IP is no address", "10.0.0.1", nil, "rubbish", "10.0.0.1", "10.0.0.1"},
		{"one text for one client", "10.0.0.1", []string{"2001:DB8:0::1"}, "", "2001:db8::1", "2001:DB8:0::1, 10.0.0.1"},
		{"IPv6", "fd00::1", []string{"2001:db8::1"}, "", "2001:db8::1", "2001:db8::1, fd00::1"},
	} {
		addr := netip.MustParseAddr(test.peer)
		peer := &Peer{Addr: addr, IP: addr.AppendTo(nil), Scheme: "http"}
		q := &message.Request{Host: []byte("example.com")}
		for _, v := range test.chain {
			q.Fields = append(q.Fields, message.NewField("X-Forwarded-For", v))
		}
		if test.realIP != "" {
			q.Fields = append(q.Fields, message.NewField("X-Real-IP", test.realIP))
		}
		var f forward
		ip := f.fields(q, peer, &Table{Trusted: trusted})
		forwarded, _ := message.GetKind(q.Fields, message.XForwardedFor)
		real, _ := message.GetKind(q.Fields, message.XRealIP)
		if string(ip) != test.ip || string(real) != test.ip || string(forwarded) != test.forward {
			t.Errorf("%s: client %q, X-Real-IP %q, X-Forwarded-For %q; want %q and %q", test.name, ip, real, forwarded, test.ip, test.forward)
		}
	}
}

func TestForwardedNamesTheClient(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	table := &Table{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, test := range []struct {
		fields []string // name: value
		want   string
	}{
		{[]string{`for=192.0.2.43`}, "192.0.2.43"},
		{[]string{`For="[2001:db8:cafe::17]:4711"; proto=https;by=203.0.113.43`}, "2001:db8:cafe::17"},
		{[]string{`for=6.6.6.6, for=192.0.2.43:80;proto=http, for=10.0.0.3`}, "192.0.2.43"},
		{[]string{`for=6.6.6.6, for=192.0.2.43`, `proto=http; for=10.0.0.3`}, "192.0.2.43"},
		{[]string{`for=6.6.6.6`, `for=_hidden, for=10.0.0.3`}, "10.0.0.3"},
		{[]string{`for=6.6.6.6, for=unknown`}, "10.0.0.1"},
		{[]string{`for=6.6.6.6, proto=https`}, "10.0.0.1"},
		{[]string{``}, "10.0.0.1"},
	} {
		q := new(message.Request)
		for _, v := range test.fields {
			q.Fields = append(q.Fields, message.NewField("Forwarded", v))
		}
		var f forward
		peer := &Peer{Addr: addr, IP: addr.AppendTo(nil), Scheme: "http"}
		if ip := f.fields(q, peer, table); string(ip) != test.want {
			t.Errorf("%q: %s, want %s", test.fields, ip, test.want)
		}
		q.Fields = append(q.Fields, message.NewField("X-Forwarded-For", "192.0.2.99"))
		if ip := f.fields(q, peer, table); string(ip) != "192.0.2.99" {
			t.Errorf("%q beside X-Forwarded-For: %s", test.fields, ip)
		}
	}
}

func TestForwardedSchemeAndHost(t *testing.T) {
	for _, test := range []struct {
		peer, scheme string
		proto, host  string
	}{
		{"198.51.100.7", "http", "http", "ours.example"},
		{"198.51.100.7", "https", "https", "ours.example"},
		{"10.0.0.1", "http", "https", "theirs.example"},
	} {
		addr := netip.MustParseAddr(test.peer)
		q := &message.Request{Host: []byte("ours.example"), Fields: []message.Field{
			message.NewField("X-Forwarded-Proto", "https"), message.NewField("X-Forwarded-Host", "theirs.example"),
			message.NewField("Forwarded", "for=192.0.2.1"),
		}}
		var f forward
		f.fields(q, &Peer{Addr: addr, IP: addr.AppendTo(nil), Scheme: test.scheme}, &Table{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		proto, _ := message.GetKind(q.Fields, message.XForwardedProto)
		host, _ := message.GetKind(q.Fields, message.XForwardedHost)
		_, forwarded := message.GetKind(q.Fields, message.Forwarded)
		if string(proto) != test.proto || string(host) != test.host || forwarded != (test.peer == "10.0.0.1") {
			t.Errorf("%+v: %q %q, Forwarded passed on: %v", test, proto, host, forwarded)
		}
	}
}

func TestPreferringJSON(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                  false,
		"application/json":                  true,
		"application/problem+json":          true,
		"Application/JSON; q=1":             true,
		"text/html, application/json":       false,
		"application/json, text/plain":      true,
		"*/*":                               false,
		"image/png, application/json;q=0.1": true,
	} {
		if got := prefersJSON([]byte(accept)); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}
