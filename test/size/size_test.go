package size

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	// What the programs are built of: a result is cached only as long as it has not changed.
	_ "github.com/poise-lb/poise"
	_ "github.com/poise-lb/poise/sources"
)

// ratioMax is what a program with a static list may be of one of httputil.ReverseProxy. It was
// 1.19 before operators had a side: what they see and say (overrides, events, formats of the
// access log, the handover to another process) is chosen by the configuration, or by calls at
// run time, so every program has it: 1.25. So it is with what endpoints may want of a service:
// HTTP/2, certificates of our own, names and SPIFFE ids to verify; budgets of retries, hedges; queues,
// limits, outliers, zones, lanes, splits, load reports, shadows.
const ratioMax = 1.41

// build returns a program of testdata, stripped. The names of its functions are in it
// nevertheless, as the runtime needs them for stacks.
func build(t *testing.T, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "GOPROXY=off") // what this test was built with is at hand
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// has reports whether methods of a package are in a program. (A package that is imported and
// not used leaves the initialization of its variables.)
func has(program []byte, pkg string) bool { return bytes.Contains(program, []byte(pkg+".(*")) }

const poise = "github.com/poise-lb/poise"

// onlyByName are packages that a program has only if it asks for what they do.
var onlyByName = []string{
	poise + "/discovery/consul", poise + "/discovery/etcd", poise + "/discovery/eureka", poise + "/discovery/kubernetes",
	poise + "/discovery/nacos", poise + "/discovery/zookeeper", "github.com/go-zookeeper/zk",
	poise + "/configfile", "github.com/goccy/go-yaml/parser", // configuration and lists in YAML
	poise + "/internal/engine/loop", // Serve
	poise + "/register", "regexp", "text/template", "encoding/xml",
}

func TestProgramsLinkWhatTheyName(t *testing.T) {
	if testing.Short() {
		t.Skip("builds three programs")
	}
	reverse, static, consul := build(t, "reverseproxy"), build(t, "static"), build(t, "consul")
	for _, pkg := range onlyByName {
		if has(static, pkg) {
			t.Errorf("a program with a static list has functions of %s", pkg)
		}
		if has(consul, pkg) && !strings.HasSuffix(pkg, "/consul") {
			t.Errorf("a program with Consul has functions of %s", pkg)
		}
	}
	if !has(static, poise+"/internal/core") || !has(consul, onlyByName[0]) {
		t.Error("names of functions are not found, so this test sees nothing")
	}
	ratio := float64(len(static)) / float64(len(reverse))
	t.Logf("ReverseProxy %d bytes, static list %d (%.3f), Consul %d (%.3f)", len(reverse), len(static), ratio, len(consul), float64(len(consul))/float64(len(reverse)))
	if ratio > ratioMax {
		t.Errorf("a program with a static list is %.3f times one of ReverseProxy, more than %.2f", ratio, ratioMax)
	}
}
