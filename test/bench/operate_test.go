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

	"github.com/poise-lb/poise/test/internal/rig"
)

var operateFlag = flag.Bool("operate", false, "measure what the operator's side costs: make operate")

// A part of the operator's side, and what it may cost on event loops, of a request with all off.
// Goroutines are measured for orientation.
type part struct {
	name string
	most float64
	on   func(t *testing.T) (o rig.Operate, check func()) // check looks whether it was in use
}

var parts = []part{
	{name: "access log, scraped metrics, traceparent", most: 1.08, on: func(t *testing.T) (rig.Operate, func()) {
		return rig.Operate{Log: filepath.Join(t.TempDir(), "access.log"), Status: rig.Address(t), Trace: true}, func() {}
	}},
	{name: "spans of 1 % of traces", most: 1.05, on: func(t *testing.T) (rig.Operate, func()) {
		url, got := rig.Spans(t)
		return rig.Operate{Spans: url}, func() {
			if got() == 0 {
				t.Error("no spans came")
			}
		}
	}},
}

// TestOperatorsSide compares the CPU per request of a poise with a part of the operator's side with one
// that has all off. As in TestBefore each round starts both anew, in turns; the least of each one's
// rounds is compared, and the median of the rounds' ratios, and both must be worse for the test to
// fail. Scrapes, log and spans are in the figure: their time is the process's.
func TestOperatorsSide(t *testing.T) {
	if !*operateFlag {
		t.Skip("takes minutes: make operate")
	}
	endpoint, program := serveEndpoint(t), rig.Poise(t)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\toff\ton\tratio\tmedian of ratios\tat most\t")
	for _, engine := range []string{"loop", "goroutine"} {
		for _, p := range parts {
			least, ratios := p.compare(t, program, engine, endpoint)
			ratio, median := float64(least[1])/float64(least[0]), ratios[len(ratios)/2]
			fmt.Fprintf(w, "%s, %s\t%.2f µs\t%.2f µs\t%.3f\t%.3f\t%.2f\t\n", engine, p.name, float64(least[0])/1e3, float64(least[1])/1e3, ratio, median, p.most)
			if engine == "loop" && min(ratio, median) > p.most {
				t.Errorf("%s costs %.3f, in the median of rounds %.3f, want %.2f at most", p.name, ratio, median, p.most)
			}
		}
	}
	w.Flush()
	t.Log("\n" + b.String())
}

// compare returns the least cost without and with a part, and the ratios of all rounds, in order.
func (p *part) compare(t *testing.T, program, engine, endpoint string) (least [2]time.Duration, ratios []float64) {
	for round := range *roundsFlag {
		var cost [2]time.Duration
		for i := range cost {
			which := (round + i) % 2
			cost[which] = p.once(t, program, engine, endpoint, which == 1)
			if cost[which] > 0 && (least[which] == 0 || cost[which] < least[which]) {
				least[which] = cost[which]
			}
		}
		if cost[0] > 0 && cost[1] > 0 {
			ratios = append(ratios, float64(cost[1])/float64(cost[0]))
		}
	}
	if len(ratios) == 0 {
		t.Fatalf("%s: no round in which the load got to work: the machine is too busy to measure anything", engine)
	}
	slices.Sort(ratios)
	return least, ratios
}

// once starts a poise, measures it and stops it; 0: the load did not get to work.
func (p *part) once(t *testing.T, program, engine, endpoint string, on bool) time.Duration {
	proxy := &proxy{name: engine, scheme: "http", address: rig.Address(t)}
	o, check, scrapes := rig.Operate{}, func() {}, func() int { return 1 }
	if on {
		o, check = p.on(t)
	}
	proxy.process = startFile(t, program, engine, fileOf(proxy, "", "", endpoint)+o.Config())
	proxy.process.Listens(proxy.address)
	if o.Status != "" {
		proxy.process.Listens(o.Status)
		scrapes = rig.Scrape(t, o.Status)
	}
	for range 2 {
		proxy.measure(t)
	}
	if scrapes() == 0 {
		t.Error("nothing was scraped")
	}
	proxy.process.Signal(syscall.SIGTERM)
	proxy.process.Exit()
	check()
	return proxy.cost
}
