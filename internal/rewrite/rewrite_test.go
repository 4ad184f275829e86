package rewrite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/route"
)

func mustCompile(t testing.TB, w config.Rewrite, h config.Headers) *Rules {
	t.Helper()
	r, err := Compile(w, h)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fields reads "name: value" lines; a dropped one begins with "-".
func fields(lines ...string) (out []message.Field) {
	for _, l := range lines {
		l, dropped := strings.CutPrefix(l, "-")
		name, value, _ := strings.Cut(l, ": ")
		f := message.NewField([]byte(name), []byte(value))
		f.Drop = dropped
		out = append(out, f)
	}
	return out
}

// lines is the opposite of fields, and checks every Kind.
func lines(t testing.TB, fields []message.Field) (out []string) {
	for _, f := range fields {
		if f.Kind != message.KindOf(f.Name) {
			t.Errorf("%s has kind %v", f.Name, f.Kind)
		}
		mark := ""
		if f.Drop {
			mark = "-"
		}
		out = append(out, fmt.Sprintf("%s%s: %s", mark, f.Name, f.Value))
	}
	return out
}

func TestPath(t *testing.T) {
	replace := func(prefix, with string) config.Rewrite {
		return config.Rewrite{Replace: &config.Replace{Prefix: prefix, With: with}}
	}
	for _, c := range []struct {
		w         config.Rewrite
		raw, want string
	}{
		{config.Rewrite{}, "/a//b/../%7e", "/a//b/../%7e"},
		{config.Rewrite{StripPrefix: "/api/v1"}, "/api/v1/users", "/users"},
		{config.Rewrite{StripPrefix: "/api/v1"}, "/api/v1", "/"},
		{config.Rewrite{StripPrefix: "/api/v1"}, "/api/v1/", "/"},
		{config.Rewrite{StripPrefix: "/api/v1/"}, "/api/v1", "/"},
		{config.Rewrite{StripPrefix: "/api/v1/"}, "/api/v1/x/", "/x/"},
		{config.Rewrite{StripPrefix: "/api/v1"}, "/api/v10", "/api/v10"},
		{config.Rewrite{StripPrefix: "/api/v1"}, "/api//%761/../v1/x", "/x"},
		{config.Rewrite{StripPrefix: "/api/v1"}, "/other//x", "/other//x"}, // does not apply: raw
		{config.Rewrite{StripPrefix: "/api"}, "/api/a//b", "/a//b"},        // behind the prefix: raw
		{config.Rewrite{StripPrefix: "/api"}, "/api//a", "//a"},
		{config.Rewrite{StripPrefix: "/api"}, "/api/%7Ex", "/%7Ex"},
		{config.Rewrite{StripPrefix: "/api"}, "/api/a%2fb", "/a%2fb"},
		{config.Rewrite{StripPrefix: "/api"}, "/api/\xc3\xa9{}", "/\xc3\xa9{}"},
		{config.Rewrite{StripPrefix: "/api"}, "/%61pi/./a/../b", "/./a/../b"},
		{config.Rewrite{StripPrefix: "/api"}, "/api/x/../../api/y", "/y"}, // never out of what is left
		{config.Rewrite{StripPrefix: "/api"}, "/api/..//x/%2E./api/.", "/."},
		{config.Rewrite{StripPrefix: "/api"}, "/api/b/..", "/b/.."},
		{config.Rewrite{StripPrefix: "/{any}/b"}, "/a//b//c/", "//c/"},
		{replace("/api", "/new"), "/api//%7Ex/", "/new//%7Ex/"},
		{replace("/", "/new"), "//x%2f", "/new//x%2f"},
		{config.Rewrite{AddPrefix: "/base"}, "/a/../b", "/base/a/../b"},
		{config.Rewrite{AddPrefix: "/base"}, "", "/base/"},
		{config.Rewrite{StripPrefix: "/"}, "/a", "/a"},
		{config.Rewrite{StripPrefix: "/%7ea"}, "/~a/b", "/b"},
		{config.Rewrite{StripPrefix: "/é"}, "/%c3%a9/b", "/b"},
		{config.Rewrite{StripPrefix: "/a"}, "/a/b%2Fc/%2e%2e/d", "/b%2Fc/%2e%2e/d"},
		{replace("/api/v1/users", "/users"), "/api/v1/users/7", "/users/7"},
		{replace("/api/v1/users", "/users/"), "/api/v1/users", "/users"},
		{replace("/api/v1/users", "/users"), "/api/v1/usersx", "/api/v1/usersx"},
		{replace("/api", ""), "/api/x", "/x"},
		{replace("/api", "/"), "/api", "/"},
		{replace("/", "/new"), "/x", "/new/x"},
		{replace("/", "/new"), "/", "/new/"},
		{config.Rewrite{AddPrefix: "/base"}, "/x//y", "/base/x//y"},
		{config.Rewrite{AddPrefix: "/base"}, "/", "/base/"},
		{config.Rewrite{AddPrefix: "/base/"}, "/x", "/base/x"},
		{config.Rewrite{AddPrefix: "/"}, "/x//y", "/x//y"},
		{config.Rewrite{StripPrefix: "/a", AddPrefix: "/b"}, "/a/x", "/b/x"},
		{config.Rewrite{StripPrefix: "/a", AddPrefix: "/b"}, "/a", "/b"},
		{config.Rewrite{StripPrefix: "/a", AddPrefix: "/b"}, "/x", "/b/x"},
		{config.Rewrite{StripPrefix: "/a", Replace: &config.Replace{Prefix: "/b", With: "/c"}, AddPrefix: "/d"}, "/a/b/x", "/d/c/x"},
		{config.Rewrite{StripPrefix: "/a", Replace: &config.Replace{Prefix: "/a", With: "/c"}}, "/a/a/x", "/c/x"},
		{config.Rewrite{StripPrefix: "/a", Replace: &config.Replace{Prefix: "/", With: "/c"}}, "/a", "/c"},
		{config.Rewrite{AddPrefix: "/base", StripPrefix: "/a"}, "*", "*"},
	} {
		q := &message.Request{Path: []byte(c.raw), Query: []byte("a=/b"), Host: []byte("h")}
		norm, err := route.Normalize(nil, q.Path)
		if err != nil {
			t.Fatal(err)
		}
		mustCompile(t, c.w, config.Headers{}).Request(q, norm, nil)
		if string(q.Path) != c.want || string(q.Query) != "a=/b" || string(q.Host) != "h" {
			t.Errorf("%+v: %s becomes %s?%s at %s, want %s", c.w, c.raw, q.Path, q.Query, q.Host, c.want)
		}
	}
}

func TestForwardedPrefix(t *testing.T) {
	r := mustCompile(t, config.Rewrite{StripPrefix: "/api/v1/"}, config.Headers{})
	q := &message.Request{Path: []byte("/api/v1/x"), Fields: fields("A: b", "x-forwarded-prefix: /forged", "X-Forwarded-Prefix: /twice")}
	r.Request(q, q.Path, nil)
	want := []string{"A: b", "-x-forwarded-prefix: /forged", "-X-Forwarded-Prefix: /twice", "X-Forwarded-Prefix: /api/v1"}
	if got := lines(t, q.Fields); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	q = &message.Request{Path: []byte("/api/v2"), Fields: fields("A: b")}
	r.Request(q, q.Path, nil)
	if got := lines(t, q.Fields); !slices.Equal(got, []string{"A: b"}) {
		t.Errorf("nothing was stripped, but fields are %q", got)
	}
	r = mustCompile(t, config.Rewrite{StripPrefix: "/a"}, config.Headers{Request: config.HeaderEdit{Set: map[string]string{"x-forwarded-prefix": "/mine"}}})
	q = &message.Request{Path: []byte("/a/x")}
	r.Request(q, q.Path, nil)
	if got := lines(t, q.Fields); !slices.Equal(got, []string{"-X-Forwarded-Prefix: /a", "x-forwarded-prefix: /mine"}) {
		t.Errorf("set has no last word: %q", got)
	}
}

func TestFields(t *testing.T) {
	edit := config.HeaderEdit{
		Remove: []string{"X-Gone", "cookie"},
		Set:    map[string]string{"X-Set": "new", "Server": "poise", "X-Empty": "", "X-Gone": "back"},
		Add:    map[string]string{"X-Set": "beside", "Via": "1.1 x", "A": "b"},
	}
	before := []string{"x-set: 1", "X-SET: 2", "Cookie: a=b", "x-gone: 1", "Via: 1.0 y", "X-Setter: z", "-X-Set: 3", "server: y"}
	want := []string{
		"-x-set: 1", "-X-SET: 2", "-Cookie: a=b", "-x-gone: 1", "Via: 1.0 y", "X-Setter: z", "-X-Set: 3", "-server: y",
		"Server: poise", "X-Empty: ", "X-Gone: back", "X-Set: new", "A: b", "Via: 1.1 x", "X-Set: beside",
	}
	r := mustCompile(t, config.Rewrite{}, config.Headers{Request: edit})
	q := &message.Request{Path: []byte("/"), Fields: fields(before...)}
	p := &message.Response{Fields: fields(before...)}
	r.Request(q, q.Path, nil)
	r.Response(p)
	if got := lines(t, q.Fields); !slices.Equal(got, want) {
		t.Errorf("request:\n got %q\nwant %q", got, want)
	}
	if got := lines(t, p.Fields); !slices.Equal(got, before) {
		t.Errorf("the response has no edits, but became %q", got)
	}
	mustCompile(t, config.Rewrite{}, config.Headers{Response: edit}).Response(p)
	if got := lines(t, p.Fields); !slices.Equal(got, want) {
		t.Errorf("response:\n got %q\nwant %q", got, want)
	}
}

func TestHost(t *testing.T) {
	for _, host := range []string{"api.internal", "API.internal:8080", "10.0.0.1", "[::1]", "[2001:db8::1]:443", "a_b"} {
		r := mustCompile(t, config.Rewrite{Host: host}, config.Headers{})
		q := &message.Request{Path: []byte("/a"), Host: []byte("client"), Fields: fields("Host: client")}
		r.Request(q, q.Path, nil)
		if string(q.Host) != host || r.HostOfEndpoint() || q.Fields[0].Drop {
			t.Errorf("host %s: sends %s, fields %q", host, q.Host, lines(t, q.Fields))
		}
	}
	r := mustCompile(t, config.Rewrite{Host: "endpoint"}, config.Headers{})
	q := &message.Request{Path: []byte("*"), Host: []byte("client")}
	r.Request(q, q.Path, nil)
	if string(q.Host) != "client" || !r.HostOfEndpoint() {
		t.Errorf("host endpoint: sends %s, HostOfEndpoint %v", q.Host, r.HostOfEndpoint())
	}
}

func TestNothingToDo(t *testing.T) {
	for _, r := range []*Rules{nil, new(Rules), mustCompile(t, config.Rewrite{}, config.Headers{})} {
		q := &message.Request{Path: []byte("//a"), Host: []byte("h"), Fields: fields("A: b")}
		p := &message.Response{Fields: fields("A: b")}
		scratch := r.Request(q, []byte("/a"), []byte("x"))
		r.Response(p)
		if string(q.Path) != "//a" || string(q.Host) != "h" || len(q.Fields) != 1 || len(p.Fields) != 1 || string(scratch) != "x" || r.HostOfEndpoint() {
			t.Errorf("%v changes something: %+v %+v", r, q, p)
		}
	}
}

// oracle edits a path in normal form as a list of segments.
func oracle(strip, from, to, add string, norm string) string {
	split := func(s string) []string {
		s = strings.TrimSuffix(strings.TrimPrefix(s, "/"), "/")
		if s == "" {
			return nil
		}
		return strings.Split(s, "/")
	}
	path := strings.Split(norm, "/")[1:]
	has := func(prefix []string) bool {
		return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
	}
	if has(split(strip)) {
		path = path[len(split(strip)):]
	}
	if from != "" && has(split(from)) {
		path = slices.Concat(split(to), path[len(split(from)):])
	}
	return "/" + strings.Join(slices.Concat(split(add), path), "/")
}

func TestPathIsTheOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	some := func(n int, words ...string) (s string) {
		for range random.IntN(n) {
			s += "/" + words[random.IntN(len(words))]
		}
		return s
	}
	changed := 0
	for range 20000 {
		w := config.Rewrite{StripPrefix: some(3, "a", "b"), AddPrefix: some(3, "a", "c")}
		var from, to string
		if from = some(3, "a", "b"); from != "" {
			to = some(3, "a", "c")
			w.Replace = &config.Replace{Prefix: from, With: to}
		}
		norm := some(6, "a", "b", "aa")
		if norm == "" || random.IntN(3) == 0 {
			norm += "/"
		}
		q := &message.Request{Path: []byte(norm)}
		mustCompile(t, w, config.Headers{}).Request(q, []byte(norm), nil)
		if want := oracle(w.StripPrefix, from, to, w.AddPrefix, norm); string(q.Path) != want {
			t.Fatalf("%+v: %s becomes %s, want %s", w, norm, q.Path, want)
		}
		if string(q.Path) != norm {
			changed++
		}
	}
	if changed < 5000 {
		t.Fatalf("only %d of 20000 changed anything", changed)
	}
}

