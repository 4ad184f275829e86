package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/poise-lb/poise/policy"
)

// few are situations of many proxies with few requests each, once they have learned what there is to
// know: what one proxy knows of an endpoint is one answer in 1.6 s, or in 8 s.
var few = []stress{
	{name: "100 proxies, 5/s each, one slow", rate: 500, proxies: 100, lasts: 40 * second, from: 20 * second, change: odd(func(s *station) { s.mean *= 5 })},
	{name: "100 proxies, 5/s each, one stalls", rate: 500, proxies: 100, lasts: 40 * second, from: 20 * second,
		change: odd(func(s *station) { s.stalls = phase{4 * second, second / 2, 2 * second} })},
	{name: "400 proxies, 5/s each, another client of one", rate: 2000, proxies: 400, alone: 600, lasts: 40 * second, from: 20 * second},
	{name: "100 proxies, 1/s each, one slow", rate: 100, proxies: 100, lasts: 600 * second, from: 240 * second, change: odd(func(s *station) { s.mean *= 5 })},
}

// TestStressFew: the answers to a proxy's own requests suffice where it has few. Prequal has at most
// 0.8 times the p99 of p2c without asking endpoints besides.
func TestStressFew(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and a long time under the race detector")
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "situation\tpolicy\tp50\tp99\tp99.9\tof the odd one, in the end\t")
	row := func(s stress, name string, p policy.Policy, reports bool) *result {
		s.reports = reports
		r := s.run(p, 1)
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.1f\t%.2f %%\t\n", s.name, name, r.ms(0.5), r.ms(0.99), r.ms(0.999), 100*r.share())
		return r
	}
	for _, s := range few {
		two, got := row(s, "p2c", policy.P2C(), false), row(s, "prequal", policy.Prequal(), true)
		if testing.Verbose() {
			row(s, "prequal, no reports", policy.Prequal(), false)
			row(s, "least_time", policy.LeastTime(), false)
			row(s, "least_time, reported", policy.LeastTimeReported(), true)
		}
		if got.ms(0.99) > 0.8*two.ms(0.99) {
			t.Errorf("%s: p99 of prequal is %.1f ms, that of p2c %.1f", s.name, got.ms(0.99), two.ms(0.99))
		}
	}
	w.Flush()
	t.Log("\n" + b.String())
}
