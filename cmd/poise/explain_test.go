package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/poise-lb/poise"
)

func TestExplain(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), goodFile)
	code, out, errs := call("explain", "GET http://example.com/a/../b", "-H", "X-A: b", "-c", path)
	for _, want := range []string{"normal form /b  of /a/../b", "✓ /**", path + ":8:5", "http://127.0.0.1:9002  healthy  3", "default of timeouts.head"} {
		if code != 0 || !strings.Contains(out, want) || errs != "" {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	var x poise.Explanation
	code, out, _ = call("explain", "POST", "/b", "--client", "203.0.113.9", "-c", path, "-o", "json")
	if err := json.Unmarshal([]byte(out), &x); err != nil || code != 0 || !x.Offline || x.Request.Client != "203.0.113.9" || x.Request.Host != "localhost" || x.Service.Name != "users" {
		t.Errorf("exit %d, %v, %s", code, err, out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-c", path}, "explain needs a request, as in"},
		{[]string{"GET", "/", "more", "-c", path}, "explain needs a request, as in"},
		{[]string{"/"}, "say which file with -c FILE"},
		{[]string{"/", "-c", path, "-H", "X-A"}, `--header "X-A": a header field is Name: value`},
		{[]string{"/", "-c", path, "-o", "jsn"}, "it is text or json, did you mean json?"},
		{[]string{"/", "-c", path, "--client", "me"}, "is no IP address"},
		{[]string{"ftp://x/", "-c", path}, "the scheme is http or https"},
		{[]string{"/", "-c", write(t, filepath.Join(t.TempDir(), "bad.yaml"), strings.Replace(goodFile, "service: users", "service: user", 1))}, "bad.yaml:8:14: routes[0].service"},
	} {
		code, out, errs := call(append([]string{"explain"}, c.args...)...)
		if code != exitUsage || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, %q %q, want %q", c.args, code, out, errs, c.want)
		}
	}
}

func TestPlan(t *testing.T) {
	dir := t.TempDir()
	old := write(t, filepath.Join(dir, "old.yaml"), goodFile)
	next := write(t, filepath.Join(dir, "new.yaml"), strings.NewReplacer("weight: 3", "weight: 4", "- service: users", "- service: users\n    timeout: 3s").Replace(goodFile))
	if code, out, errs := call("plan", old, old); code != exitOK || !strings.HasPrefix(out, "nothing changes\n") || errs != "" {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	code, out, errs := call("plan", next, old)
	for _, want := range []string{"~ route     /**  timeout (absent) → 3s", "~ service   users", "~ http://127.0.0.1:9002 weight 3 → weight 4", "state kept: 2", "hash "} {
		if code != exitChanges || !strings.Contains(out, want) || errs != "" {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	var p poise.Plan
	code, out, _ = call("plan", next, "-o", "json")
	if err := json.Unmarshal([]byte(out), &p); err != nil || code != exitChanges || len(p.Services) != 1 || p.Services[0].Do != "add" || len(p.Settings) != 0 {
		t.Errorf("exit %d, %v, %s", code, err, out)
	}
	bad := write(t, filepath.Join(dir, "bad.yaml"), strings.Replace(goodFile, "service: users", "service: user", 1))
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "plan needs the new file"},
		{[]string{next, old, old}, "plan needs the new file"},
		{[]string{bad, old}, "bad.yaml:8:14: routes[0].service"},
		{[]string{filepath.Join(dir, "none.yaml")}, "none.yaml: no such file"},
		{[]string{next, old, "-o", "yaml"}, "it is text or json"},
	} {
		code, out, errs := call(append([]string{"plan"}, c.args...)...)
		if code != exitUsage || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, %q %q, want %q", c.args, code, out, errs, c.want)
		}
	}
}

// pageHash is the hash of a plan, in which every key of the configuration has a part, so that a new
// default makes another one.
var pageHash = regexp.MustCompile("(?m)^hash [0-9a-f]{32}$")

var pageFence = regexp.MustCompile("(?s)```(\\w+)\n(.*?)```")

// The answers of docs/explain.md are those of the commands above them, with the files of the page.
func TestThePageAnswersAsTheCommandsDo(t *testing.T) {
	page, err := os.ReadFile("../../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	files, command, compared := []string{"poise.yaml", "new.yaml"}, "", 0
	for _, fence := range pageFence.FindAllStringSubmatch(string(page), -1) {
		switch language, code := fence[1], fence[2]; language {
		case "yaml":
			write(t, files[0], code)
			files = files[1:]
		case "sh":
			command = strings.TrimSpace(code)
		case "text":
			var args []string
			for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(command, -1) {
				args = append(args, m[1]+m[2])
			}
			_, out, errs := call(args[1:]...)
			if pageHash.ReplaceAllString(out, "") != pageHash.ReplaceAllString(code, "") || errs != "" {
				t.Errorf("%s\n%s%s\nthe page has\n%s", command, errs, out, code)
			}
			compared++
		}
	}
	if compared < 4 {
		t.Errorf("only %d answers compared", compared)
	}
}
