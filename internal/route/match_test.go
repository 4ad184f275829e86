package route

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func mustBuild(t testing.TB, patterns []Pattern) *Tree {
	t.Helper()
	tree, err := Build(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestPrecedence(t *testing.T) {
	patterns := []Pattern{
		0:  {}, // everything
		1:  {Path: "/users/**"},
		2:  {Path: "/users/{id}"},
		3:  {Path: "/users/me"},
		4:  {Path: "/users/{id}/orders/**"},
		5:  {Path: "/users/me/orders/{n}"},
		6:  {Host: "*.example.com", Path: "/**"},
		7:  {Host: "*.eu.example.com", Path: "/a"},
		8:  {Host: "api.example.com", Path: "/only"},
		9:  {Path: "/users/{id}", Methods: []string{"GET"}},
		10: {Path: "/m", Methods: []string{"POST", "PUT"}},
		11: {Path: "/m", Methods: []string{"PUT", "DELETE"}},
		12: {Host: "[2001:db8::1]", Path: "/a"},
		13: {Path: "/slash/"},
		14: {Path: "/caf%C3%A9"},
		15: {Path: "/größe/%7eme"},
		16: {Host: "deep.example.com", Methods: []string{"PATCH"}},
	}
	tree := mustBuild(t, patterns)
	for _, c := range []struct {
		method, host, path string
		want               int
	}{
		{"GET", "x", "/", 0},
		{"GET", "", "/nothing", 0},
		{"OPTIONS", "x", "*", 0},
		{"OPTIONS", "a.example.com", "*", 6},
		{"GET", "x", "/users", 1},
		{"GET", "x", "/users/", 1},
		{"GET", "x", "/users/me", 3},
		{"POST", "x", "/users/7", 2},
		{"GET", "x", "/users/7", 9},
		{"HEAD", "x", "/users/7", 9}, // GET brings HEAD
		{"GET", "x", "/users/7/", 1}, // a trailing slash is another path
		{"GET", "x", "/users/7/orders", 4},
		{"GET", "x", "/users/me/orders/1", 5},
		{"GET", "x", "/users/me/orders/1/x", 4}, // steps back from the literal "me"
		{"GET", "x", "/users/me/x", 1},
		{"GET", "x", "/usersx", 0},
		{"GET", "example.com", "/a", 0}, // the wildcard wants a label
		{"GET", "A.Example.COM:8080", "/a", 6},
		{"GET", "a.b.example.com.", "/a", 6},
		{"GET", "a.eu.example.com", "/a", 7},
		{"GET", "a.eu.example.com", "/b", 6}, // steps back to the shorter wildcard
		{"GET", ".eu.example.com", "/a", 6},  // of *.eu the label is empty; of *.example.com it is eu
		{"GET", ".example.com", "/a", 0},
		{"GET", "xexample.com", "/a", 0},
		{"GET", "api.example.com", "/only", 8},
		{"GET", "api.example.com", "/users", 6},
		{"PUT", "x", "/m", 10}, // order of the list
		{"DELETE", "x", "/m", 11},
		{"GET", "x", "/m", 0}, // steps back from the methods
		{"GET", "[2001:DB8::1]:443", "/a", 12},
		{"GET", "x", "/slash/", 13},
		{"GET", "x", "/slash", 0},
		{"GET", "x", "/caf%C3%A9", 14},
		{"GET", "x", "/gr%C3%B6%C3%9Fe/~me", 15},
		{"PATCH", "deep.example.com", "/", 16},
		{"GET", "deep.example.com", "/", 6},
		{"GET", strings.Repeat("long.", 80) + "example.com", "/", 6},
		{"GET", strings.Repeat("x", 300), "/", 0},
	} {
		got, state := tree.Match([]byte(c.host), []byte(c.path), []byte(c.method))
		if got != c.want || state != Found {
			t.Errorf("%s %s%s: route %d, state %d, want %d", c.method, c.host, c.path, got, state, c.want)
		}
	}
}

func TestNoMatch(t *testing.T) {
	tree := mustBuild(t, []Pattern{
		{Path: "/a", Methods: []string{"GET"}},
		{Path: "/{x}", Methods: []string{"POST"}},
		{Path: "/**", Methods: []string{"DELETE", "GET"}},
		{Host: "h", Path: "/b"},
	})
	for _, c := range []struct {
		method, host, path string
		want               int
		state              MethodState
		allowed            string
	}{
		{"PUT", "x", "/a", none, NotAllowed, "DELETE, GET, HEAD, POST"},
		{"get", "x", "/a", none, NotAllowed, "DELETE, GET, HEAD, POST"},
		{"POST", "x", "/a", 1, Found, "DELETE, GET, HEAD, POST"},
		{"PUT", "x", "/c/d", none, NotAllowed, "DELETE, GET, HEAD"},
		{"PUT", "x", "*", none, NotAllowed, "DELETE, GET, HEAD"},
		{"PUT", "H", "/b", 3, Found, "DELETE, GET, HEAD, POST"},
	} {
		got, state := tree.Match([]byte(c.host), []byte(c.path), []byte(c.method))
		allowed := string(tree.Allowed([]byte("Allow: "), []byte(c.host), []byte(c.path)))
		if got != c.want || state != c.state || allowed != "Allow: "+c.allowed {
			t.Errorf("%s %s%s: %d, state %d, %q; want %d, %d, %q", c.method, c.host, c.path, got, state, allowed, c.want, c.state, c.allowed)
		}
	}
	none := mustBuild(t, []Pattern{{Path: "/a/{b}/c"}})
	for _, path := range []string{"/", "/a", "/a/b", "/a//c", "/a/b/c/", "/a/b/c/d", "*", "", "a/b/c"} {
		if i, state := none.Match(nil, []byte(path), []byte("GET")); i != -1 || state != NotFound {
			t.Errorf("%q: route %d, state %d, want none", path, i, state)
		}
	}
	if i, state := new(Tree).Match([]byte("h"), []byte("/"), []byte("GET")); i != -1 || state != NotFound {
		t.Errorf("the zero Tree matched: %d, %d", i, state)
	}
}

func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		patterns []Pattern
		i, j     int
		text     string
	}{
		{[]Pattern{{}, {Path: "/**"}}, 0, 1, "route 1 never matches, route 0 takes the same requests: path /**, every method"},
		{[]Pattern{{Path: "/a"}, {Host: "h"}, {Host: "H"}}, 1, 2, "route 2 never matches, route 1 takes the same requests: host H, every path, every method"},
		{[]Pattern{{Path: "/{a}"}, {Path: "/{b}"}}, 0, 1, "route 1 never matches, route 0 takes the same requests: path /{b}, every method"},
		{[]Pattern{{Path: "/~a"}, {Path: "/%7Ea"}}, 0, 1, "route 1 never matches, route 0 takes the same requests: path /%7Ea, every method"},
		{[]Pattern{{Methods: []string{"GET", "PUT"}}, {}, {Methods: []string{"PUT"}}}, 0, 2, "route 2 never matches, route 0 takes the same requests: every path, method PUT"},
		{[]Pattern{{Methods: []string{"GET"}}, {Methods: []string{"PUT"}}, {Methods: []string{"PUT", "GET"}}}, 1, 2, "route 2 never matches, route 1 takes the same requests: every path, method PUT"},
		{[]Pattern{{Methods: []string{"GET"}}, {Methods: []string{"HEAD"}}, {Methods: []string{"PUT", "GET"}}, {}, {Path: "/"}, {Host: "*.h"}, {Host: "h"}}, none, none, ""},
		{[]Pattern{{}, {Listener: "in"}, {Listener: "out"}}, none, none, ""},
		{[]Pattern{{}, {Listener: "in", Path: "/a"}, {Listener: "in", Path: "/a"}}, 1, 2, "route 2 never matches, route 1 takes the same requests: listener in, path /a, every method"},
	} {
		_, err := Build(c.patterns)
		if c.j == none {
			if err != nil {
				t.Errorf("%v: %v", c.patterns, err)
			}
			continue
		}
		var conflict *ConflictError
		if !errors.As(err, &conflict) || conflict.I != c.i || conflict.J != c.j || err.Error() != c.text {
			t.Errorf("%v:\n got %v\nwant %s", c.patterns, err, c.text)
		}
	}
}

