package route

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckSaysWhatAndWhere(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		p      Pattern
		field  string
		value  string
		offset int
		reason string // a part of it
	}{
		{Pattern{Host: "*"}, "host", "*", 0, "leave the host out"},
		{Pattern{Host: "a:80"}, "host", "a:80", 1, "no port"},
		{Pattern{Host: "api.example.com:80"}, "host", "api.example.com:80", 15, "no port"},
		{Pattern{Host: "http://a"}, "host", "http://a", 4, "no scheme"},
		{Pattern{Host: "a/b"}, "host", "a/b", 1, "no path"},
		{Pattern{Host: "a."}, "host", "a.", 2, "empty label"},
		{Pattern{Host: ".a"}, "host", ".a", 0, "empty label"},
		{Pattern{Host: "a..b"}, "host", "a..b", 2, "empty label"},
		{Pattern{Host: "*."}, "host", "*.", 2, "empty label"},
		{Pattern{Host: "a.*.b"}, "host", "a.*.b", 2, "whole first label"},
		{Pattern{Host: "*.*.b"}, "host", "*.*.b", 2, "whole first label"},
		{Pattern{Host: "a*.b"}, "host", "a*.b", 1, "whole first label"},
		{Pattern{Host: "*a.b"}, "host", "*a.b", 0, "whole first label"},
		{Pattern{Host: "bücher.de"}, "host", "bücher.de", 1, "xn--"},
		{Pattern{Host: "\u212a.de"}, "host", "\u212a.de", 0, "xn--"}, // the Kelvin sign is no k
		{Pattern{Host: "a b"}, "host", "a b", 1, "does not belong"},
		{Pattern{Host: "a." + long}, "host", "a." + long, 2, "63"},
		{Pattern{Host: strings.Repeat("abc.", 63) + "de"}, "host", strings.Repeat("abc.", 63) + "de", 0, "253"},
		{Pattern{Host: "[::1"}, "host", "[::1", 0, "IPv6"},
		{Pattern{Host: "[::1]:80"}, "host", "[::1]:80", 0, "IPv6"},
		{Pattern{Host: "[127.0.0.1]"}, "host", "[127.0.0.1]", 0, "IPv6"},
		{Pattern{Host: "[fe80::1%eth0]"}, "host", "[fe80::1%eth0]", 0, "IPv6"},
		{Pattern{Host: "[0:0::1]"}, "host", "[0:0::1]", 1, "[::1]"},
		{Pattern{Path: "users"}, "path", "users", 0, "starts with /"},
		{Pattern{Path: "**"}, "path", "**", 0, "starts with /"},
		{Pattern{Path: "/a//b"}, "path", "/a//b", 3, "empty segment"},
		{Pattern{Path: "//"}, "path", "//", 1, "empty segment"},
		{Pattern{Path: "/a//**"}, "path", "/a//**", 3, "empty segment"},
		{Pattern{Path: "//**"}, "path", "//**", 1, "empty segment"},
		{Pattern{Path: "/a/*"}, "path", "/a/*", 3, "no *"},
		{Pattern{Path: "/a/**/b"}, "path", "/a/**/b", 3, "no *"},
		{Pattern{Path: "/a/**/"}, "path", "/a/**/", 3, "no *"},
		{Pattern{Path: "/a/b*"}, "path", "/a/b*", 4, "no *"},
		{Pattern{Path: "/a**"}, "path", "/a**", 2, "no *"},
		{Pattern{Path: "/v{n}"}, "path", "/v{n}", 2, "whole segment"},
		{Pattern{Path: "/{n}x"}, "path", "/{n}x", 1, "whole segment"},
		{Pattern{Path: "/{n"}, "path", "/{n", 1, "whole segment"},
		{Pattern{Path: "/n}"}, "path", "/n}", 2, "whole segment"},
		{Pattern{Path: "/{}"}, "path", "/{}", 1, "letters"},
		{Pattern{Path: "/{1a}"}, "path", "/{1a}", 1, "letters"},
		{Pattern{Path: "/{id:[0-9]+}"}, "path", "/{id:[0-9]+}", 1, "letters"},
		{Pattern{Path: "/{id...}"}, "path", "/{id...}", 1, "letters"},
		{Pattern{Path: "/{a}/{b}/{a}"}, "path", "/{a}/{b}/{a}", 9, "twice"},
		{Pattern{Path: "/a/../b"}, "path", "/a/../b", 3, "dot segment"},
		{Pattern{Path: "/%2e/b"}, "path", "/%2e/b", 1, "dot segment"},
		{Pattern{Path: "/a%2"}, "path", "/a%2", 2, "percent-encoding"},
		{Pattern{Path: "/a/b%00"}, "path", "/a/b%00", 6, "null byte"},
		{Pattern{Path: `/a\b`}, "path", `/a\b`, 2, "backslash"},
		{Pattern{Path: "/a b"}, "path", "/a b", 2, "space"},
		{Pattern{Path: "/a?b=c"}, "path", "/a?b=c", 2, "?"},
		{Pattern{Path: "/a%2f../b"}, "path", "/a%2f../b", 6, "encoded slash"},
		{Pattern{Methods: []string{"GET", ""}}, "methods", "", 0, "empty"},
		{Pattern{Methods: []string{"GE T"}}, "methods", "GE T", 2, "not a method"},
		{Pattern{Methods: []string{"GET,PUT"}}, "methods", "GET,PUT", 3, "not a method"},
		{Pattern{Methods: []string{"PUT", "get"}}, "methods", "get", 0, "write GET"},
		{Pattern{Methods: []string{"PUT", "GET", "PUT"}}, "methods", "PUT", 0, "twice"},
	} {
		err := c.p.Check()
		var bad *SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%+v: %v, want a SyntaxError", c.p, err)
			continue
		}
		if bad.Field != c.field || bad.Value != c.value || bad.Offset != c.offset || !strings.Contains(bad.Reason, c.reason) {
			t.Errorf("%+v: %v, want %s %q at %d: ...%s...", c.p, err, c.field, c.value, c.offset, c.reason)
		}
		if _, err := Build([]Pattern{{}, c.p}); err == nil || err.Error() != "route 1: "+bad.Error() || !errors.As(err, &bad) {
			t.Errorf("%+v: Build says %v", c.p, err)
		}
	}
}

