package docs

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/rewrite"
	"github.com/poise-lb/poise/internal/route"
)

// snippets are the fences in one language.
func snippets(t *testing.T, language string) []fence {
	t.Helper()
	var out []fence
	for _, p := range pages(t) {
		for _, f := range p.fence {
			if f.language == language {
				out = append(out, f)
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("no snippet in %s found", language)
	}
	return out
}

// Every YAML snippet is a configuration, a part of one, or an endpoint list, and is
// accepted as that.
func TestConfigurationsAreAccepted(t *testing.T) {
	for _, f := range snippets(t, "yaml") {
		if strings.HasPrefix(f.code, "- ") {
			if _, rejected, err := configfile.Endpoints(f.String(), []byte(f.code)); err != nil || rejected != nil {
				t.Errorf("%s: %v, %v", f, err, rejected)
			}
			continue
		}
		c, err := configfile.Parse(f.String(), []byte(completed(f.code)), nil)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		var patterns []route.Pattern
		for _, r := range c.Routes {
			patterns = append(patterns, compile.Pattern(&r.Match))
			if _, err := rewrite.Compile(r.Rewrite, r.Headers); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
		if _, err := route.Build(patterns); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

var firstService = regexp.MustCompile(`(?m)^services:\n  (\w+):`)

// completed adds what a part of a configuration leaves out.
func completed(part string) string {
	whole := "\n" + part
	name := "users"
	if m := firstService.FindStringSubmatch(part); m != nil {
		name = m[1]
	}
	if !strings.Contains(whole, "\nversion:") {
		whole = "version: 1" + whole
	}
	if !strings.Contains(whole, "\nservices:") {
		whole += "services: {" + name + ": {endpoints: [\"http://127.0.0.1:9001\"]}}\n"
	}
	if !strings.Contains(whole, "\nroutes:") {
		whole += "routes: [{service: " + name + "}]\n"
	}
	return whole
}

// A part that is wrong must not become right by being completed.
func TestCompletedPartsAreStillChecked(t *testing.T) {
	for _, part := range []string{"timeouts: {haed: 5s}\n", "services:\n  a: {policy: random}\n", "routes:\n  - service: nobody\n"} {
		if _, err := configfile.Parse("part", []byte(completed(part)), nil); err == nil {
			t.Errorf("accepted: %s", part)
		}
	}
}

// Every Go program in the documents compiles, and every other piece of Go parses.
func TestProgramsCompile(t *testing.T) {
	for _, f := range snippets(t, "go") {
		if !strings.Contains("\n"+f.code, "\npackage ") {
			asFile, asBody := "package p\n"+f.code, "package p\nfunc f() {\n"+f.code+"}\n"
			_, err := parser.ParseFile(token.NewFileSet(), f.String(), asFile, 0)
			if _, err2 := parser.ParseFile(token.NewFileSet(), f.String(), asBody, 0); err != nil && err2 != nil {
				t.Errorf("%s: %v", f, err2)
			}
			continue
		}
		if testing.Short() {
			continue
		}
		build(t, f)
	}
}

// build compiles a program as if it were a command of this module.
func build(t *testing.T, f fence) {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(f.code), 0o600); err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(top, "test/docs/snippet/main.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(table, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-overlay", table, "-o", filepath.Join(dir, "program"), "./test/docs/snippet")
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", f, err, out)
	}
}
