package clients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/test/internal/rig"
)

// program finds a client, or ends the test with what to do about it.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	t.Fatalf("%s is not installed: run: make clients-deps", name)
	return ""
}

func TestClients(t *testing.T) {
	clients := map[string]func(*testing.T, *world, string){
		"curl": curl, "nghttp": nghttp, "h2load": h2load, "httpx": httpx, "node": node,
	}
	path := rig.Poise(t)
	for i, engine := range poise.Engines() {
		w := newWorld(t, path, engine)
		for way, base := range w.bases {
			if i > 0 && way != "ALPN, HTTP2 behind" && way != "prior knowledge, HTTP1 behind" {
				continue // the first engine has them all
			}
			for _, name := range slices.Sorted(maps.Keys(clients)) {
				client := clients[name]
				t.Run(engine+", "+name+", "+way, func(t *testing.T) { client(t, w, base) })
			}
		}
	}
}

// clientTime is how long one run of a client may take.
const clientTime = time.Minute

// says runs a client and returns what it prints on its standard output. Its exit code has to be 0, or
// if it leaves early, the one given.
func says(t *testing.T, codes []int, path string, args ...string) string {
	t.Helper()
	within, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	c := exec.CommandContext(within, path, args...)
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	code := c.ProcessState.ExitCode()
	for _, ok := range codes {
		if code == ok {
			return string(out)
		}
	}
	t.Errorf("%s %.300q: %v\n%s", filepath.Base(path), args, err, errs.String())
	return string(out)
}

var fine = []int{0}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func curl(t *testing.T, w *world, base string) {
	path := program(t, "curl")
	common := []string{"-sS", "--http2", "--cacert", w.ca}
	if strings.HasPrefix(base, "http://") {
		common = []string{"-sS", "--http2-prior-knowledge"}
	}
	run := func(codes []int, args ...string) string {
		t.Helper()
		return says(t, codes, path, append(common, args...)...)
	}
	const version = "%{http_version} %{http_code}\n"
	if got := run(fine, "-w", version, base+"/hello"); !regexp.MustCompile(`^hello by HTTP/[12]\.[01]\n2 200\n$`).MatchString(got) {
		t.Errorf("GET: %q", got)
	}
	head := filepath.Join(t.TempDir(), "head")
	if got := run(fine, "-D", head, "--data-binary", "@"+w.upload, base+"/echo"); hashOf(got) != w.sum {
		t.Errorf("POST: %d bytes came back of %d", len(got), uploadBytes)
	}
	if text, _ := os.ReadFile(head); !strings.Contains(strings.ToLower(string(text)), "sum: "+w.sum) {
		t.Errorf("no trailers in:\n%s", text)
	}
	if strings.HasPrefix(base, "https://") { // by prior knowledge curl 7.88 fails with its second request, whatever the server
		many := []string{"-Z", "--parallel-max", fmt.Sprint(parallel), "-w", version}
		for range parallel {
			many = append(many, "-o", "/dev/null", base+"/hello")
		}
		if got := run(fine, many...); got != strings.Repeat("2 200\n", parallel) {
			t.Errorf("%d at once: %q", parallel, got)
		}
	}
	if got := run(fine, "-o", "/dev/null", "-w", "%{http_code}", "-H", "X: "+strings.Repeat("x", headBytes), base+"/hello"); got != "431" {
		t.Errorf("a head that is too large: %q", got)
	}
	const timedOut = 28
	run([]int{timedOut}, "--max-time", "0.4", "-o", "/dev/null", "--limit-rate", "10M", base+"/endless")
	w.hasLeft(t, base)
}

func nghttp(t *testing.T, w *world, base string) {
	path := program(t, "nghttp")
	if got := says(t, fine, path, base+"/hello"); !strings.HasPrefix(got, "hello by HTTP/") {
		t.Errorf("GET: %q", got)
	}
	if got := says(t, fine, path, "-d", w.upload, "--no-content-length", base+"/echo"); hashOf(got) != w.sum {
		t.Errorf("POST: %d bytes came back of %d", len(got), uploadBytes)
	}
	small := filepath.Join(t.TempDir(), "small")
	rig.Write(t, small, "some content")
	got := says(t, fine, path, "-v", "-d", small, "--no-content-length", "--trailer", "check: seen it", base+"/echo")
	for _, want := range []string{"sum: " + hashOf("some content"), "seen: seen it"} {
		if !strings.Contains(got, want) {
			t.Errorf("no trailer %q in:\n%s", want, got)
		}
	}
	if got := says(t, fine, path, "-m", fmt.Sprint(parallel), base+"/hello"); strings.Count(got, "hello by HTTP/") != parallel {
		t.Errorf("%d at once: %q", parallel, got)
	}
	if got := says(t, fine, path, "-v", "-n", "-H", "x: "+strings.Repeat("x", headBytes), base+"/hello"); !strings.Contains(got, ":status: 431") {
		t.Errorf("a head that is too large:\n%s", got)
	}
	c := exec.Command(path, "-n", base+"/endless")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.hasBegun(t)
	c.Process.Kill()
	c.Wait()
	w.hasEnded(t, base)
}

func h2load(t *testing.T, w *world, base string) {
	path := program(t, "h2load")
	small := filepath.Join(t.TempDir(), "small")
	rig.Write(t, small, strings.Repeat("some content ", 1000))
	for name, args := range map[string][]string{
		"GET":  {"-n", "6000", "-c", "4", "-m", fmt.Sprint(parallel), base + "/hello"},
		"POST": {"-n", "600", "-c", "4", "-m", fmt.Sprint(parallel), "-d", small, base + "/echo"},
	} {
		n := args[1]
		got := says(t, fine, path, args...)
		want := fmt.Sprintf("requests: %[1]s total, %[1]s started, %[1]s done, %[1]s succeeded, 0 failed, 0 errored, 0 timeout\nstatus codes: %[1]s 2xx", n)
		if !strings.Contains(got, want) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// httpx and node are scripts that find out by themselves what is wrong. They end with a response of
// /endless.

func httpx(t *testing.T, w *world, base string) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "poise-clients", "bin", "python")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("httpx is not installed: run: make clients-deps")
	}
	script(t, w, base, path, "testdata/client.py")
}

func node(t *testing.T, w *world, base string) {
	script(t, w, base, program(t, "node"), "testdata/client.js")
}

func script(t *testing.T, w *world, base, path, name string) {
	t.Helper()
	if got := says(t, fine, path, name, base, w.ca, w.upload, fmt.Sprint(parallel), fmt.Sprint(headBytes)); !strings.HasSuffix(got, "all is well\n") {
		t.Errorf("it says:\n%s", got)
	}
	w.hasLeft(t, base)
}
