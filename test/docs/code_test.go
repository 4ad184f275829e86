package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// files parses the Go files of one folder that are not tests.
func files(t *testing.T, folder string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		t.Fatalf("no Go files in %s", folder)
	}
	return out
}

var (
	stepHeading = regexp.MustCompile("(?m)^#+ (`.*)$")
	stepLead    = regexp.MustCompile("(?m)^(`[a-zA-Z]+`) ")
	codeWord    = regexp.MustCompile("`([^`]+)`")
)

// The steps of life-of-a-request.md are functions of internal/exchange, and what Run and
// the steps of an attempt call is on that page.
func TestStepsAreFunctions(t *testing.T) {
	functions := make(map[string]bool)
	called := make(map[string]bool)
	for _, file := range files(t, "internal/exchange") {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			functions[f.Name.Name] = true
			if slices.Contains([]string{"Run", "attempt", "converse", "speak"}, f.Name.Name) {
				maps.Copy(called, callsOnX(f.Body))
			}
		}
	}
	text := readPage(t, "docs/life-of-a-request.md").text
	steps := 0
	for _, m := range append(stepHeading.FindAllStringSubmatch(text, -1), stepLead.FindAllStringSubmatch(text, -1)...) {
		for _, w := range codeWord.FindAllStringSubmatch(m[1], -1) {
			if steps++; !functions[w[1]] {
				t.Errorf("life-of-a-request.md has a step %s, which is no function of internal/exchange", w[1])
			}
		}
	}
	if steps < 18 || len(called) < 10 {
		t.Errorf("%d steps on the page, %d called: is this test reading them right?", steps, len(called))
	}
	for name := range called {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("life-of-a-request.md does not mention %s", name)
		}
	}
}

// callsOnX are the methods of the receiver x that body calls.
func callsOnX(body ast.Node) map[string]bool {
	out := make(map[string]bool)
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "x" {
					out[s.Sel.Name] = true
				}
			}
		}
		return true
	})
	return out
}

var reasonWord = regexp.MustCompile("`([a-z][a-z0-9.]*(?:-[a-z0-9.]+)*)`")

// Every Poise-Reason in the code is in the tables of life-of-a-request.md, in both languages, and
// no other.
func TestEveryReasonIsDocumented(t *testing.T) {
	inCode := make(map[string]bool)
	for _, f := range files(t, "internal/reason") {
		for _, r := range constants(f) {
			inCode[r] = true
		}
	}
	for _, folder := range []string{"internal/exchange", "internal/filter", "internal/http1", "internal/downstream/h1", "internal/upstream", "internal/upstream/h1", "internal/downstream/nethttp", "internal/core"} {
		for _, f := range files(t, folder) {
			for _, r := range reasonsIn(f) {
				t.Errorf("%s: the reason %s is typed by hand: it belongs in internal/reason", folder, r)
			}
		}
	}
	if len(inCode) < 40 {
		t.Fatalf("only %d reasons found in the code", len(inCode))
	}
	for _, page := range [][2]string{{"docs/life-of-a-request.md", "### Every reason"}, {"docs/life-of-a-request.zh.md", "### 全部原因"}} {
		onPage := reasonsOnPage(t, page[0], page[1])
		for r := range inCode {
			if !onPage[r] {
				t.Errorf("%s, %s, needs a row | `%s` | status | whose fault | another attempt |", page[0], page[1], r)
			}
		}
		for r := range onPage {
			if !inCode[r] {
				t.Errorf("%s has the reason %s, which the code has not", page[0], r)
			}
		}
	}
}

// reasonsOnPage are the reasons in the tables below a heading. One table has a reason a row, the
// other many in its second column.
func reasonsOnPage(t *testing.T, path, heading string) map[string]bool {
	t.Helper()
	_, section, _ := strings.Cut(readPage(t, path).text, heading)
	section, _, _ = strings.Cut(section, "\n## ")
	out := make(map[string]bool)
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		column := cells[1]
		if !strings.Contains(column, "`") {
			column = cells[2]
		}
		for _, m := range reasonWord.FindAllStringSubmatch(column, -1) {
			out[m[1]] = true
		}
	}
	return out
}

