package route

import (
	"bytes"
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	for _, c := range []struct {
		raw, want string
		err       error
	}{
		{"/", "/", nil},
		{"", "/", nil},
		{"*", "*", nil},
		{"/users/7", "/users/7", nil},
		{"/users/7/", "/users/7/", nil},
		{"//", "/", nil},
		{"//evil.example/x", "/evil.example/x", nil},
		{"/a///b//", "/a/b/", nil},
		{"/.", "/", nil},
		{"/./", "/", nil},
		{"/a/.", "/a/", nil},
		{"/a/..", "/", nil},
		{"/a/b/..", "/a/", nil},
		{"/a/b/../", "/a/", nil},
		{"/a/b/c/./../../g", "/a/g", nil}, // RFC 3986 §5.2.4
		{"/mid/content=5/../6", "/mid/6", nil},
		{"/a//../b", "/b", nil},
		{"/a/.../..b/.c/d./e", "/a/.../..b/.c/d./e", nil},
		{"/.well-known/x", "/.well-known/x", nil},
		{"/%2e%2E/a", "", AboveRoot},
		{"/a/%2e%2e/b", "/b", nil},
		{"/a/.%2e/b", "/b", nil},
		{"/a/%2e/b", "/a/b", nil},
		{"/%7euser/%41%5a%30%2D%5f", "/~user/AZ0-_", nil},
		{"/%c3%a9/%C3%A9", "/%C3%A9/%C3%A9", nil},
		{"/\xc3\xa9", "/%C3%A9", nil},
		{"/{a}|<b>", "/%7Ba%7D%7C%3Cb%3E", nil},
		{"/$&'()*+,;=:@!", "/$&'()*+,;=:@!", nil},
		{"/%24%26", "/%24%26", nil}, // reserved characters stay as they are
		{"/a%2fb", "/a%2Fb", nil},
		{"/a%2Fb/../c", "/c", nil},
		{"/%252e%252e/a", "/%252e%252e/a", nil}, // encoded once only
		{"/%25", "/%25", nil},
		{"/..;x/a", "/..;x/a", nil},
		{"/a%20b%0d%0a", "/a%20b%0D%0A", nil},

		{"users", "", NotAbsolute},
		{"**", "", NotAbsolute},
		{"http://x/", "", NotAbsolute},
		{"/..", "", AboveRoot},
		{"/../a", "", AboveRoot},
		{"/a/../../b", "", AboveRoot},
		{"/./..", "", AboveRoot},
		{"//..", "", AboveRoot},
		{"/a%", "", BadEncoding},
		{"/a%4", "", BadEncoding},
		{"/%4/a", "", BadEncoding},
		{"/%g0", "", BadEncoding},
		{"/%0g", "", BadEncoding},
		{"/%u0041", "", BadEncoding},
		{"/%-1", "", BadEncoding},
		{"/a%00", "", NullByte},
		{"/a\x00", "", BadByte},
		{"/a\\b", "/a%5Cb", Backslash},
		{"/a%5cb/../c%5C", "/c%5C", Backslash},
		{"/%5cb/../c", "/c", Backslash},
		{"/a%5Cb", "/a%5Cb", Backslash},
		{"/a\\..\\b", "", EncodedClimb},
		{"/a%5c..", "", EncodedClimb},
		{"/..%5Cadmin", "", EncodedClimb},
		{"/a%2F..\\x", "", EncodedClimb},
		{"/a%5C...%5C..b", "/a%5C...%5C..b", Backslash},
		{"/a%5C/..", "/", Backslash},
		{"/a\\%00", "", NullByte},
		{"/a\\/../..", "", AboveRoot},
		{"/a b", "", BadByte},
		{"/a\tb", "", BadByte},
		{"/a\x7f", "", BadByte},
		{"/a#b", "", BadByte},
		{"/a?b", "", BadByte},
		{"/..%2fa", "", EncodedClimb},
		{"/public/..%2Fadmin", "", EncodedClimb},
		{"/a%2F%2e%2e", "", EncodedClimb},
		{"/a%2F..%2Fb", "", EncodedClimb},
		{"/a%2F...%2F..b", "/a%2F...%2F..b", nil},
	} {
		got, err := Normalize(nil, []byte(c.raw))
		if string(got) != c.want || err != c.err {
			t.Errorf("Normalize(%q) = %q, %v; want %q, %v", c.raw, got, err, c.want, c.err)
		}
	}
}

