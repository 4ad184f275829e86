//go:build linux

package peers

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

// A peer is a proxy that can be measured, Poise on one of its engines among them.
type peer struct {
	name    string
	install func(*kit) (version string, err error)     // an error: it is not to be had
	start   func(*testing.T, *kit, setup) *rig.Process // with one worker, on proxyCore
	cannot  func(setup) bool                           // nil: it can be set up for everything
	remarks string                                     // how it is configured, for the page
	only    bool                                       // measured only where a scenario names it
}

// peers in the order of tables. Poise comes first, one line for each engine; an engine that
// the command does not know is left out as a peer that is not installed is.
var peers = []peer{
	poise("loop"), poise("goroutine"), poiseLibrary,
	nginx, nginxUnstable, haproxy, haproxySplice, haproxyUnstable, haproxyUnstableSplice, envoy, caddy, reverse, floor,
}

// A setup is what a proxy is started for. Every peer turns it into its own configuration.
type setup struct {
	Listen    string
	Cert, Key string   // PEM files; empty: plain
	Endpoints []string // taken in turns, or as a peer does it by default
	Routes    int      // 0: one for all; else /r0/ to /r<n-1>/, all to the same endpoints
	Log       string   // file for the access log; empty: off
	Trace     bool     // Poise only: traceparent
	Spans     string   // Poise only: where spans of one trace in a hundred go; empty: none
	Status    string   // Poise only: address of the listener for metrics; empty: none
	Bodies    bool     // large ones: not to be written to disk on their way
	Upgrade   bool     // WebSockets
	Pool      int      // connections to each endpoint that may be kept, at least
	Collect   bool     // the library only: a garbage collection every second
	Multi     bool     // clients speak HTTP/2: by ALPN, without Cert by prior knowledge
	Inner     bool     // endpoints speak HTTP/2, by prior knowledge
	Calls     bool     // requests are calls of gRPC, for which nginx has another directive
}

// The processors: the stage has one, the proxy the other to itself.
const (
	stageCore = 1
	proxyCore = 2
)

// filesMax is the descriptors that a proxy may have: what a user has without asking.
const filesMax = 20_000

// file writes a configuration into a folder that lasts as long as the test.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// port is that of an address.
func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// again starts this test's program in a role.
func again(t *testing.T, role string, s setup, core int) *rig.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, "setup.json", string(text)) // 10,000 endpoints are too long for a variable
	return rig.Start(t, rig.Command{Path: self, Core: core,
		Env: []string{"GOMAXPROCS=1", roleVariable + "=" + role, setupVariable + "=" + path}})
}

// setupVariable names the file that has the setup of a role, as JSON.
const setupVariable = "POISE_BENCH_SETUP"

func givenSetup() (s setup, err error) {
	text, err := os.ReadFile(os.Getenv(setupVariable))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// Kinds of certificates.
const (
	ecdsa256 = "ECDSA P-256"
	rsa2048  = "RSA 2048"
)

// certificate makes a self-signed one.
func certificate(t *testing.T, kind string) (cert, key string) {
	t.Helper()
	of, ok := map[string]testcert.Kind{ecdsa256: testcert.P256, rsa2048: testcert.RSA2048}[kind]
	if !ok {
		t.Fatalf("no certificate %q", kind)
	}
	return testcert.New(t, testcert.Template{Names: []string{"bench.test"}, Kind: of}).Files(t)
}

// each joins what f says of 0 to n-1.
func each(n int, f func(i int) string) string {
	var b []byte
	for i := range n {
		b = fmt.Append(b, f(i))
	}
	return string(b)
}