func TestCheckPasses(t *testing.T) {
	for _, p := range []Pattern{
		{},
		{Host: "localhost"}, {Host: "127.0.0.1"}, {Host: "[::1]"}, {Host: "[2001:DB8::1]"}, {Host: "*.com"}, {Host: "Xn--BCher-kva.De"},
		{Host: "_a.b-c.d"}, {Host: strings.Repeat("abc.", 63) + "d"}, {Host: strings.Repeat("a", 63) + ".b"},
		{Path: "/"}, {Path: "/**"}, {Path: "/a/"}, {Path: "/{a}/{b_1}/**"}, {Path: "/{id}/"}, {Path: "/größe/%7e"}, {Path: "/a%2Fb"}, {Path: "/.../..a"},
		{Methods: []string{"GET", "PURGE", "M-SEARCH", "query"}},
	} {
		if err := p.Check(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("*.example.com", "/users/{id}/**", "GET")
	f.Add("[::1]", "/%2e%2e/\\", "get")
	f.Add("bücher.de:80", "//{a}{b}", "")
	f.Add("a\x92.de", "/\xff{", "\x80")
	f.Fuzz(func(t *testing.T, host, path, method string) {
		p := Pattern{Host: host, Path: path, Methods: []string{method}}
		err := p.Check()
		var bad *SyntaxError
		if errors.As(err, &bad) {
			if bad.Offset < 0 || bad.Offset > len(bad.Value) || bad.Reason == "" {
				t.Fatalf("%+v: %#v", p, bad)
			}
			return
		}
		// What passes must be reachable: the pattern itself, with its places filled in, is a request.
		tree, err := Build([]Pattern{p})
		if err != nil {
			t.Fatal(err)
		}
		asked := strings.NewReplacer("{", "", "}", "").Replace(strings.TrimSuffix(path, "/**"))
		norm, err := Normalize(nil, []byte(asked))
		if err != nil {
			t.Fatalf("%+v passes, but %q has no normal form: %v", p, asked, err)
		}
		authority := strings.Replace(strings.ToUpper(host), "*", "www", 1) + ":8080"
		if i, _ := tree.Match([]byte(authority), norm, []byte(method)); i != 0 {
			t.Fatalf("%+v does not match %q%q", p, authority, norm)
		}
	})
}