func TestNormalizeDoesNotCopyInVain(t *testing.T) {
	dst := make([]byte, 3, 64)
	for _, raw := range []string{"/", "*", "/a/b/c", "/a%2Fb/.well-known/..x/", "/%C3%A9"} {
		in := []byte(raw)
		got, err := Normalize(dst, in)
		if err != nil || string(got) != raw || &got[0] != &in[0] {
			t.Errorf("%q: %q, %v: not the raw path itself", raw, got, err)
		}
	}
	in := []byte("/a/../b")
	got, err := Normalize(dst, in)
	if err != nil || string(got) != "/b" || &got[0] != &dst[0] || string(in) != "/a/../b" {
		t.Errorf("%q, %v: not written to dst, or raw was changed", got, err)
	}
}

func TestNormalizeAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 256)
	for _, raw := range []string{"/a/b/c", "/a//./%7e/../b", "/a/\xc3\xa9", "/..", "/%00", "/x%2F..", "", "*"} {
		if n := testing.AllocsPerRun(100, func() { Normalize(dst, []byte(raw)) }); n != 0 {
			t.Errorf("%q: %v allocations", raw, n)
		}
	}
}

func TestBadPathsSayWhy(t *testing.T) {
	seen := make(map[string]bool)
	for b := BadPath(0); b <= EncodedClimb+1; b++ {
		s := b.Error()
		if unknown := b == 0 || b > EncodedClimb; !strings.HasPrefix(s, "path ") || unknown != (s == "path is invalid") || seen[s] && !unknown {
			t.Errorf("BadPath(%d): %q", b, s)
		}
		seen[s] = true
	}
}

// oracleNormalize takes the long way: cut into segments, decode with net/url, put together
// again. It shares nothing with Normalize but the words of the package comment.
func oracleNormalize(raw string) (norm string, ok bool) {
	if raw == "" || raw == "*" {
		return path.Join("/", raw)[len(raw):], true
	}
	if raw[0] != '/' || strings.ContainsAny(raw, " #?\x7f") || strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' }) {
		return "", false
	}
	var out []string
	segments := strings.Split(raw, "/")[1:]
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil || strings.ContainsAny(decoded, "\x00") {
			return "", false
		}
		parts := strings.Split(strings.ReplaceAll(decoded, "\\", "/"), "/")
		for _, p := range parts {
			if p == ".." && len(parts) > 1 {
				return "", false
			}
		}
		last := i == len(segments)-1
		switch decoded {
		case "", ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:len(out)-1]
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, oracleEncode(s))
		}
	}
	return "/" + strings.Join(out, "/"), true
}

