//go:build unix

package main

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/poise-lb/poise/admin"
)

// TestCtlUpgrade: an upgrade over the admin API says what became of it. One whose new process fails
// costs nothing and says why; one that succeeds says which process serves, also to a client whose
// connection is to the process that ends; a second one at a time is refused.
func TestCtlUpgrade(t *testing.T) {
	a := endpoint(t, "a")
	conf := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, "127.0.0.1:0")+"admin: {address: \"127.0.0.1:0\"}\n")
	path := install(t)
	l := begin(t, path, "", "run", "-c", conf)
	server := l.say(`poise: admin on (\S+)`)[1]
	ctl := func(args ...string) (int, string, string) {
		return call(append([]string{"ctl", "--server", server}, args...)...)
	}

	script(t, path, "echo out of luck >&2; exit 3")
	code, out, errs := ctl("upgrade")
	if code != exitFailed || out != "" || !strings.Contains(errs, "the upgrade failed, the process goes on as before") || !strings.Contains(errs, "exit status 3; its last words: out of luck") {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	leads(t, l.urls[0], "a")

	script(t, path, "echo here $$ >&2; exec sleep 600")
	first := make(chan string, 1)
	go func() {
		_, _, errs := ctl("upgrade")
		first <- errs
	}()
	script := l.say(`here (\d+)`)[1]
	if code, _, errs := ctl("upgrade"); code != exitFailed || !strings.Contains(errs, "no upgrade: one is under way (status 409)") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if err := syscall.Kill(pidOf(t, script), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if errs := <-first; !strings.Contains(errs, "signal: killed; its last words: here") {
		t.Errorf("%q", errs)
	}

	replace(t, path, binary)
	for n := range 5 {
		old := l.pid
		code, out, errs := ctl("upgrade", "-o", "json")
		var done admin.Upgraded
		if err := json.Unmarshal([]byte(out), &done); code != exitOK || err != nil {
			t.Fatalf("upgrade %d: exit %d, %v %q %q", n, code, err, out, errs)
		}
		if l.pid = done.PID; l.pid == old || !runs(l.pid) {
			t.Errorf("process %d after %d", l.pid, old)
		}
		gone(t, old)
		leads(t, l.urls[0], "a")
	}
	l.kill(syscall.SIGTERM)
	l.exit(0)
	if !strings.Contains(l.out.String(), `"asked by"=admin`) {
		t.Error("the log does not say who asked for it")
	}
}

// A command that is for trying Poise out cannot be upgraded, and an embedder's API says so itself.
func TestCtlUpgradeOfTheDemo(t *testing.T) {
	p := ready(t, "demo", "--no-load", "--admin", "127.0.0.1:0")
	server := p.say(`poise: admin on (\S+)`)[1]
	if code, _, errs := call("ctl", "--server", server, "upgrade"); code != exitFailed || !strings.Contains(errs, "no upgrade: this command is for trying Poise out (status 409)") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func pidOf(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