// world makes patterns and requests from so few words that they meet all the time.
type world struct{ *rand.Rand }

func (w world) pick(words ...string) string { return words[w.IntN(len(words))] }

func (w world) pattern() Pattern {
	var p Pattern
	p.Listener = w.pick("", "", "", "", "", "in", "out")
	p.Host = w.pick("", "", "b.c", "a.b.c", "*.c", "*.b.c", "*.a.b.c", "*.A.b.c")
	for i := range w.IntN(5) {
		p.Path += "/" + w.pick("a", "b", fmt.Sprintf("{n%d}", i))
	}
	switch {
	case w.IntN(3) == 0:
		p.Path += "/**"
	case w.IntN(4) == 0:
		p.Path += "/"
	}
	if p.GRPC = w.IntN(6) == 0; p.GRPC {
		return p
	}
	for _, m := range []string{"GET", "PUT", "HEAD"} {
		if w.IntN(4) == 0 {
			p.Methods = append(p.Methods, m)
		}
	}
	w.Shuffle(len(p.Methods), func(i, j int) { p.Methods[i], p.Methods[j] = p.Methods[j], p.Methods[i] })
	return p
}

func (w world) request() (authority, path, method string) {
	authority = w.pick("", "c", "b.c", "B.C:80", "a.b.c", "x.a.b.c", "a.b.c.:1", ".c", "x..c", "xb.c", "x.y.z", "[::1]:2")
	for range w.IntN(6) {
		path += "/" + w.pick("a", "b", "c", "{n1}", "**")
	}
	if path == "" || w.IntN(5) == 0 {
		path += "/"
	}
	if w.IntN(50) == 0 {
		path = "*"
	}
	return authority, path, w.pick("GET", "PUT", "HEAD", "POST")
}

