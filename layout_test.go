package poise_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/poise-lb/poise"

// ranks is the direction of imports: a package may import packages of lower ranks, and of
// its own rank only where sameRank says so. What is missing here may not exist.
var ranks = map[string]int{
	"metric": 0, "trace": 0, "internal/limits": 0, "internal/san": 0, "internal/proxyproto": 0, "internal/reason": 0, "internal/admission": 0, "internal/filewatch": 0, "internal/nearest": 0, "internal/explain": 0, "internal/tags": 0, "internal/tickets": 0, "internal/invariants": 0, "internal/accesslines": 0, "internal/concurrency": 0, "internal/yield": 0,
	"internal/message": 1, "internal/engine": 1, "internal/asynclog": 1, "endpoint": 1,
	"policy": 2, "discovery": 2, "internal/buffer": 2, "internal/filter": 2, "internal/propagation": 2, "internal/grpc": 2, "internal/orca": 2,
	"config": 3, "health": 3, "discovery/snapshot": 3, "discovery/internal/client": 3, "discovery/internal/fakes": 3,
	"discovery/file": 4, "discovery/dns": 4, "discovery/etcd": 4, "discovery/consul": 4, "discovery/nacos": 4, "discovery/eureka": 4, "discovery/zookeeper": 4, "discovery/kubernetes": 4,
	"discovery/kubernetes/kubeconfig": 5, "internal/registry": 5,
	"internal/http1": 4, "internal/http2": 4, "internal/affinity": 4, "internal/record": 4, "internal/event": 4, "internal/certs": 4, "internal/route": 4,
	"internal/rewrite": 5, "internal/grpcweb": 5, "internal/upstream": 5, "internal/downstream": 5, "internal/mux": 5, "internal/accesslog": 5, "internal/spans": 5, "internal/extra": 5, "configfile": 5,
	"internal/upstream/h1": 6, "internal/upstream/h2": 6, "internal/downstream/h1": 6, "internal/downstream/h2": 6, "internal/service": 6, "internal/sources": 6, "register": 6,
	"internal/upstream/alpn": 7, "internal/exchange": 7, "sources": 7, "internal/engine/loop/sched": 7,
	"internal/compile": 8, "internal/engine/loop/sign": 8, "internal/core": 9, "internal/plan": 9, "internal/simulate": 9,
	"internal/engine/goroutine": 9, "internal/engine/virtual": 9, "internal/engine/loop": 9,
	"internal/downstream/nethttp": 10, "internal/scrape": 10, "internal/front": 11,
	".":     12,
	"admin": 13, "policy/policytest": 13, "discovery/discoverytest": 13, "internal/engine/enginetest": 13, "internal/testcert": 13, "internal/testgolden": 13, "internal/testlog": 13,
}

// neutral packages run on every engine. They may not start, wait or dial by themselves.
var neutral = []string{
	"internal/exchange", "internal/filter", "internal/upstream", "internal/upstream/h1", "internal/upstream/h2", "internal/upstream/alpn", "internal/buffer", "internal/http1", "internal/http2", "internal/downstream", "internal/downstream/h1", "internal/downstream/h2", "internal/mux", "internal/route", "internal/rewrite", "internal/propagation", "internal/grpc", "internal/orca", "internal/grpcweb",
	"internal/record", "internal/event", "internal/service", "internal/compile", "internal/core",
}

var neutralImports = map[string]string{
	"net/http":              "translate in internal/downstream/nethttp",
	"golang.org/x/sys/unix": "belongs in a driver",
}

var neutralCalls = map[string]string{
	"time.Sleep": "use Runtime.Sleep", "time.After": "use a deadline of the runtime", "time.NewTimer": "use a deadline of the runtime",
	"context.WithTimeout": "use a deadline of the runtime", "context.WithDeadline": "use a deadline of the runtime",
	"time.NewTicker": "use Runtime.Sleep", "time.AfterFunc": "use Runtime.Fork", "net.Dial": "use Runtime.Dial", "net.DialTimeout": "use Runtime.Dial",
}

// linesMax bounds a function, linesMaxTest one with a table of cases in a test. What must
// be longer stands in long with its reason.
const (
	linesMax     = 70
	linesMaxTest = 120
)

var long = map[string]string{}

// source is one parsed Go file.
type source struct {
	file string // slash-separated, from the root of the repository
	pkg  string // its folder
	set  *token.FileSet
	tree *ast.File
}

func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.file, s.set.Position(n.Pos()).Line)
}

func (s source) test() bool { return strings.HasSuffix(s.file, "_test.go") }

// goFiles parses every Go file of the repository.
func goFiles(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && file != "." || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, file, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		out = append(out, source{file: file, pkg: path.Dir(file), set: set, tree: tree})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d Go files found: does the test run at the root of the repository?", len(out))
	}
	return out
}

// own reports whether s belongs to the core module and is not a test.
func (s source) own() bool {
	return !s.test() && s.pkg != "metrics" && s.pkg != "tracing" && !strings.HasPrefix(s.pkg, "cmd/") && !strings.HasPrefix(s.pkg, "examples/") && !strings.HasPrefix(s.pkg, "test") && !strings.HasPrefix(s.pkg, "tools/")
}

