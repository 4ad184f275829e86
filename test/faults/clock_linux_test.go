package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// The clock of a program that is built by jumpy jumps: by so much, from so long after its
// start. The monotonic clock, as always, does not.
var jumps = []struct{ from, by time.Duration }{
	{3 * time.Second, time.Hour},
	{5 * time.Second, -time.Hour},
	{7 * time.Second, 24 * time.Hour},
	{9 * time.Second, 0},
}

// jumpy builds poise with a package time whose Now jumps, which is made of the installed
// one: no system call is needed, and no other program notices.
func jumpy(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const read = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), read) != 1 {
		t.Fatalf("time.Now is another one than this test knows: see %s", source)
	}
	var jump strings.Builder
	jump.WriteString("\nfunc jumped(mono int64) int64 {\n\tswitch since := mono - startNano; {\n")
	for i := len(jumps) - 1; i >= 0; i-- {
		fmt.Fprintf(&jump, "\tcase since >= %d:\n\t\treturn %d\n", jumps[i].from, int64(jumps[i].by/time.Second))
	}
	jump.WriteString("\t}\n\treturn 0\n}\n")
	dir := t.TempDir()
	changed, overlay, binary := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "poise")
	rig.Write(t, changed, strings.Replace(string(text), read, read+"\tsec += jumped(mono)\n", 1)+jump.String())
	plan, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	rig.Write(t, overlay, string(plan))
	build := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "github.com/poise-lb/poise/cmd/poise")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// TestClockThatJumps: while the wall clock jumps by an hour and a day, back and forth, no
// request fails, no endpoint is ejected, and one that is killed leaves and returns in time.
func TestClockThatJumps(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute, and builds the standard library")
	}
	t.Parallel()
	program := jumpy(t)
	var endpoints []*endpoint
	var list strings.Builder
	for range 3 {
		e := &endpoint{t: t, address: rig.Address(t)}
		e.start()
		endpoints = append(endpoints, e)
		fmt.Fprintf(&list, "      - http://%s\n", e.address)
	}
	listen, dir := rig.Address(t), t.TempDir()
	path, access := filepath.Join(dir, "poise.yaml"), filepath.Join(dir, "access.log")
	rig.Write(t, path, fmt.Sprintf(`version: 1
listen:
  - address: %s
access_log: %s
services:
  all:
    health: {check: HEAD /health, interval: 500ms, unhealthy_after: 2, healthy_after: 1}
    endpoints:
%sroutes:
  - match: {path: /**}
    service: all
`, listen, access, list.String()))
	p := rig.Start(t, rig.Command{Path: program, Args: []string{"run", "-c", path}})
	p.Listens(listen)
	began := time.Now()
	l := startLoad(listen, rate)
	until := func(d time.Duration) { time.Sleep(time.Until(began.Add(d))) }
	until(10 * time.Second)
	if n := p.Said("ejected"); n > 0 {
		t.Errorf("%d lines of the log speak of an ejection while the clock jumped", n)
	}
	if p.Said("T") == 0 || endpoints[0].said.count("ready") != 1 {
		t.Error("nothing was seen: this test measures nothing")
	}
	endpoints[0].now.Kill()
	until(12 * time.Second)
	if p.Said("ejected") == 0 {
		t.Error("an endpoint that was killed is not ejected after 2 s")
	}
	endpoints[0].start()
	until(14 * time.Second)
	back := l.now() - time.Second
	served := false
	for _, o := range l.end() {
		if o.failed() && !o.post {
			t.Errorf("GET at %.2f s: %d %s %s", o.at.Seconds(), o.status, o.from, o.why)
		}
		served = served || o.from == endpoints[0].address && o.at > back
	}
	if !served {
		t.Error("the endpoint that returned serves nothing after 2 s")
	}
	times(t, access)
}

// times looks whether any line of the access log has a duration that is none.
func times(t *testing.T, access string) {
	t.Helper()
	text, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	days := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if stamp, ok := entry["time"].(string); ok && len(stamp) > 13 {
			days[stamp[:13]] = true
		}
		for key, v := range entry {
			if n, ok := v.(float64); ok && n < 0 {
				t.Errorf("%s is %v: %s", key, n, line)
			}
		}
	}
	if len(days) < 3 {
		t.Errorf("the access log knows the hours %v: the clock has not jumped", days)
	}
}
