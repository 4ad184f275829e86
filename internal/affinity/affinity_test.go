package affinity

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/message"
)

func mustParse(t testing.TB, expr string) *Key {
	t.Helper()
	k, err := Parse(expr)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// request has the fields given as "name: value" lines; a dropped one begins with "-".
func request(query string, lines ...string) *message.Request {
	q := &message.Request{Query: []byte(query)}
	for _, l := range lines {
		l, dropped := strings.CutPrefix(l, "-")
		name, value, _ := strings.Cut(l, ": ")
		f := message.NewField([]byte(name), []byte(value))
		f.Drop = dropped
		q.Fields = append(q.Fields, f)
	}
	return q
}

func TestOf(t *testing.T) {
	q := request("a=1&user_id=&user_id=7%2F8&b&=x&user_idx=9&c=x=y",
		"x-user-id: ", "X-USER-ID: alice", "X-User-Id: bob", "Cookie: a=b; sid=", `Cookie: SID=no; xsid=no;sid="quoted";sid=late;flag`,
		"-X-Dropped: gone", "-Cookie: dropped=1", "Authorization: Bearer t")
	path, ip := "/users/7/orders/", "\x7f\x00\x00\x01"
	for _, c := range []struct{ expr, want string }{
		{"header(X-User-Id)", "alice"},
		{"header(x-USER-id)", "alice"},
		{"header(authorization)", "Bearer t"},
		{"header(X-Dropped)", ""},
		{"header(X-User)", ""},
		{"cookie(a)", "b"},
		{"cookie(sid)", "quoted"},
		{"cookie(SID)", "no"},
		{"cookie(Sid)", ""},
		{"cookie(flag)", ""},
		{"cookie(dropped)", ""},
		{"query(a)", "1"},
		{"query(user_id)", "7%2F8"},
		{"query(user_idx)", "9"},
		{"query(b)", ""},
		{"query(c)", "x=y"},
		{"path", path},
		{"path_segment(1)", "users"},
		{"path_segment(2)", "7"},
		{"path_segment(3)", "orders"},
		{"path_segment(4)", ""},
		{"path_segment(64)", ""},
		{"client_ip", ip},
		{"header(X-Missing) | cookie(sid) | client_ip", "quoted"},
		{"query(b)|path_segment(9)|header(X-Dropped)|client_ip", ip},
		{"path | client_ip", path},
		{"query(zz) | cookie(zz)", ""},
	} {
		got, ok := mustParse(t, c.expr).Of(q, []byte(path), []byte(ip))
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.expr, got, ok, c.want)
		}
	}
	all := "header(A) | cookie(b) | query(c) | path | path_segment(1) | client_ip"
	if got, ok := mustParse(t, all).Of(new(message.Request), nil, nil); got != nil || ok {
		t.Errorf("an empty request has key %q, %v", got, ok)
	}
	if got, ok := mustParse(t, "path_segment(1) | path").Of(q, []byte("*"), nil); string(got) != "*" || !ok {
		t.Errorf("OPTIONS *: %q, %v", got, ok)
	}
	for _, k := range []*Key{nil, new(Key)} {
		if got, ok := k.Of(q, []byte(path), []byte(ip)); got != nil || ok {
			t.Errorf("no key at all finds %q", got)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		expr    string
		offset  int
		reason  string // a part of it
		nearest string
	}{
		{"", 0, "a term is missing: one of header, cookie, query, path, path_segment, client_ip", ""},
		{"path |", 6, "a term is missing", ""},
		{"path || client_ip", 6, "a term is missing", ""},
		{"| path", 0, "a term is missing", ""},
		{"(x)", 0, "a term is missing", ""},
		{"headr(X-User-Id)", 0, `no such source "headr"`, "header"},
		{"path | cokie(sid)", 7, `no such source "cokie"`, "cookie"},
		{"Header(X)", 0, `no such source "Header"`, "header"},
		{"client-ip", 0, `no such source "client-ip"`, "client_ip"},
		{"  pathsegment(2)", 2, `no such source "pathsegment"`, "path_segment"},
		{"banana", 0, `no such source "banana"`, ""},
		{"path(2)", 4, "path takes no argument", ""},
		{"client_ip()", 9, "client_ip takes no argument", ""},
		{"header", 6, "header needs an argument, as in header(X-User-Id)", ""},
		{"path | query ", 12, "query needs an argument, as in query(user_id)", ""},
		{"path_segment", 12, "path_segment needs an argument, as in path_segment(2)", ""},
		{"header(X-User-Id", 16, "closing parenthesis", ""},
		{"header(X-User-Id | path", 16, "closing parenthesis", ""},
		{"header(X) path", 9, `"path" after the term`, ""},
		{"header(X))", 9, `")" after the term`, ""},
		{"header()", 7, `"" is not a header name`, ""},
		{"header( X Y )", 8, `"X Y" is not a header name`, ""},
		{"cookie(a;b)", 7, `"a;b" is not a cookie name`, ""},
		{"query()", 6, `"" is not the name`, ""},
		{"query(a&b)", 6, `"a&b" is not the name`, ""},
		{"query(ä)", 6, `"ä" is not the name`, ""},
		{"path_segment(0)", 13, "number from 1 to 64", ""},
		{"path_segment(-1)", 13, "number from 1 to 64", ""},
		{"path_segment(65)", 13, "number from 1 to 64", ""},
		{"path_segment(x)", 13, "number from 1 to 64", ""},
		{"path_segment(99999999999999999999)", 13, "number from 1 to 64", ""},
		{"path | header(A) | path", 19, "twice", ""},
		{"header(Cookie) |  header(cookie)", 18, "twice", ""},
	} {
		k, err := Parse(c.expr)
		var bad *SyntaxError
		if k != nil || !errors.As(err, &bad) {
			t.Errorf("%q: %v, want a SyntaxError", c.expr, err)
			continue
		}
		if bad.Offset != c.offset || !strings.Contains(bad.Reason, c.reason) || bad.Nearest != c.nearest || bad.Expr != c.expr {
			t.Errorf("%q: %#v\nwant %q at %d, nearest %q", c.expr, bad, c.reason, c.offset, c.nearest)
		}
	}
	_, err := Parse("path | headr(X)")
	if want := `key "path | headr(X)": at byte 7: no such source "headr", did you mean header?`; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestString(t *testing.T) {
	const expr = "header(X-User-Id) | cookie(sid) | query(user_id) | path | path_segment(2) | client_ip"
	for _, s := range []string{expr, "header( X-User-Id )|cookie (sid)|\tquery(user_id)|path|  path_segment( 2)|client_ip "} {
		if got := mustParse(t, s).String(); got != expr {
			t.Errorf("%q: %s", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("header(X-User-Id) | cookie(sid) | query(user_id) | path | path_segment(2) | client_ip")
	f.Add(" path_segment( 0x1 ) || haeder (")
	f.Add("path(\x92)|ä")
	f.Fuzz(func(t *testing.T, expr string) {
		k, err := Parse(expr)
		if err != nil {
			var bad *SyntaxError
			if !errors.As(err, &bad) || bad.Offset < 0 || bad.Offset > len(expr) || bad.Reason == "" {
				t.Fatalf("%q: %#v", expr, err)
			}
			return
		}
		again, err := Parse(k.String())
		if err != nil || again.String() != k.String() {
			t.Fatalf("%q reads as %q, which reads as %v, %v", expr, k, again, err)
		}
	})
}

// Where net/http and we may be compared, we find the same cookie and the same parameter.
func TestOfIsTheOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	some := func(separator string, n int) string {
		parts := make([]string, random.IntN(n))
		for i := range parts {
			parts[i] = []string{"a=", "b=", "a=1", "a=2", "b=3", "aa=4", "A=5", "c"}[random.IntN(8)]
		}
		return strings.Join(parts, separator)
	}
	cookie, query := mustParse(t, "cookie(a)"), mustParse(t, "query(a)")
	found := 0
	for range 5000 {
		cookies := []string{some("; ", 5), some("; ", 5)}
		raw := some("&", 6)
		q := request(raw, "Cookie: "+cookies[0], "X: y", "cookie: "+cookies[1])

		want := ""
		for _, c := range (&http.Request{Header: http.Header{"Cookie": cookies}}).CookiesNamed("a") {
			if want == "" {
				want = c.Value
			}
		}
		if got, ok := cookie.Of(q, nil, nil); string(got) != want || ok != (want != "") {
			t.Fatalf("%q: cookie %q, %v, want %q", cookies, got, ok, want)
		}
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatal(err)
		}
		want = ""
		for _, v := range values["a"] {
			if want == "" {
				want = v
			}
		}
		if got, ok := query.Of(q, nil, nil); string(got) != want || ok != (want != "") {
			t.Fatalf("%q: parameter %q, %v, want %q", raw, got, ok, want)
		}
		if want != "" {
			found++
		}
	}
	if found < 1000 {
		t.Fatalf("only %d of 5000 had a key", found)
	}
}

func FuzzOf(f *testing.F) {
	f.Add("a=b; sid=\"1\"", "sid=2&x", "/a/b/")
	f.Add(";;=;sid;sid==", "&&=&sid==&", "//")
	f.Add("sid=\"", "sid", "*")
	k := mustParse(f, "cookie(sid) | query(sid) | path_segment(3)")
	f.Fuzz(func(t *testing.T, cookie, query, path string) {
		value, ok := k.Of(request(query, "Cookie: "+cookie), []byte(path), nil)
		if ok != (len(value) > 0) {
			t.Fatalf("%q, %v", value, ok)
		}
		if ok && !strings.Contains(cookie+"\x00"+query+"\x00"+path, string(value)) {
			t.Fatalf("%q is no part of the request", value)
		}
	})
}

func benchRequest() *message.Request {
	return request("page=2&user_id=42&sort=up", "Host: api.example.com", "User-Agent: curl/8", "Accept: */*", "Accept-Encoding: gzip",
		"Cookie: theme=dark; lang=en; sid=0123456789abcdef", "X-Forwarded-For: 10.0.0.1", "X-User-Id: alice")
}

var benchExprs = []string{
	"header(X-User-Id)", "cookie(sid)", "query(user_id)", "path", "path_segment(2)", "client_ip",
	"header(X-Missing) | cookie(missing) | query(missing) | path_segment(9) | client_ip",
}

func TestAllocatesNothing(t *testing.T) {
	q, path, ip := benchRequest(), []byte("/users/42/orders"), []byte("10.0.0.1")
	for _, expr := range benchExprs {
		k := mustParse(t, expr)
		if n := testing.AllocsPerRun(100, func() {
			if _, ok := k.Of(q, path, ip); !ok {
				t.Error("no key")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", expr, n)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	q, path, ip := benchRequest(), []byte("/users/42/orders"), []byte("10.0.0.1")
	for _, expr := range benchExprs {
		b.Run(strings.ReplaceAll(expr, " ", ""), func(b *testing.B) {
			k := mustParse(b, expr)
			b.ReportAllocs()
			for b.Loop() {
				k.Of(q, path, ip)
			}
		})
	}
}