func FuzzPath(f *testing.F) {
	f.Add("/api/v1", "/users", "/people", "/base", "/api/v1/users/7")
	f.Add("/", "/", "", "/", "//")
	f.Add("/%7e/", "/é", "/a%2fb", "/x/", "/~/%c3%a9")
	f.Fuzz(func(t *testing.T, strip, from, to, add, raw string) {
		w := config.Rewrite{StripPrefix: strip, AddPrefix: add}
		if from != "" {
			w.Replace = &config.Replace{Prefix: from, With: to}
		}
		r, err := Compile(w, config.Headers{})
		if err != nil {
			return
		}
		norm, err := route.Normalize(nil, []byte(raw))
		if err != nil {
			return
		}
		q := &message.Request{Path: []byte(raw)}
		r.Request(q, norm, nil)
		if string(q.Path) == raw {
			return
		}
		again, err := route.Normalize(nil, q.Path)
		if err != nil {
			t.Fatalf("%+v makes %q of %q, which has no normal form: %v", w, q.Path, raw, err)
		}
		normal := func(s string) string {
			n, _ := route.Normalize(nil, []byte(s))
			return string(n)
		}
		if want := oracle(normal(strip), from, normal(to), normal(add), string(norm)); from == "" && string(again) != want {
			t.Fatalf("%+v makes %q of %q, want %q", w, again, raw, want)
		}
	})
}

