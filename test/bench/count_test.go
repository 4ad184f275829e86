package bench

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"

	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

// Counting instructions: what a processor takes for a request depends on what else the
// machine does, and differs by several percent from run to run. How many instructions a
// program executes for it does not, and valgrind counts them, for each function.

// countedFew and countedMany are the requests of two runs: their difference leaves out
// what it costs to start and to stop.
const countedFew, countedMany = 1000, 9000

// countedConnections keep the program busy: with one it would sleep between two requests.
const countedConnections = 4

// waiting are the functions by which Go's scheduler looks for work and goes to sleep. What
// they cost depends on how long the load keeps the program waiting.
var waiting = regexp.MustCompile(`^runtime\.(findRunnable|stealWork|netpoll|nanotime|lock2|unlock2|futex|usleep|procyield|osyield|sysmon|retake|` +
	`checkTimers|pidle|pMask|wakep|mPark|note|stopm|startm|schedule|injectglist|park_m|\(\*timers\)|\(\*guintptr\)|check|acquirep|releasep|handoffp|` +
	`exitsyscall|entersyscall|reentersyscall|casgstatus|save|gfget|gfput)`)

// A scenario is a kind of request to count.
type scenario struct {
	name   string
	scheme string
	size   int         // of the response's content, in bytes
	renews bool        // each request comes over a new connection
	on     rig.Operate // of the operator's side; a name of a file or an address says only that it is on
}

var scenarios = []scenario{
	{name: "http", scheme: "http", size: 60},
	{name: "https", scheme: "https", size: 60},
	{name: "16 KiB", scheme: "http", size: 16 << 10},
	{name: "new connections", scheme: "http", size: 60, renews: true},
	{name: "access log", scheme: "http", size: 60, on: rig.Operate{Log: "on"}},
	{name: "access log, metrics, traceparent", scheme: "http", size: 60, on: rig.Operate{Log: "on", Status: "on", Trace: true}},
	{name: "spans of 1 % of traces", scheme: "http", size: 60, on: rig.Operate{Spans: "on"}},
}

// TestInstructions compares the instructions per request with those of an older build, given
// by -before, on event loops and goroutines. It does not see what the kernel does: TestBefore
// does.
func TestInstructions(t *testing.T) {
	if *beforeFlag == "" {
		t.Skip("without -before")
	}
	c := &counting{T: t, valgrind: rig.Program(t, "valgrind")}
	c.cert, c.key = testcert.New(t, testcert.Template{}).Files(t)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.FormValue("size"))
		w.Write(make([]byte, size))
	}))
	defer endpoint.Close()
	c.endpoint = strings.TrimPrefix(endpoint.URL, "http://")
	programs := [2]string{*beforeFlag, rig.Poise(t)}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer func() { // also when a program does not start
		w.Flush()
		t.Log("\n" + b.String())
	}()
	fmt.Fprintln(w, "\tbefore\tnow\tratio\t")
	for _, engine := range []string{"loop", "goroutine"} {
		for _, s := range scenarios {
			if !c.knows(*beforeFlag, s) {
				fmt.Fprintf(w, "%s, %s\tit knows no such configuration\t\t\t\n", engine, s.name)
				continue
			}
			var cost [2]float64
			for i, program := range programs {
				few := c.count(program, engine, s, countedFew)
				many := c.count(program, engine, s, countedMany)
				cost[i] = float64(many-few) / (countedMany - countedFew)
			}
			ratio := cost[1] / cost[0]
			fmt.Fprintf(w, "%s, %s\t%.0f\t%.0f\t%.3f\t\n", engine, s.name, cost[0], cost[1], ratio)
			if ratio > costlier {
				t.Errorf("%s, %s takes %.3f of the instructions of before, want %.2f at most", engine, s.name, ratio, costlier)
			}
		}
	}
}

type counting struct {
	*testing.T
	valgrind, cert, key, endpoint string
}

// knows reports whether a program, which may be old, takes the configuration of s.
func (c *counting) knows(program string, s scenario) bool {
	path := filepath.Join(c.TempDir(), "poise.yaml")
	p := &proxy{name: "loop", scheme: s.scheme, address: rig.Address(c.T)}
	rig.Write(c.T, path, fileOf(p, c.cert, c.key, c.endpoint)+s.on.Config())
	out, err := exec.Command(program, "check", "-c", path).CombinedOutput()
	return err == nil || !strings.Contains(string(out), "unknown key")
}

// count is how many instructions a program executes in all when it is asked n times.
func (c *counting) count(program, engine string, s scenario, n int) uint64 {
	folder := c.TempDir()
	p := &proxy{name: engine, scheme: s.scheme, address: rig.Address(c.T)}
	config, counts := filepath.Join(folder, "poise.yaml"), filepath.Join(folder, "counts")
	text := fileOf(p, c.cert, c.key, c.endpoint)
	on := s.on
	if on.Log != "" {
		on.Log = filepath.Join(folder, "access.log")
	}
	if on.Status != "" {
		on.Status = rig.Address(c.T)
	}
	if on.Spans != "" {
		on.Spans, _ = rig.Spans(c.T)
	}
	rig.Write(c.T, config, text+on.Config())
	p.process = rig.Start(c.T, rig.Command{Path: c.valgrind, Core: proxyCore, Env: []string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"},
		Args: []string{"--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=" + counts, program, "run", "--engine", engine, "-c", config}})
	p.process.Listens(p.address)
	failed := make(chan error, countedConnections)
	for range countedConnections {
		go func() { failed <- askInTurn(p, s, n/countedConnections) }()
	}
	for range countedConnections {
		if err := <-failed; err != nil {
			c.Fatal(err)
		}
	}
	p.process.Signal(syscall.SIGTERM)
	p.process.Exit()
	return sumOf(c.T, counts)
}

// askInTurn makes n requests, one after the other.
func askInTurn(p *proxy, s scenario, n int) error {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // without HTTP/2
		DisableKeepAlives: s.renews,
	}}
	defer client.CloseIdleConnections()
	for range n {
		a, err := client.Get(fmt.Sprintf("%s://%s/some/path?size=%d", s.scheme, p.address, s.size))
		if err != nil {
			return err
		}
		got, err := io.Copy(io.Discard, a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != http.StatusOK || got != int64(s.size) {
			return fmt.Errorf("status %d, %d bytes, %v", a.StatusCode, got, err)
		}
	}
	return nil
}

// sumOf adds up a file of cachegrind, without the functions in waiting: a line "fn=NAME" is
// followed by lines of a number of a source line and the instructions for it.
func sumOf(t *testing.T, path string) (sum uint64) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	counts := false
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "fn="); ok {
			counts = !waiting.MatchString(name)
			continue
		}
		if !counts || line[0] < '0' || line[0] > '9' {
			continue
		}
		_, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatalf("%s: %q", path, line)
		}
		sum += n
	}
	if sum == 0 {
		t.Fatalf("%s counts nothing", path)
	}
	return sum
}
