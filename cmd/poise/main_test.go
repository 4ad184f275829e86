package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// call runs Main in this process, for commands that end by themselves.
func call(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &errs, make(chan os.Signal))
	return code, out.String(), errs.String()
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodFile = `version: 1
listen:
  - address: 127.0.0.1:0
services:
  users:
    endpoints: ["http://127.0.0.1:9001", {url: "http://127.0.0.1:9002", weight: 3}]
routes:
  - service: users
`

func TestMistakesInFlags(t *testing.T) {
	to := "--to=http://127.0.0.1:1"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"prxy"}, "unknown command prxy, did you mean proxy?"},
		{[]string{"proxy", "word", to}, "unknown argument word"},
		{[]string{"proxy", "--frob"}, "unknown flag: --frob; see poise proxy --help"},
		{[]string{"proxy"}, "--to URL"},
		{[]string{"proxy", "--to", "ftp://x"}, "--to: "},
		{[]string{"proxy", to, "--policy", "round-robin"}, "did you mean round_robin?"},
		{[]string{"proxy", to, "--listen", "nowhere"}, "--listen: "},
		{[]string{"proxy", to, "--health", "FETCH it"}, "--health: "},
		{[]string{"proxy", to, "--engine", "epoll"}, "--engine: unknown engine epoll"},
		{[]string{"proxy", to, "--workers", "-1"}, "--workers"},
		{[]string{"proxy", to, "--workers", "many"}, "--workers"},
		{[]string{"proxy", to, "--tls-cert", "x.pem"}, "belong together"},
		{[]string{"demo", "--policy", "best"}, "--policy: "},
		{[]string{"run"}, "-c FILE"},
		{[]string{"check"}, "-c FILE"},
		{[]string{"run", "-c", "/nonexistent/poise.yaml"}, "poise: /nonexistent/poise.yaml: no such file"},
	} {
		code, stdout, stderr := call(c.args...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%q: exit %d, %q %q, want %q", c.args, code, stdout, stderr, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), goodFile)
	if code, out, errs := call("check", "-c", path); code != 0 || out != "ok: 1 service, 1 route, 1 address\n" || errs != "" {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	for _, c := range []struct{ old, new, where, what string }{
		{"service: users", "service: user", "8:14", "users"},
		{"weight: 3", "wieght: 3", "6:73", "weight"},
		{"127.0.0.1:0", "nowhere", "3:14", "port"},
		{"routes:", "routes: [", "", ""},
		{"  - address: 127.0.0.1:0", "  - {address: 127.0.0.1:0, tls: {certificates: [{cert: c.pem, key: k.pem}]}}", "3:", "c.pem: no such file"},
		{"service: users", "service: users\n    match: {path: users}", "9:", "/"},
	} {
		write(t, path, strings.Replace(goodFile, c.old, c.new, 1))
		code, out, errs := call("check", "-c", path)
		if code != exitUsage || out != "" || !strings.HasPrefix(errs, path+":"+c.where) || !strings.Contains(errs, c.what) {
			t.Errorf("%s: exit %d, %q %q", c.new, code, out, errs)
		}
	}
}

func TestSchemaIsJSON(t *testing.T) {
	code, out, _ := call("schema")
	var schema struct {
		Schema string `json:"$schema"`
	}
	if err := json.Unmarshal([]byte(out), &schema); code != 0 || err != nil || !strings.Contains(schema.Schema, "2020-12") {
		t.Errorf("exit %d, %v, %.80s", code, err, out)
	}
}

func TestVersion(t *testing.T) {
	if code, out, _ := call("version"); code != 0 || !strings.HasPrefix(out, "poise ") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit %d, %q", code, out)
	}
	built := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}}
	if got := versionText(built); !strings.HasPrefix(got, "poise v1.2.3 (commit 0123456789ab, modified) go") {
		t.Error(got)
	}
	if got := versionText(nil); !strings.HasPrefix(got, "poise unknown go") {
		t.Error(got)
	}
}

// TestEveryCommandIsDocumented: a word of help and an example each, in --help.
func TestEveryCommandIsDocumented(t *testing.T) {
	code, out, _ := call("--help")
	if code != 0 {
		t.Fatal(code)
	}
	root := newRoot(streams{})
	for _, c := range root.Commands() {
		if !strings.Contains(out, c.Name()) || c.Short == "" {
			t.Errorf("%s is not in the help", c.Name())
		}
		if c.Name() != "version" && c.Example == "" {
			t.Errorf("%s has no example", c.Name())
		}
		checkExamples(t, root, c)
		for _, sub := range c.Commands() {
			checkExamples(t, root, sub)
			if sub.Short == "" {
				t.Errorf("%s says nothing about itself", sub.CommandPath())
			}
		}
	}
}

// checkExamples parses the example lines, so that no flag in them is out of date.
func checkExamples(t *testing.T, root, c *cobra.Command) {
	for line := range strings.Lines(c.Example) {
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, "&&")
		line, _, _ = strings.Cut(line, ">")
		words := strings.Fields(strings.NewReplacer(`"HEAD /health"`, "HEAD", `"new disk"`, "disk").Replace(line))
		if len(words) == 0 || words[0] != "poise" {
			continue
		}
		found, rest, err := root.Find(words[1:])
		related := found == c || found.Parent() == c || c.Parent() != root // one below another may show its siblings
		if err != nil || found == root || !related {
			t.Errorf("%q is not %s: %v", line, c.Name(), err)
			continue
		}
		if err := found.ParseFlags(rest); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestCompletion(t *testing.T) {
	if code, out, _ := call("completion", "bash"); code != 0 || !strings.Contains(out, "poise") {
		t.Error(code)
	}
	if _, out, _ := call("__complete", "proxy", "--policy", "peak"); !strings.Contains(out, "peak_ewma\n") {
		t.Errorf("policies are not completed: %q", out)
	}
}
