package message

import (
	"net/netip"
	"strings"
	"testing"
)

func TestIPv6AgainstNetip(t *testing.T) {
	parts := []string{"", "0", "1", "abcd", "ABCD", "12345", "g", ":", "::", "1.2.3.4", "1.2.3", "256.1.1.1", "01.2.3.4", "1.2.3.4.5", ".", "%25eth0"}
	check := func(s string) {
		a, err := netip.ParseAddr(s)
		want := err == nil && a.Is6() && a.Zone() == ""
		if got := validIPv6([]byte(s)); got != want {
			t.Errorf("validIPv6(%q) = %v", s, got)
		}
	}
	for _, a := range parts {
		for _, b := range parts {
			for _, c := range parts {
				check(a + ":" + b + ":" + c)
				check(a + "::" + b + c)
				for groups := range 9 {
					check(strings.Repeat("1:", groups) + a + b + c)
					check(strings.Repeat("1:", groups) + ":" + a + b)
					check(a + "::" + strings.Repeat("1:", groups) + b)
				}
			}
		}
	}
}

func TestHosts(t *testing.T) {
	for host, want := range map[string]string{
		"a": "a", "": "", "a:0": "a:0", "a:65535": "a:65535", "1.2.3.4:80": "1.2.3.4:80", "a:": "a", "[::1]": "[::1]", "[::1]:": "[::1]",
		strings.Repeat("a", 253): strings.Repeat("a", 253),
	} {
		if got, ok := ParseHost([]byte(host)); !ok || string(got) != want {
			t.Errorf("ParseHost(%q) = %q, %v", host, got, ok)
		}
	}
	for _, host := range []string{
		":80", ":", "a:65536", "a:080000", "a:+1", "a:-1", "a:b", "a:1:2", "u@a", "u:p@a", "a/b", "a?b", "a\\b", "a,b", "a b", "a%2fb", "[", "[]",
		"[::1", "::1", "[::1]x", "[::1]]", "[a]", "[v1.x]", "[::1%25en0]", "a;b", "caf\xe9", "a\tb", "*", "a'b", "a&b", strings.Repeat("a", 301),
	} {
		if got, ok := ParseHost([]byte(host)); ok {
			t.Errorf("ParseHost(%q) = %q", host, got)
		}
	}
}