// constants are the texts of all constants of f.
func constants(f *ast.File) (out []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for _, e := range v.Values {
				if text, ok := e.(*ast.BasicLit); ok && text.Kind == token.STRING {
					if word, err := strconv.Unquote(text.Value); err == nil {
						out = append(out, word)
					}
				}
			}
		}
		return true
	})
	return out
}

// silent are the reasons in internal/exchange that no client reads: it has left, or gets the
// response of an endpoint.
var silent = []string{"ClientGone", "TunnelIdle", "Status", "Overtaken"}

// What an exchange answers with has a text for people, too, beside its reason.
func TestEveryReasonOfAnExchangeHasAText(t *testing.T) {
	given, explained := make(map[string]bool), make(map[string]bool)
	note := func(into map[string]bool, n ast.Node) {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if from, ok := s.X.(*ast.Ident); ok && from.Name == "reason" {
				into[s.Sel.Name] = true
			}
		}
	}
	for _, f := range files(t, "internal/exchange") {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if n.Names[0].Name != "explanations" {
					return true
				}
				ast.Inspect(n, func(n ast.Node) bool { note(explained, n); return true })
				return false
			case *ast.CompositeLit:
				if isError(n.Type) {
					ast.Inspect(n, func(n ast.Node) bool { note(given, n); return true })
				}
			}
			return true
		})
	}
	if len(given) < 20 || len(explained) < 20 {
		t.Fatalf("only %d reasons and %d texts found", len(given), len(explained))
	}
	for r := range given {
		if !explained[r] && !slices.Contains(silent, r) {
			t.Errorf("internal/exchange/reply.go: explanations has no text for reason.%s", r)
		}
	}
}

// reasonsIn are the reasons of the Errors and Replies made in f which are typed by hand.
func reasonsIn(f *ast.File) []string {
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || !isError(lit.Type) && !named(lit.Type, "Reply") {
			return true
		}
		for i, e := range lit.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); !ok || key.Name != "Reason" {
					continue
				}
				e = kv.Value
			} else if i != 1 {
				continue
			}
			if text, ok := e.(*ast.BasicLit); ok && text.Kind == token.STRING {
				reason, err := strconv.Unquote(text.Value)
				if err == nil {
					out = append(out, reason)
				}
			}
		}
		return true
	})
	return out
}

func isError(typ ast.Expr) bool { return named(typ, "Error") }

// named reports whether typ is a type of that name, of this package or another.
func named(typ ast.Expr, name string) bool {
	switch typ := typ.(type) {
	case *ast.Ident:
		return typ.Name == name
	case *ast.SelectorExpr:
		return typ.Sel.Name == name
	}
	return false
}

// The table of ranks in ARCHITECTURE.md is that of layout_test.go, for what exists.
func TestRanksAreThoseOfTheLayout(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "layout_test.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ranks := make(map[string]string)
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "ranks" {
			return true
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			kv := e.(*ast.KeyValueExpr)
			name, _ := strconv.Unquote(kv.Key.(*ast.BasicLit).Value)
			ranks[name] = kv.Value.(*ast.BasicLit).Value
		}
		return false
	})
	if len(ranks) < 20 {
		t.Fatalf("only %d ranks found", len(ranks))
	}
	_, section, _ := strings.Cut(readPage(t, "ARCHITECTURE.md").text, "## Import ranks")
	section, _, _ = strings.Cut(section, "\n## ")
	written := make(map[string]string)
	for _, line := range strings.Split(section, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		for _, m := range codeWord.FindAllStringSubmatch(cells[2], -1) {
			written[m[1]] = strings.TrimSpace(cells[1])
		}
	}
	for name, rank := range ranks {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			continue // a place that is kept
		}
		if written[name] == "" && strings.HasPrefix(name, "discovery/") && rank == ranks["discovery/file"] {
			continue // "every other source"
		}
		if written[name] != rank {
			t.Errorf("%s has rank %s, ARCHITECTURE.md says %q", name, rank, written[name])
		}
	}
	for name := range written {
		if ranks[name] == "" {
			t.Errorf("ARCHITECTURE.md gives a rank to %s, layout_test.go does not", name)
		}
	}
}