// agree compares a Tree's answers with the oracle's.
func agree(t *testing.T, tree *Tree, patterns []Pattern, listener, authority, path, method string, grpc bool) MethodState {
	t.Helper()
	match := tree.MatchAt
	if grpc {
		match = tree.MatchGRPC
	}
	index, state := match(listener, []byte(authority), []byte(path), []byte(method))
	allowed := string(tree.AllowedAt(nil, listener, []byte(authority), []byte(path)))
	wantIndex, wantState, wantAllowed := oracleMatch(patterns, listener, authority, path, method, grpc)
	if index != wantIndex || state != wantState || allowed != wantAllowed {
		t.Fatalf("%s %q %q at %q among %+v:\n got %d, state %d, allowed %q\nwant %d, state %d, allowed %q",
			method, authority, path, listener, patterns, index, state, allowed, wantIndex, wantState, wantAllowed)
	}
	return state
}

func TestMatchIsTheOracle(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	var states [3]int
	conflicts := 0
	for seed := range rounds {
		w := world{rand.New(rand.NewPCG(uint64(seed), 7))}
		patterns := make([]Pattern, w.IntN(30))
		for i := range patterns {
			patterns[i] = w.pattern()
		}
		tree, err := Build(patterns)
		for err != nil { // take the later one of each conflict out
			var conflict *ConflictError
			if i, j := oracleConflict(patterns); !errors.As(err, &conflict) || conflict.I != i || conflict.J != j {
				t.Fatalf("%+v: %v, want conflict of %d and %d", patterns, err, i, j)
			}
			conflicts++
			patterns = slices.Delete(patterns, conflict.J, conflict.J+1)
			tree, err = Build(patterns)
		}
		if i, j := oracleConflict(patterns); j != none {
			t.Fatalf("%+v: no error, want conflict of %d and %d", patterns, i, j)
		}
		for range 60 {
			authority, path, method := w.request()
			listener, grpc := w.pick("", "in", "out", "other"), method == "POST" && w.IntN(2) == 0
			states[agree(t, tree, patterns, listener, authority, path, method, grpc)]++
		}
	}
	// A property that is never put to the test proves nothing.
	if conflicts < rounds/25 || slices.Min(states[:]) < rounds {
		t.Fatalf("%d conflicts, answers %v: the generator does not reach everything", conflicts, states)
	}
}