func TestScratchIsAppendedTo(t *testing.T) {
	r := mustCompile(t, config.Rewrite{StripPrefix: "/a", AddPrefix: "/b"}, config.Headers{})
	for _, room := range []int{0, 100} {
		scratch := append(make([]byte, 0, len("/a/x")+room), "/a/x"...)
		norm := scratch // where callers may keep it
		q := &message.Request{Path: []byte("/a//x")}
		scratch = r.Request(q, norm, scratch)
		if string(norm) != "/a/x" || string(q.Path) != "/b//x" || string(scratch) != "/a/x/b//x" {
			t.Errorf("room %d: norm %q, path %q, scratch %q", room, norm, q.Path, scratch)
		}
		if room > 0 && &scratch[0] != &norm[0] {
			t.Error("there was room, but scratch was copied")
		}
		_ = append(q.Path, "overwrites"...)
		if string(scratch[:9]) != "/a/x/b//x" || cap(q.Path) != len(q.Path) {
			t.Error("the path gives away the room behind it")
		}
	}
}

func benchRules(t testing.TB) *Rules {
	return mustCompile(t,
		config.Rewrite{StripPrefix: "/api/v1", AddPrefix: "/internal", Host: "users.internal"},
		config.Headers{
			Request:  config.HeaderEdit{Set: map[string]string{"X-Gateway": "poise"}, Add: map[string]string{"X-Tag": "a"}, Remove: []string{"X-Debug", "Cookie"}},
			Response: config.HeaderEdit{Set: map[string]string{"Server": "poise"}, Remove: []string{"X-Powered-By"}},
		})
}