// oracleEncode writes a valid segment in normal form.
func oracleEncode(s string) string {
	const unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			decoded, _ := url.PathUnescape(s[i : i+3])
			if strings.Contains(unreserved, decoded) {
				b.WriteString(decoded)
			} else {
				b.WriteString(strings.ToUpper(s[i : i+3]))
			}
			i += 2
		case strings.IndexByte(unreserved+"!$&'()*+,;=:@", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func FuzzNormalize(f *testing.F) {
	for _, raw := range []string{
		"/", "", "*", "/a/../b", "//a//./b/", "/%7e%2e%2F", "/..", "/%00", "/a%5c", "/\\", "/%", "/%c3%A9\xc3\xa9",
		"/.well-known/..x", "/a%2f..", "/a/b/c/../../../..", "/{x}|\"", "/%252e/", "/..;/", "/ ", "/a?b#c", "x",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		norm, err := Normalize(make([]byte, 5, 16), raw)
		if string(raw) != before {
			t.Fatalf("%q was changed to %q", before, raw)
		}
		want, ok := oracleNormalize(before)
		if slashed := strings.Contains(strings.ReplaceAll(strings.ToUpper(before), "%5C", "\\"), "\\"); ok && slashed != (err == Backslash) {
			t.Fatalf("Normalize(%q): %v", raw, err)
		}
		if ok != (err == nil || err == Backslash) || string(norm) != want {
			t.Fatalf("Normalize(%q) = %q, %v; oracle %q, %v", raw, norm, err, want, ok)
		}
		if !ok {
			return
		}
		again, err := Normalize(nil, norm)
		if err != nil && err != Backslash || !bytes.Equal(again, norm) {
			t.Fatalf("%q is %q is %q, %v: not idempotent", raw, norm, again, err)
		}
		if len(norm) > max(1, 3*len(raw)) {
			t.Fatalf("%q grew to %q", raw, norm)
		}
		if string(norm) == "*" {
			return
		}
		slashed := string(norm) + "/"
		if norm[0] != '/' || strings.Contains(slashed, "/../") || strings.Contains(slashed, "/./") || strings.Contains(string(norm), "//") {
			t.Fatalf("%q is %q: not normal", raw, norm)
		}
		if i := strings.IndexFunc(string(norm), func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\\?#\"<>^`{|}[]", r) }); i >= 0 {
			t.Fatalf("%q is %q: byte %d does not belong in a path", raw, norm, i)
		}
		whole, err := url.PathUnescape(before)
		if err != nil {
			t.Fatalf("%q passed, but net/url says %v", raw, err)
		}
		if strings.Contains(strings.ToUpper(before), "%2F") || before == "" {
			return // net/url makes no difference between / and %2F
		}
		meant, _ := url.PathUnescape(string(norm))
		if path.Clean(whole) != path.Clean(meant) {
			t.Fatalf("%q means %q, but became %q", raw, whole, meant)
		}
	})
}

// Where the RFC's own algorithm and ours may be compared (nothing climbs, nothing is
// empty), net/url's resolver agrees.
func TestNormalizeIsRFC3986(t *testing.T) {
	base := &url.URL{Scheme: "http", Host: "h", Path: "/"}
	words := []string{"a", "..", ".", "b.c", "...", "%41"}
	var try func(depth int, raw string)
	try = func(depth int, raw string) {
		if raw != "" {
			norm, err := Normalize(nil, []byte(raw))
			ref, _ := url.Parse("http://h" + raw)
			if want := base.ResolveReference(ref).Path; err == nil && want != string(norm) {
				t.Errorf("%q: %q, net/url resolves to %q", raw, norm, want)
			}
		}
		if depth == 0 {
			return
		}
		for _, w := range words {
			try(depth-1, raw+"/"+w)
		}
		if raw != "" && depth == 1 {
			try(0, raw+"/")
		}
	}
	try(5, "")
}

func TestHostOnly(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""}, {"a", "a"}, {"a:80", "a"}, {"a:", "a"}, {":80", ""}, {"Api.Example.com.:8080", "Api.Example.com"},
		{"a.", "a"}, {"a..", "a."}, {".", ""}, {"[::1]", "[::1]"}, {"[::1]:80", "[::1]"}, {"[::1", ""}, {"[", ""},
		{"127.0.0.1:9", "127.0.0.1"}, {"::1", ""}, {"a:b:c", "a"},
	} {
		got := HostOnly([]byte(c[0]))
		if string(got) != c[1] {
			t.Errorf("HostOnly(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func BenchmarkNormalize(b *testing.B) {
	for _, c := range []struct{ name, raw string }{
		{"normal", "/api/v1/users/12345/orders/67890"},
		{"encoded", "/files/M%C3%BCnchen/2026%2F05/report.pdf"},
		{"dots", "/api/v1//users/./x/../%7e12345/orders"},
		{"long", strings.Repeat("/segment/..", 2900)},
	} {
		b.Run(c.name, func(b *testing.B) {
			raw, dst := []byte(c.raw), make([]byte, 0, 32<<10)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Normalize(dst, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
