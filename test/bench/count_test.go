package bench

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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

// countedMore is what a change may add: less than TestBefore lets pass, since there is no noise.
const countedMore = 1.02

// waiting are the functions by which Go's scheduler looks for work and goes to sleep. What
// they cost depends on how long the load keeps the program waiting.
var waiting = regexp.MustCompile(`^runtime\.(findRunnable|stealWork|netpoll|nanotime|lock2|unlock2|futex|usleep|procyield|osyield|sysmon|retake|` +
	`checkTimers|pidle|pMask|wakep|mPark|note|stopm|startm|schedule|injectglist|park_m|\(\*timers\)|\(\*guintptr\)|check|acquirep|releasep|handoffp|` +
	`exitsyscall|entersyscall|reentersyscall|casgstatus|save|gfget|gfput)`)

// TestInstructions compares the instructions per request with those of an older build, given
// by -before: plain and TLS, on event loops and goroutines. It does not see what the kernel
// does: TestBefore does.
func TestInstructions(t *testing.T) {
	if *beforeFlag == "" {
		t.Skip("without -before")
	}
	valgrind := rig.Program(t, "valgrind")
	endpoint := serveEndpoint(t)
	cert, key := testcert.New(t, testcert.Template{}).Files(t)
	programs := [2]string{*beforeFlag, rig.Poise(t)}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tbefore\tnow\tratio\t")
	for _, engine := range []string{"loop", "goroutine"} {
		for _, scheme := range []string{"http", "https"} {
			var cost [2]float64
			for i, program := range programs {
				few := count(t, valgrind, program, engine, scheme, cert, key, endpoint, countedFew)
				many := count(t, valgrind, program, engine, scheme, cert, key, endpoint, countedMany)
				cost[i] = float64(many-few) / (countedMany - countedFew)
			}
			ratio := cost[1] / cost[0]
			fmt.Fprintf(w, "%s, %s\t%.0f\t%.0f\t%.3f\t\n", engine, scheme, cost[0], cost[1], ratio)
			if ratio > countedMore {
				t.Errorf("%s, %s takes %.3f of the instructions of before, want %.2f at most", engine, scheme, ratio, countedMore)
			}
		}
	}
	w.Flush()
	t.Log("\n" + b.String())
}

// count is how many instructions a program executes in all when it is asked n times.
func count(t *testing.T, valgrind, program, engine, scheme, cert, key, endpoint string, n int) uint64 {
	folder := t.TempDir()
	p := &proxy{name: engine, scheme: scheme, address: rig.Address(t)}
	config, counts := filepath.Join(folder, "poise.yaml"), filepath.Join(folder, "counts")
	rig.Write(t, config, fileOf(p, cert, key, endpoint))
	p.process = rig.Start(t, rig.Command{Path: valgrind, Core: proxyCore, Env: []string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"},
		Args: []string{"--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=" + counts, program, "run", "--engine", engine, "-c", config}})
	p.process.Listens(p.address)
	failed := make(chan error, countedConnections)
	for range countedConnections {
		go func() { failed <- askInTurn(p, n/countedConnections) }()
	}
	for range countedConnections {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	p.process.Signal(syscall.SIGTERM)
	p.process.Exit()
	return sumOf(t, counts)
}

// askInTurn makes n requests over one connection.
func askInTurn(p *proxy, n int) error {
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		return err
	}
	defer c.Close()
	if p.scheme == "https" {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	r := bufio.NewReader(c)
	for range n {
		fmt.Fprintf(c, "GET /some/path?a=1 HTTP/1.1\r\nHost: %s\r\nUser-Agent: count/1.0\r\nAccept: */*\r\n\r\n", p.address)
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, a.Body); err != nil {
			return err
		}
		if a.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", a.StatusCode)
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
