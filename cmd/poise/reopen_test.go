//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestRotationUnderLoad: files are renamed while clients are served, each time with SIGUSR1. Every
// request has one line, in one of the files, and no line is torn.
func TestRotationUnderLoad(t *testing.T) {
	const rotations, clients = 8, 4
	a := endpoint(t, "a")
	dir := t.TempDir()
	log := filepath.Join(dir, "access.log")
	path := write(t, filepath.Join(dir, "poise.yaml"), file(a.URL, "127.0.0.1:0")+"access_log: {path: access.log, buffer: 65536}\n")
	p := ready(t, "run", "-c", path)
	var served atomic.Int64
	var over atomic.Bool
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := 0; !over.Load(); n++ {
				if _, err := fetchWith(client, fmt.Sprintf("%s/%d-%d", p.urls[0], i, n)); err != nil {
					t.Error(err)
					return
				}
				served.Add(1)
			}
		})
	}
	files := []string{log}
	for i := range rotations {
		from := served.Load()
		linesOf(t, log)
		eventually(t, "no requests are served", func() bool { return served.Load() >= from+50 || t.Failed() })
		moved := fmt.Sprintf("%s.%d", log, i)
		if err := os.Rename(log, moved); err != nil {
			t.Fatal(err)
		}
		files = append(files, moved)
		p.signal(syscall.SIGUSR1)
	}
	linesOf(t, log)
	over.Store(true)
	group.Wait()
	p.signal(syscall.SIGTERM)
	p.exit(0)
	seen := make(map[string]bool)
	for _, name := range files {
		for _, line := range linesOf(t, name) {
			var l struct{ Path string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("%s: a torn line: %q", name, line)
			}
			if seen[l.Path] {
				t.Errorf("%s: twice", l.Path)
			}
			seen[l.Path] = true
		}
	}
	if int64(len(seen)) != served.Load() || len(seen) < rotations {
		t.Errorf("%d requests were served, %d are in the log", served.Load(), len(seen))
	}
}

// lines waits until the file has some, and returns them.
func linesOf(t *testing.T, name string) (all []string) {
	t.Helper()
	eventually(t, name+" has no line", func() bool {
		b, _ := os.ReadFile(name)
		text, _ := strings.CutSuffix(string(b), "\n")
		all = strings.Split(text, "\n")
		return len(b) > 0
	})
	return all
}

// eventually waits until ok, and says what is missing if that takes too long.
func eventually(t *testing.T, missing string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(missing)
		}
	}
}

// TestReopenThatFails: the old file stays in use, the log says so, and the process goes on.
func TestReopenThatFails(t *testing.T) {
	a := endpoint(t, "a")
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	path := write(t, filepath.Join(dir, "poise.yaml"), file(a.URL, "127.0.0.1:0")+"access_log: {path: logs/access.log, mode: 0604}\n")
	p := ready(t, "run", "-c", path)
	fetch(p.urls[0] + "/one")
	linesOf(t, filepath.Join(logs, "access.log"))
	if info, err := os.Stat(filepath.Join(logs, "access.log")); err != nil || info.Mode() != 0o604 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	away := filepath.Join(dir, "away")
	if err := os.Rename(logs, away); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	p.say("access log cannot be opened")
	fetch(p.urls[0] + "/two")
	eventually(t, "no line in the file that was moved away", func() bool {
		return strings.Contains(strings.Join(linesOf(t, filepath.Join(away, "access.log")), "\n"), `"path":"/two"`)
	})
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no new file", func() bool { _, err := os.Stat(filepath.Join(logs, "access.log")); return err == nil })
	p.signal(syscall.SIGTERM)
	p.exit(0)
}
