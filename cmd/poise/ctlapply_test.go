package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/poise-lb/poise"
)

// planned is a configuration with a secret of a file, relative paths, and a route of a name.
func planned(backend, name string) string {
	return `version: 1
listen: ["127.0.0.1:0"]
admin:
  address: "127.0.0.1:0"
  tokens: [{name: zhao, role: operate, token: "${file:secret}"}]
access_log: {path: access.log}
services: {users: {endpoints: ["` + backend + `"]}}
routes: [{name: ` + name + `, service: users}]
`
}

// TestPlanAndApplyLive: a file is planned against what runs, then applied as it was planned. What was
// planned on another state is refused and changes nothing.
func TestPlanAndApplyLive(t *testing.T) {
	a := endpoint(t, "a")
	dir := t.TempDir()
	secret := write(t, filepath.Join(dir, "secret"), "0123456789abcdef-secret")
	conf := write(t, filepath.Join(dir, "poise.yaml"), planned(a.URL, "one"))
	next := write(t, filepath.Join(dir, "next.yaml"), planned(a.URL, "two"))
	p := ready(t, "run", "-c", conf)
	server := p.say(`poise: admin on (\S+)`)[1]
	poiseCall := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := call(append(args, "--server", server, "--token-file", secret)...)
		if code != want {
			t.Errorf("%s: exit %d, want %d: %s%s", args, code, want, out, errs)
		}
		return out + errs
	}
	says := func(text string, words ...string) {
		t.Helper()
		for _, word := range words {
			if !strings.Contains(text, word) {
				t.Errorf("there is no %q in\n%s", word, text)
			}
		}
	}

	says(poiseCall(exitOK, "plan", conf, "--live"), "nothing changes\nhash ")
	says(poiseCall(exitOK, "ctl", "apply", conf), "nothing changes")
	text := poiseCall(exitChanges, "plan", next, "--live")
	says(text, "generation 1 → 2", "- route     one", "+ route     two")
	hash := regexp.MustCompile(`(?m)^hash (\w+)$`).FindStringSubmatch(text)[1]
	var plan poise.Plan
	if err := json.Unmarshal([]byte(poiseCall(exitChanges, "ctl", "plan", next, "-o", "json")), &plan); err != nil || plan.Hash != hash || plan.Generation != 1 {
		t.Errorf("%v, %s of generation %d, want %s", err, plan.Hash, plan.Generation, hash)
	}

	says(poiseCall(exitFailed, "ctl", "apply", next, "--plan", "0123"), "the plan 0123 is out of date", "generation 1", "poise plan "+next+" --live")
	says(poiseCall(exitOK, "ctl", "status"), "generation 1 of poise.yaml")
	says(poiseCall(exitOK, "ctl", "apply", next, "--plan", hash), "+ route     two", "applied: generation 2", "in no file")
	says(poiseCall(exitOK, "ctl", "status"), "generation 2 of the admin API")
	says(poiseCall(exitOK, "ctl", "routes"), "two")
	says(poiseCall(exitFailed, "ctl", "apply", next, "--plan", hash), "out of date", "generation 2")
	p.say(`configuration applied.*reload="admin API, by zhao"`)

	// A reload of the file takes its place, and values are the file's again.
	says(poiseCall(exitOK, "ctl", "config"), "admin.tokens[0].token", "(secret)", "routes[0].name", "the admin API", "timeouts.idle", "default")
	write(t, conf, planned(a.URL, "three"))
	p.say(`configuration applied.*reload="the file changed"`)
	says(poiseCall(exitOK, "ctl", "status"), "generation 3 of poise.yaml")
	says(poiseCall(exitOK, "ctl", "config"), "poise.yaml:8:")

	// The listeners of the operator's side are not changed over themselves, and the plan says so.
	write(t, next, planned(a.URL, "four")+"status: \"127.0.0.1:0\"\n")
	says(poiseCall(exitChanges, "plan", next, "--live"), "note: status stays as it is")

	// Mistakes have their place in the file, whoever finds them.
	write(t, next, strings.Replace(planned(a.URL, "four"), "service: users", "service: usres", 1))
	says(poiseCall(exitUsage, "ctl", "apply", next), next+":8:32: routes[0].service: ", "did you mean users?")
	write(t, next, strings.Replace(planned("https://127.0.0.1:1", "four"), `:1"]`, `:1"], tls: {ca: missing.pem}`, 1))
	says(poiseCall(exitUsage, "ctl", "apply", next), next+":7:", "services.users.tls.ca: ", filepath.Join(dir, "missing.pem"))
	if err := os.Remove(filepath.Join(dir, "secret")); err != nil {
		t.Fatal(err)
	}
	code, _, errs := call("plan", conf, "--live", "--server", server)
	if code != exitUsage || !strings.HasPrefix(errs, conf+":5:") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestLiveCommands: what plan --live refuses, and commands of ctl that other commands have as well.
func TestLiveCommands(t *testing.T) {
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), goodFile)
	if code, _, errs := call("plan", conf, "other.yaml", "--live"); code != exitUsage || !strings.Contains(errs, "leave out other.yaml") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := call("plan", conf, "--live", "--server", "http://127.0.0.1:1"); code != exitFailed || !strings.Contains(errs, "no admin API at http://127.0.0.1:1") {
		t.Errorf("exit %d: %s", code, errs)
	}
	a := endpoint(t, "a")
	p := ready(t, "proxy", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--to", a.URL)
	server := p.say(`poise: admin on (\S+)`)[1]
	if code, out, errs := call("ctl", "explain", "GET http://shop.example/cart", "-H", "A: b", "--server", server); code != exitOK || !strings.Contains(out, a.URL) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := call("ctl", "config", "--server", server, "-o", "json"); code != exitOK || !strings.Contains(out, `"origin": "flags"`) {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestReloadIsWhole: a reload whose listener for probes cannot be opened changes nothing else either.
func TestReloadIsWhole(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, "127.0.0.1:0")+"admin: {address: \"127.0.0.1:0\"}\n")
	p := ready(t, "run", "-c", conf)
	server := p.say(`poise: admin on (\S+)`)[1]
	write(t, conf, file(b.URL, "127.0.0.1:0")+"admin: {address: \"127.0.0.1:0\", profiles: true}\nstatus: \""+taken.Addr().String()+"\"\n")
	p.say("the last good configuration stays.*status: cannot listen on " + taken.Addr().String())
	leads(t, p.urls[0], "a")
	if code, out, errs := call("ctl", "status", "--server", server); code != exitOK || !strings.Contains(out, "generation 1 of poise.yaml") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	write(t, conf, file(b.URL, "127.0.0.1:0")+"admin: {address: \"127.0.0.1:0\", profiles: true}\n")
	p.say("configuration applied")
	leads(t, p.urls[0], "b")
	if text, err := fetch(server + "/debug/pprof/goroutine?debug=1"); err != nil || !strings.Contains(text, "goroutine") {
		t.Errorf("%v %.100s", err, text)
	}
}
