package grpctest

// The example of docs/grpc.md: the page shows the files of example, and they do what it says.

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPageShowsTheExample(t *testing.T) {
	for _, page := range []string{"../../docs/grpc.md", "../../docs/grpc.zh.md"} {
		text := read(t, page)
		for _, file := range []string{"server/main.go", "client/main.go", "poise.yaml"} {
			if !strings.Contains(text, "\n"+read(t, filepath.Join("example", file))+"```\n") {
				t.Errorf("%s does not show example/%s as it is", page, file)
			}
		}
	}
}

func TestExample(t *testing.T) {
	poised, dir := rig.Poise(t), t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "./example/server", "./example/client")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	front, one, two := rig.Address(t), rig.Address(t), rig.Address(t)
	first := rig.Start(t, rig.Command{Path: filepath.Join(dir, "server"), Args: []string{"-listen", one}})
	rig.Start(t, rig.Command{Path: filepath.Join(dir, "server"), Args: []string{"-listen", two}})
	config := strings.NewReplacer("127.0.0.1:8080", front, "127.0.0.1:9001", one, "127.0.0.1:9002", two).Replace(read(t, "example/poise.yaml"))
	file := filepath.Join(dir, "poise.yaml")
	rig.Write(t, file, strings.Replace(config, "health: grpc shop.Cart", "health: {check: grpc shop.Cart, interval: 500ms, healthy_after: 1}", 1))
	p := rig.Start(t, rig.Command{Path: poised, Args: []string{"run", "-c", file}})
	p.Await("poise: ready on")

	call := func() []string {
		t.Helper()
		out, err := exec.Command(filepath.Join(dir, "client"), "-to", front).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	at := func(want ...string) bool {
		lines := call()
		for _, w := range want {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, " is in the cart at "+w) }) {
				return false
			}
		}
		return len(lines) == 4 && strings.HasPrefix(lines[3], "a spoon")
	}
	for !at(one, two) { // until both are probed, within the time of the test
	}
	first.Signal(syscall.SIGTERM)
	for range 20 {
		call() // none fails while the server goes
	}
	if code := first.Exit(); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
	if !at(two) || at(one) {
		t.Error("calls go to the server that has ended")
	}
}
