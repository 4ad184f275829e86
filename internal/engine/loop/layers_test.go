package loop_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers are the files of the package, from the lowest up: a file may use what is declared
// in a file of its own layer or of a lower one. Decision 0010 says why the layers are not
// packages.
var layers = []struct {
	name  string
	files []string
}{
	{"sockets", []string{
		"accept", "address", "arrival", "buffers", "dial", "engine", "leave", "listen", "loop", "read", "splice", "stream", "syscall", "write",
	}},
	{"TLS", []string{"handshake", "tls", "tlsclose", "transport"}},
	{"runtime", []string{"runtime"}},
}

// layerOf is the index in layers of a file, which is named without folder; -1: none.
func layerOf(file string) int {
	for i, l := range layers {
		if slices.Contains(l.files, strings.TrimSuffix(file, "_linux.go")) {
			return i
		}
	}
	return -1
}

// noImports fails for every package: what other packages declare is of no interest here,
// and the type checker goes on without.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("left out") }

// breaches are the uses, in files, of what a higher layer declares.
func breaches(t *testing.T, set *token.FileSet, files []*ast.File) (out []string, uses int) {
	t.Helper()
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := config.Check("loop", set, files, info)
	for id, of := range info.Uses {
		if of.Pkg() != pkg || !of.Pos().IsValid() {
			continue
		}
		from, to := set.Position(id.Pos()), set.Position(of.Pos())
		uses++
		if layerOf(filepath.Base(from.Filename)) < layerOf(filepath.Base(to.Filename)) {
			out = append(out, from.String()+" uses "+id.Name+" of "+filepath.Base(to.Filename))
		}
	}
	return out, uses
}

// TestSocketsDoNotKnowTLS: TLS is built on sockets, and sockets can be read, changed and
// tested without a thought of TLS.
func TestSocketsDoNotKnowTLS(t *testing.T) {
	names, err := filepath.Glob("*_linux.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if layerOf(name) < 0 {
			t.Errorf("%s is in no layer: put it into one", name)
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		if name == "runtime_linux.go" {
			continue
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && layerOf(name) > 0 {
				if typ := types.ExprString(fn.Recv.List[0].Type); typ == "*stream" || typ == "*loop" {
					t.Errorf("%s: a method of %s, which is of a lower layer: make it a function", set.Position(d.Pos()), typ)
				}
			}
		}
	}
	found, uses := breaches(t, set, files)
	for _, text := range found {
		t.Error(text)
	}
	if uses < 1000 {
		t.Errorf("only %d uses seen: does the type checker still go on without imports?", uses)
	}
	// The same test with a socket file that calls up, to see that it would be noticed: a
	// function, a type, and a method and a field of a value.
	breach, err := parser.ParseFile(set, "leave_linux.go", `package loop

func (s *stream) up(t *secure) { secureTo(s, nil, 0); t.push(); t.sent = 1 }
`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := breaches(t, set, append(files, breach)); len(found) != 4 {
		t.Errorf("of four breaches %d are noticed: %q", len(found), found)
	}
}