func benchFields() []message.Field {
	f := fields("Host: api.example.com", "User-Agent: curl/8", "Accept: */*", "Accept-Encoding: gzip", "X-Debug: 1",
		"Authorization: Bearer x", "X-Forwarded-For: 10.0.0.1", "Cookie: a=b", "Content-Type: text/plain", "X-Request-Id: 42")
	return slices.Grow(f, 8)
}

func TestAllocatesNothing(t *testing.T) {
	r := benchRules(t)
	q, p := &message.Request{Fields: benchFields()}, &message.Response{Fields: benchFields()}
	n := len(q.Fields)
	path, scratch := []byte("/api/v1/users/42"), make([]byte, 0, 64)
	if got := testing.AllocsPerRun(100, func() {
		q.Path, q.Fields, p.Fields = path, q.Fields[:n], p.Fields[:n]
		r.Request(q, path, scratch)
		r.Response(p)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
	if string(q.Path) != "/internal/users/42" || len(q.Fields) != n+3 {
		t.Errorf("measured nothing: %s, %d fields", q.Path, len(q.Fields))
	}
}

func BenchmarkRequest(b *testing.B) {
	r := benchRules(b)
	q := &message.Request{Fields: benchFields()}
	n := len(q.Fields)
	path, scratch := []byte("/api/v1/users/42"), make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		q.Path, q.Fields = path, q.Fields[:n]
		r.Request(q, path, scratch)
	}
}

func TestNamedSegmentsAreStripped(t *testing.T) {
	for _, test := range []struct{ strip, path, want, prefix string }{
		{"/{service}", "/users/42/orders", "/42/orders", "/users"},
		{"/{service}", "/users", "/", "/users"},
		{"/{service}", "/users/", "/", "/users"},
		{"/{service}", "/", "/", ""},
		{"/api/{service}", "/api/users/42", "/42", "/api/users"},
		{"/api/{service}/", "/api/users/42", "/42", "/api/users"},
		{"/api/{service}", "/api", "/api", ""},
		{"/api/{service}", "/apix/users/42", "/apix/users/42", ""},
		{"/{a}/v1/{b}", "/x/v1/y/z", "/z", "/x/v1/y"},
		{"/{a}/v1/{b}", "/x/v2/y/z", "/x/v2/y/z", ""},
	} {
		r, err := Compile(config.Rewrite{StripPrefix: test.strip}, config.Headers{})
		if err != nil {
			t.Fatal(err)
		}
		q := &message.Request{Path: []byte(test.path)}
		r.Request(q, q.Path, nil)
		prefix, _ := message.GetKind(q.Fields, message.XForwardedPrefix)
		if string(q.Path) != test.want || string(prefix) != test.prefix {
			t.Errorf("%s of %s: %q, prefix %q; want %q, %q", test.strip, test.path, q.Path, prefix, test.want, test.prefix)
		}
	}
	for _, bad := range []string{"{service}", "/x{service}", "/{service", "/{}", "/{a}{b}", "/{a}//b", "/{a}/../b", "/{a}/*"} {
		if _, err := Compile(config.Rewrite{StripPrefix: bad}, config.Headers{}); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}
