package bench

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

var (
	beforeFlag = flag.String("before", "", "path of an older poise to compare with")
	roundsFlag = flag.Int("rounds", 12, "turns of each program in that comparison")
)

// costlier is what a change may cost, of the cost before it.
const costlier = 1.02

// TestBefore compares the CPU per request with that of an older build, given by -before:
// plain and TLS, on event loops and goroutines. Where a process happens to lie in memory is
// worth several percent to it for as long as it lives, so each round starts both programs
// anew, in turns; the least of each one's rounds is compared, and the median of the rounds'
// ratios. Both must be worse for the test to fail.
func TestBefore(t *testing.T) {
	if *beforeFlag == "" {
		t.Skip("without -before")
	}
	endpoint := serveEndpoint(t)
	cert, key := testcert.New(t, testcert.Template{}).Files(t)
	programs := [2]string{*beforeFlag, rig.Poise(t)}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tbefore\tnow\tratio\tmedian of ratios\t")
	for _, engine := range []string{"loop", "goroutine"} {
		for _, scheme := range []string{"http", "https"} {
			var least [2]time.Duration
			var ratios []float64
			for round := range *roundsFlag {
				var cost [2]time.Duration
				for i := range programs {
					which := (round + i) % 2
					cost[which] = costOnce(t, programs[which], engine, scheme, cert, key, endpoint)
					if least[which] == 0 || cost[which] < least[which] {
						least[which] = cost[which]
					}
				}
				ratios = append(ratios, float64(cost[1])/float64(cost[0]))
			}
			slices.Sort(ratios)
			ratio := float64(least[1]) / float64(least[0])
			fmt.Fprintf(w, "%s, %s\t%.2f µs\t%.2f µs\t%.3f\t%.3f\t\n", engine, scheme,
				float64(least[0])/1e3, float64(least[1])/1e3, ratio, ratios[len(ratios)/2])
			if median := ratios[len(ratios)/2]; min(ratio, median) > costlier {
				t.Errorf("%s, %s costs %.3f of before, in the median of rounds %.3f, want %.2f at most", engine, scheme, ratio, median, costlier)
			}
		}
	}
	w.Flush()
	t.Log("\n" + b.String())
}

// costOnce starts a program, measures it and stops it.
func costOnce(t *testing.T, program, engine, scheme, cert, key, endpoint string) time.Duration {
	p := &proxy{name: engine + ", " + scheme, scheme: scheme, address: rig.Address(t)}
	p.process = startFile(t, program, engine, fileOf(p, cert, key, endpoint))
	p.process.Listens(p.address)
	for range 2 {
		p.measure(t)
	}
	p.process.Signal(syscall.SIGTERM)
	p.process.Exit()
	return p.cost
}

func fileOf(p *proxy, cert, key, endpoint string) string {
	tls := ""
	if p.scheme == "https" {
		tls = fmt.Sprintf("    tls: {certificates: [{cert: %s, key: %s}]}\n", cert, key)
	}
	return fmt.Sprintf("version: 1\nlisten:\n  - address: %s\n%sservices:\n  all: {endpoints: [\"http://%s\"]}\nroutes:\n  - {service: all}\n", p.address, tls, endpoint)
}

func startFile(t *testing.T, program, engine, config string) *rig.Process {
	path := filepath.Join(t.TempDir(), "poise.yaml")
	rig.Write(t, path, config)
	return rig.Start(t, rig.Command{Path: program, Core: proxyCore, Env: []string{"GOMAXPROCS=1"},
		Args: []string{"run", "--engine", engine, "-c", path}})
}
