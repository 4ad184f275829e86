// Package rig starts real programs for the suites that judge Poise from outside: poise
// itself, nginx, wrk and curl. Everything listens on 127.0.0.1, is ended by its process
// id when the test ends, and says what it printed when the test failed.
package rig

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
)

// folders are looked through after $PATH: not every shell has those of the administrator.
var folders = []string{"/usr/sbin", "/usr/local/sbin", "/sbin"}

// Program finds an installed program, or ends the test with what to do about it.
func Program(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range folders {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed: run: apt-get install nginx-light wrk curl", name)
	return ""
}

// Poise builds the command and returns its path, which is valid until the test ends.
func Poise(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "poise")
	build := exec.Command("go", "build", "-o", path, "github.com/poise-lb/poise/cmd/poise")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// Ports are drawn from below the range that systems take the ports of outgoing
// connections from: one of those would otherwise be in the way sooner or later, above all
// when a server is stopped and is to come back.
const (
	portMin = 20_000
	portMax = 32_000
)

// drawn counts the ports that were drawn, from a random start: what is free stays free until
// its server starts, so that only a count keeps two servers of a test apart.
var drawn = func() *atomic.Uint32 {
	n := &atomic.Uint32{}
	n.Store(rand.Uint32N(portMax - portMin))
	return n
}()

// Address returns a free address on 127.0.0.1, another one at each call.
func Address(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(portMin+drawn.Add(1)%(portMax-portMin))))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// Write puts text at path in one step, as careful editors do.
func Write(t testing.TB, path, text string) {
	t.Helper()
	aside := fmt.Sprintf("%s.%d.new", path, os.Getpid())
	if err := os.WriteFile(aside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
}