func TestImportsGoOneWay(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range goFiles(t) {
		if !s.own() {
			continue
		}
		from, known := ranks[s.pkg]
		if !known {
			if !seen[s.pkg] {
				t.Errorf("%s has no rank: decide where it stands and say so in layout_test.go and ARCHITECTURE.md", s.pkg)
			}
			seen[s.pkg] = true
			continue
		}
		for _, imp := range s.tree.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			rel, ours := strings.CutPrefix(name, module)
			if !ours {
				continue
			}
			rel = path.Clean("./" + strings.TrimPrefix(rel, "/"))
			if to, ok := ranks[rel]; !ok || to >= from {
				t.Errorf("%s: %s (rank %d) imports %s (rank %d): imports go to lower ranks", s.at(imp), s.pkg, from, rel, to)
			}
		}
	}
}

func TestNeutralCodeLeavesWaitingToTheEngine(t *testing.T) {
	for _, s := range goFiles(t) {
		if s.test() || !slices.Contains(neutral, s.pkg) {
			continue
		}
		for _, imp := range s.tree.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if why, banned := neutralImports[name]; banned {
				t.Errorf("%s: %s imports %s: %s", s.at(imp), s.pkg, name, why)
			}
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a go statement: use Runtime.Fork", s.at(n))
			case *ast.SelectStmt:
				t.Errorf("%s: a select statement: use Runtime.NewSignal", s.at(n))
			case *ast.ChanType:
				t.Errorf("%s: a channel: use Runtime.NewSignal", s.at(n))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					if why, banned := neutralCalls[x.Name+"."+n.Sel.Name]; banned {
						t.Errorf("%s: %s.%s: %s", s.at(n), x.Name, n.Sel.Name, why)
					}
				}
			}
			return true
		})
	}
}

func TestFunctionsAreShort(t *testing.T) {
	used := make(map[string]bool)
	for _, s := range goFiles(t) {
		for _, d := range s.tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
			name := s.pkg + "." + f.Name.Name
			limit := linesMax
			if s.test() {
				limit = linesMaxTest
			}
			if lines <= limit {
				continue
			}
			if used[name] = true; long[name] == "" {
				t.Errorf("%s: %s has %d lines, more than %d: cut it, or give a reason in layout_test.go", s.at(f), name, lines, limit)
			}
		}
	}
	for name := range long {
		if !used[name] {
			t.Errorf("%s is not too long any more: take it out of long", name)
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	documented := make(map[string]bool)
	for _, s := range goFiles(t) {
		if !s.test() {
			documented[s.pkg] = documented[s.pkg] || s.tree.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment: say in one sentence what it is", pkg)
		}
	}
}

func TestCoreModuleStaysSmall(t *testing.T) {
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		name, _, _ := strings.Cut(line, " ")
		if strings.Contains(name, "/") && strings.Contains(name, ".") && !strings.Contains(line, "// indirect") && !strings.HasSuffix(name, "poise-lb/poise") {
			direct++
		}
		if strings.HasPrefix(line, "replace") {
			t.Errorf("go.mod replaces a module: embedders do not see that")
		}
	}
	if direct > 5 {
		t.Errorf("go.mod has %d direct requirements, more than 5: make a module of its own for a heavy dependency", direct)
	}
	if direct == 0 {
		t.Error("no requirement found: is this test reading go.mod right?")
	}
}

// unfinished words may not be left behind.
var unfinished = []string{"FIX" + "ME", "XX" + "X:", "TO" + "DO"}

func TestNothingIsLeftUnfinished(t *testing.T) {
	for _, s := range goFiles(t) {
		for _, g := range s.tree.Comments {
			for _, c := range g.List {
				for _, w := range unfinished {
					if strings.Contains(c.Text, w) {
						t.Errorf("%s: %s: finish it, or open an issue", s.at(c), w)
					}
				}
			}
		}
	}
}

// unsafeAllowed are the files that hand memory to the kernel by themselves: system calls
// that cannot wait, and so go past the scheduler.
var unsafeAllowed = []string{
	"internal/engine/goroutine/peek_linux.go",
	"internal/engine/loop/accept_linux.go", "internal/engine/loop/address_linux.go", "internal/engine/loop/syscall_linux.go",
	"internal/engine/loop/sched/poller_linux.go",
}

// TestUnsafe: nowhere else, and no private function of another package is linked to.
func TestUnsafe(t *testing.T) {
	for _, s := range goFiles(t) {
		for _, imp := range s.tree.Imports {
			if s.own() && imp.Path.Value == `"unsafe"` && !slices.Contains(unsafeAllowed, s.file) {
				t.Errorf("%s imports unsafe", s.at(imp))
			}
		}
		text, err := os.ReadFile(s.file)
		if err != nil {
			t.Fatal(err)
		}
		if s.file != "layout_test.go" && strings.Contains(string(text), "//go:linkname") {
			t.Errorf("%s uses linkname", s.file)
		}
	}
}