// FuzzMatch reads patterns as lines of host, path, and methods with commas or gRPC.
func FuzzMatch(f *testing.F) {
	f.Add("api.example.com /users/{id} GET,HEAD\n*.example.com /** \n /users/** ", "api.example.com", "/users/7", "HEAD")
	f.Add("*.a  \n*.b.a  PUT\nc.b.a /x/{y}/z \n", "c.b.a.", "/x/x/z", "GET")
	f.Add(" / \n /** ", "[::1]", "*", "OPTIONS")
	f.Add(" /{a}/{b} gRPC\n /a/{b} POST\n /a/b PUT", "", "/a/b", "POST")
	f.Add(" /a/{b}/c GET\n /{a}/b/c \n /a/b/** POST", "", "/a/b/c", "PUT")
	f.Fuzz(func(t *testing.T, text, authority, raw, method string) {
		var patterns []Pattern
		for line := range strings.Lines(text) {
			words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
			if len(words) != 3 {
				return
			}
			p := Pattern{Host: words[0], Path: words[1]}
			if p.GRPC = words[2] == "gRPC"; !p.GRPC && words[2] != "" {
				p.Methods = strings.Split(words[2], ",")
			}
			patterns = append(patterns, p)
		}
		path, err := Normalize(nil, []byte(raw))
		if err != nil || len(authority) > hostMax || len(patterns) > 64 {
			return
		}
		tree, err := Build(patterns)
		var conflict *ConflictError
		if errors.As(err, &conflict) {
			if conflict.I < 0 || conflict.I >= conflict.J || conflict.J >= len(patterns) {
				t.Fatalf("%v", err)
			}
			return
		}
		if err != nil {
			return
		}
		for i, p := range patterns { // the oracle compares paths as text
			segments := strings.Split(p.Path, "/")
			for j, s := range segments {
				if !isPlaceholder(s) && s != "**" {
					norm, _, _ := segment(nil, []byte(s), 0)
					segments[j] = string(norm)
				}
			}
			patterns[i].Path = strings.Join(segments, "/")
		}
		for _, grpc := range []bool{false, true} {
			agree(t, tree, patterns, "", strings.Map(asciiOnly, authority), string(path), method, grpc)
		}
	})
}

// asciiOnly spares the oracle strings.ToLower's view of other alphabets.
func asciiOnly(r rune) rune {
	if r > 0x7f {
		return '?'
	}
	return r
}

