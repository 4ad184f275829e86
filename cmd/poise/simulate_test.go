package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/simulate"
)

func TestSimulate(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "poise.yaml"), goodFile)
	html := filepath.Join(dir, "page.html")
	args := []string{"simulate", "-c", path, "--scenario", "even,slow", "--duration", "4s", "--policy", "peak_ewma,least_time", "--losses", "--html", html}
	args[4] = "even"
	code, out, errs := call(args...)
	for _, want := range []string{"even: all endpoints are alike", "users: 2 endpoints", "peak_ewma", "least_time *", "p99.9", "the largest endpoint", "seed 1"} {
		if code != exitOK || errs != "" || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	if _, again, _ := call(args...); again != out {
		t.Errorf("again it says\n%s\nand not\n%s", again, out)
	}
	page, err := os.ReadFile(html)
	if err != nil || strings.Count(string(page), "<svg") != strings.Count(string(page), "</svg>") || strings.Count(string(page), "<svg") != 4 || strings.Contains(string(page), "<script") {
		t.Errorf("%v: %d pictures", err, strings.Count(string(page), "<svg"))
	}
	var result simulate.Result
	code, out, _ = call("simulate", "--scenario", "slow", "--duration", "4s", "--policy", "p2c", "-o", "json")
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != exitOK || len(result.Scenarios) != 1 || result.Scenarios[0].Policies[0].Latency["p99"] == 0 {
		t.Errorf("exit %d, %v, %s", code, err, out)
	}
}

func TestMistakesOfSimulate(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "poise.yaml"), goodFile)
	bad := write(t, filepath.Join(dir, "bad.yaml"), "load: {utilisation: 40%}\nfaults:\n  - {kind: stal, endpoints: [\"1\"]}\n")
	far := write(t, filepath.Join(dir, "far.yaml"), "warm_up: 1s\nfaults:\n  - kind: stall\n    endpoints: [\"1\", \"3\"]\n    for: 1s\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--scenario", "slwo"}, "did you mean slow?"},
		{[]string{"--scenario", "none.yaml"}, "none.yaml: no such file"},
		{[]string{"--scenario", bad}, bad + ":1:8: load.utilisation: unknown key, did you mean utilization?"},
		{[]string{"--scenario", bad}, bad + `:3:12: faults[0].kind: "stal" is not one of slow, stall, crash, fail, flaky, cold, restart, join, leave, did you mean stall?`},
		{[]string{"-c", path, "--scenario", far}, far + ":4:22: faults[0].endpoints[1]: there is no endpoint 3: it is a number from 1 to 2"},
		{[]string{"--policy", "p2"}, "did you mean p2c?"},
		{[]string{"--without", "zone:b"}, "--without: there is no endpoint zone:b"},
		{[]string{"-c", path, "--service", "user"}, "did you mean users?"},
		{[]string{"--service", "users"}, "-c FILE"},
		{[]string{"-c", filepath.Join(dir, "none.yaml")}, "none.yaml: no such file"},
		{[]string{"--duration", "1s"}, "warm_up: 2s leaves nothing"},
		{[]string{"-o", "xml"}, "it is text or json"},
		{[]string{"even"}, "unknown argument even"},
	} {
		code, out, errs := call(append([]string{"simulate"}, c.args...)...)
		if code != exitUsage || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, %q %q, want %q", c.args, code, out, errs, c.want)
		}
	}
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&log, `{"time":"2026-11-28T20:31:%02d.%03dZ","client":"10.1.0.%d","method":"GET","status":200,"duration_ms":%d.5,"attempts":[{"endpoint":"http://10.0.0.%d:80","status":200,"time_ms":%d}]}`+"\n",
			i/200, i%200*5, i%7, 5+i%4*5, i%4+1, 5+i%4*5)
	}
	log.WriteString("torn")
	path := write(t, filepath.Join(dir, "access.log"), log.String())
	code, out, errs := call("replay", path, "--policy", "round_robin,peak_ewma")
	for _, want := range []string{"note: " + path + ": 1 line could not be read, the first in line 2001", "as logged", "peak_ewma", "4 endpoints", "2000 requests"} {
		if code != exitOK || errs != "" || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	scenario := write(t, filepath.Join(dir, "s.yaml"), "name: monday\nworkers: 50\nfaults: [{kind: crash, endpoints: [\"http://10.0.0.2:80\"], at: 3s}]\n")
	if code, out, errs = call("replay", path, "--scenario", scenario, "--policy", "p2c", "--speed", "2"); code != exitOK || !strings.Contains(out, "monday") || !strings.Contains(out, "50 requests at once") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	logged := write(t, filepath.Join(dir, "logged.yaml"), "load: {log: access.log}\nendpoints: [{endpoint: \"4\", factor: 2}]\n")
	if code, out, errs = call("simulate", "--scenario", logged, "--policy", "p2c"); code != exitOK || !strings.Contains(out, "log: 4 endpoints") || !strings.Contains(out, "2000 requests") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	configured := write(t, filepath.Join(dir, "poise.yaml"), goodFile)
	if code, out, errs = call("replay", path, "-c", configured, "--policy", "p2c"); code != exitOK || !strings.Contains(out, "users: 2 endpoints") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	empty := write(t, filepath.Join(dir, "empty.log"), "")
	nonsense := write(t, filepath.Join(dir, "nonsense.log"), "hello\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "replay needs an access log"},
		{[]string{filepath.Join(dir, "none.log")}, "none.log: no such file"},
		{[]string{empty}, "the log is empty"},
		{[]string{nonsense}, "no line could be read as the log of Poise"},
		{[]string{path, "--workers", "-1"}, "--workers"},
		{[]string{path, "--speed", "0"}, "--speed"},
		{[]string{path, "--policy", "best"}, "--policy best"},
		{[]string{path, "--without", "9"}, "there is no endpoint 9"},
	} {
		code, out, errs := call(append([]string{"replay"}, c.args...)...)
		if code != exitUsage || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q: exit %d, %q %q, want %q", c.args, code, out, errs, c.want)
		}
	}
}
