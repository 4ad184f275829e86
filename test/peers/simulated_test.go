//go:build linux

package peers

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/simulate"
	"github.com/poise-lb/poise/test/internal/queues"
)

// What poise simulate says is only worth something if real proxies behave so. docs/balancing.md has
// what they did, in real time and over real sockets, as make balance has measured it. Here the same
// situations run under the virtual clock:
//
//	docs/balancing.md   slow: Poise, p2c   p50 4.5 ms  p99 43.4 ms
//	simulate            slow: p2c          p50 3.9 ms  p99 44.6 ms     within a fifth: it agrees

// agreement is how far a simulated figure may be from the measured one.
const agreement = 0.2

// simulatedRows are the situations that are compared. The others end connections or fill them, which
// depends on more than policies.
var simulatedRows = []string{"even", "slow", "stall", "cold", "shared"}

// TestSimulatorAgrees compares medians and 99th percentiles, and the order of policies.
func TestSimulatorAgrees(t *testing.T) {
	measured := readBalancing(t, "../../docs/balancing.md")
	for _, name := range simulatedRows {
		row, _ := queues.RowOf(name)
		sc := simulated(&row)
		var tails [][2]time.Duration // measured and simulated, by policy
		for _, policy := range []string{"least_time", "peak_ewma", "least_connections", "p2c"} {
			was := measured[name][policy]
			if was == nil {
				t.Errorf("%s, %s: docs/balancing.md has no figures", name, policy)
				continue
			}
			p50, p99 := leastOf(t, sc, policy)
			t.Logf("%-7s%-18s p50 %v, simulated %v; p99 %v, simulated %v", name, policy, was.P50, p50, was.P99, p99)
			agree(t, name+", "+policy+": p50", was.P50, p50)
			agree(t, name+", "+policy+": p99", was.P99, p99)
			tails = append(tails, [2]time.Duration{was.P99, p99})
		}
		for i, a := range tails {
			for _, b := range tails[:i] {
				if differ(a[0], b[0]) && differ(a[1], b[1]) && (a[0] < b[0]) != (a[1] < b[1]) {
					t.Errorf("%s: one p99 is %v and simulated %v, another one %v and simulated %v: the order is another one", name, a[0], a[1], b[0], b[1])
				}
			}
		}
	}
}

// agree reports figures that differ by more than agreement.
func agree(t *testing.T, what string, measured, simulated time.Duration) {
	t.Helper()
	if r := ratio(simulated, measured); r < 1-agreement || r > 1+agreement {
		t.Errorf("%s: simulated %v, measured %v: %.2f", what, simulated, measured, r)
	}
}

// differ reports whether two figures differ by more than chance does.
func differ(a, b time.Duration) bool { return max(ratio(a, b), ratio(b, a)) > 1.1 }

// simulated is a row as a scenario, in turns as long as those that were measured.
func simulated(row *queues.Row) *simulate.Scenario {
	odd := strconv.Itoa(queues.Odd + 1)
	sc := simulate.Scenario{
		Name: row.Name, Workers: queues.Workers, Time: simulate.Time{Mean: queues.Mean}, Proxies: max(1, row.Proxies),
		Load: simulate.Load{Rate: balanceRate, Duration: balanceWarm + balanceTurn}, WarmUp: balanceWarm,
	}
	if row.Slow > 0 {
		sc.Endpoints = []simulate.Server{{Endpoint: odd, Factor: row.Slow}}
	}
	if row.Cold > 0 {
		sc.WarmUp, sc.Load.Duration = 1, balanceTurn
		sc.Faults = append(sc.Faults, simulate.Fault{Kind: "cold", Endpoints: []string{odd}, Factor: queues.ColdTimes, Answers: row.Cold})
	}
	if c := row.Stall; c.Every > 0 {
		sc.Faults = append(sc.Faults, simulate.Fault{Kind: "stall", Endpoints: []string{odd}, At: c.Every - c.For, For: c.For, Every: c.Every})
	}
	sc = sc.WithDefaults()
	return &sc
}

// leastOf plays a scenario three times with other requests, as make balance does, and returns the
// least of each figure.
func leastOf(t *testing.T, sc *simulate.Scenario, policy string) (p50, p99 time.Duration) {
	t.Helper()
	for seed := range 3 {
		one := *sc
		one.Seed = seed + 1
		r, err := simulate.Default().Run(&one, policy)
		if err != nil {
			t.Fatal(err)
		}
		a, b := r.Latency.Quantile(0.5), r.Latency.Quantile(0.99)
		if seed == 0 || a < p50 {
			p50 = a
		}
		if seed == 0 || b < p99 {
			p99 = b
		}
	}
	return p50, p99
}

// readBalancing reads the figures of Poise's policies from the page, by row and policy.
func readBalancing(t *testing.T, path string) balance {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, row := make(balance), ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if title, ok := strings.CutPrefix(lines.Text(), "## "); ok {
			row, _, _ = strings.Cut(title, ":")
		}
		cells := strings.Split(lines.Text(), " | ")
		policy, ours := strings.CutPrefix(cells[0], "| Poise, ")
		if !ours || len(cells) < 3 {
			continue
		}
		if policy == "the default" {
			policy = "least_time"
		}
		p50, err1 := strconv.ParseFloat(cells[1], 64)
		p99, err2 := strconv.ParseFloat(cells[2], 64)
		if err1 == nil && err2 == nil {
			p := all.of(row, policy)
			p.P50, p.P99 = time.Duration(p50*1e6), time.Duration(p99*1e6)
		}
	}
	return all
}