func TestMatchAllocatesNothing(t *testing.T) {
	patterns := benchPatterns(1000)
	tree := mustBuild(t, append(patterns, Pattern{Path: "/only", Methods: []string{"GET"}}))
	host, method := []byte("API7.Example.com:8080"), []byte("GET")
	for _, path := range []string{"/api/v1/service7/items/42", "/nowhere", "/only", "*"} {
		if n := testing.AllocsPerRun(100, func() { tree.Match(host, []byte(path), method) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

// benchPatterns are n routes, a fifth of them with hosts, as a grown installation has them.
func benchPatterns(n int) []Pattern {
	patterns := make([]Pattern, 0, n)
	for i := range n {
		var p Pattern
		switch i % 5 {
		case 0:
			p = Pattern{Host: fmt.Sprintf("api%d.example.com", i/5), Path: "/api/v1/**"}
		case 1:
			p = Pattern{Path: fmt.Sprintf("/api/v1/service%d/**", i)}
		case 2:
			p = Pattern{Path: fmt.Sprintf("/api/v1/service%d/items/{id}", i)}
		case 3:
			p = Pattern{Path: fmt.Sprintf("/api/v2/{tenant}/service%d", i), Methods: []string{"GET"}}
		case 4:
			p = Pattern{Path: fmt.Sprintf("/static/%d/index.html", i)}
		}
		patterns = append(patterns, p)
	}
	return patterns
}

// questions are requests for the routes at the end of benchPatterns(n), of each kind.
func questions(n int) (hosts, paths [][]byte) {
	last := n - 5
	for _, q := range [][2]string{
		{fmt.Sprintf("api%d.example.com", last/5), "/api/v1/users/42"},
		{"www.example.com", fmt.Sprintf("/api/v1/service%d/a/b/c", last+1)},
		{"www.example.com", fmt.Sprintf("/api/v1/service%d/items/42", last+2)},
		{"www.example.com", fmt.Sprintf("/api/v2/acme/service%d", last+3)},
		{"www.example.com", fmt.Sprintf("/static/%d/index.html", last+4)},
	} {
		hosts, paths = append(hosts, []byte(q[0])), append(paths, []byte(q[1]))
	}
	return hosts, paths
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			tree := mustBuild(b, benchPatterns(n))
			hosts, paths := questions(n)
			method := []byte("GET")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				index, _ := tree.Match(hosts[i], paths[i], method)
				if index != n-5+i {
					b.Fatalf("%s%s: route %d", hosts[i], paths[i], index)
				}
				if i++; i == len(hosts) {
					i = 0
				}
			}
		})
	}
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("routes=%d,spread", n), func(b *testing.B) { // every route in turn: caches do not help
			tree := mustBuild(b, benchPatterns(n))
			var hosts, paths [][]byte
			for m := 5; m <= n; m += 5 {
				h, p := questions(m)
				hosts, paths = append(hosts, h...), append(paths, p...)
			}
			method := []byte("GET")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if index, _ := tree.Match(hosts[i], paths[i], method); index != i {
					b.Fatal(i, index)
				}
				i = (i + 3779) % n // a prime, so that neighbours are far apart
			}
		})
	}
	b.Run("wildcard", func(b *testing.B) {
		patterns := benchPatterns(10000)
		for i := range 1000 {
			patterns = append(patterns, Pattern{Host: fmt.Sprintf("*.tenant%d.example.com", i), Path: "/**"})
		}
		tree := mustBuild(b, patterns)
		host, path, method := []byte("www.tenant999.example.com"), []byte("/users/42"), []byte("GET")
		b.ReportAllocs()
		for b.Loop() {
			if index, _ := tree.Match(host, path, method); index != len(patterns)-1 {
				b.Fatal(index)
			}
		}
	})
	b.Run("fallbacks", func(b *testing.B) { // the worst there is: 10 segments, each literal or {name}
		var patterns []Pattern
		for bits := range 1 << 10 {
			var p Pattern
			for i := range 10 {
				p.Path += "/" + [2]string{"a", fmt.Sprintf("{n%d}", i)}[bits>>i&1]
			}
			patterns = append(patterns, p)
		}
		tree := mustBuild(b, patterns)
		path, method := []byte(strings.Repeat("/a", 11)), []byte("GET")
		b.ReportAllocs()
		for b.Loop() {
			if _, state := tree.Match(nil, path, method); state != NotFound {
				b.Fatal(state)
			}
		}
	})
}

func BenchmarkBuild10000(b *testing.B) {
	patterns := benchPatterns(10000)
	for b.Loop() {
		if _, err := Build(patterns); err != nil {
			b.Fatal(err)
		}
	}
}
