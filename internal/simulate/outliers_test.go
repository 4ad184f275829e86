package simulate

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise/config"
)

// played is what came of a situation with a policy, without outliers being looked for and with.
type played struct{ without, with *Report }

// failures are the requests that failed, in percent.
func failures(r *Report) float64 { return 100 * float64(r.Errors()) / float64(r.Requests) }

// share is the part of the attempts that endpoint i got, in percent.
func share(r *Report, i int) float64 {
	all := 0
	for _, e := range r.Endpoints {
		all += e.Attempts
	}
	return 100 * float64(r.Endpoints[i].Attempts) / float64(all)
}

// away is how many endpoints were out for some time.
func away(r *Report) (n int) {
	for i := range r.Endpoints {
		out := 0
		for _, is := range r.Endpoints[i].Away {
			out += truth(is)
		}
		n += min(out, 1)
	}
	return n
}

// TestOutliers plays what outlier ejection is for, and what it must not make worse, with the code that
// serves requests. Requests may not be repeated, so what fails is what clients see; -v shows the table,
// which decision 0029 has.
func TestOutliers(t *testing.T) {
	odd, all := []string{oddOne}, []string{"all"}
	flaky := func(share int, which []string) []Fault {
		return []Fault{{Kind: "flaky", Endpoints: which, At: 3 * time.Second, Share: share}}
	}
	situations := []struct {
		Scenario
		latency float64
		ok      func(policy string, p played) error
	}{
		{Scenario: Scenario{Name: "30 % at one", Faults: flaky(30, odd)}, ok: helps(0.6)},
		{Scenario: Scenario{Name: "15 % at one", Faults: flaky(15, odd)}, ok: helps(0.6)},
		{Scenario: Scenario{Name: "30 % at one, 100/s", Load: Load{Rate: 100}, Faults: flaky(30, odd)}, ok: helps(0.6)},
		{Scenario: Scenario{Name: "5 % at one", Faults: flaky(5, odd)}, ok: nobody},
		{Scenario: Scenario{Name: "5 % at all", Faults: flaky(5, all)}, ok: nobody},
		{Scenario: Scenario{Name: "20 % at all", Faults: flaky(20, all)}, ok: nobody},
		{Scenario: Scenario{Name: "20 % at all, 50/s", Load: Load{Rate: 50}, Faults: flaky(20, all)}, ok: nobody},
		{Scenario: Scenario{Name: "30 % at three", Faults: flaky(30, []string{"2", "4", "6"})}, ok: helps(0.9)},
		{Scenario: Scenario{Name: "one is slow", Load: Load{Utilization: 30}, Endpoints: []Server{{Endpoint: oddOne, Factor: 3}}}, latency: 2, ok: harmless},
		{Scenario: builtin(t, "even", 0), latency: 2, ok: nobody},
		{Scenario: builtin(t, "fail", 0), ok: harmless},
		{Scenario: builtin(t, "flap", 0), ok: harmless},
		{Scenario: builtin(t, "restart", 0), ok: harmless},
		{Scenario: builtin(t, "overload", 0), ok: harmless},
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "situation\tpolicy\tfailures\twith\tp99\twith\tof the odd one\twith\tever out\twith\t")
	for _, s := range situations {
		for _, policy := range []string{"round_robin", "least_connections", "least_time"} {
			s.Load.Repeatable = 1
			if s.Load.Duration == 0 {
				s.Load.Duration = 40 * time.Second
			}
			if s.Load.Rate == 0 {
				s.Load.Rate = 640 * float64(cmp.Or(s.Load.Utilization, 60)) / 100
				s.Time.Mean, s.Workers = 50*time.Millisecond, 4
			}
			sc := s.WithDefaults()
			p := played{
				without: run(t, of(t, 8, config.Service{}), sc, policy),
				with:    run(t, of(t, 8, config.Service{Breaker: config.Breaker{Outliers: &config.Outliers{Latency: s.latency}}}), sc, policy),
			}
			fmt.Fprintf(w, "%s\t%s\t%.2f %%\t%.2f %%\t%v\t%v\t%.1f %%\t%.1f %%\t%d\t%d\t\n", s.Name, policy, failures(p.without), failures(p.with),
				p.without.Latency.Quantile(0.99).Round(time.Millisecond), p.with.Latency.Quantile(0.99).Round(time.Millisecond), share(p.without, 3), share(p.with, 3), away(p.without), away(p.with))
			if err := s.ok(policy, p); err != nil {
				t.Errorf("%s, %s: %v", s.Name, policy, err)
			}
		}
	}
	w.Flush()
	t.Log("\n" + b.String())
}

// helps wants at most so many times the failures, of a policy that does not look at them, and never
// more.
func helps(most float64) func(string, played) error {
	return func(policy string, p played) error {
		limit := most
		if policy == "least_time" {
			limit = 1.05
		}
		if failures(p.with) > limit*failures(p.without)+0.05 {
			return fmt.Errorf("%.2f %% of the requests fail, %.2f %% without", failures(p.with), failures(p.without))
		}
		return nil
	}
}

// nobody wants that looking for outliers ejects none.
func nobody(_ string, p played) error {
	if away(p.with) > away(p.without) {
		return fmt.Errorf("%d endpoints are ejected, %d without", away(p.with), away(p.without))
	}
	return harmless("", p)
}

// harmless wants neither more failures nor longer waits.
func harmless(_ string, p played) error {
	if failures(p.with) > 1.02*failures(p.without)+0.05 {
		return fmt.Errorf("%.2f %% of the requests fail, %.2f %% without", failures(p.with), failures(p.without))
	}
	if with, without := p.with.Latency.Quantile(0.99), p.without.Latency.Quantile(0.99); float64(with) > 1.05*float64(without) {
		return fmt.Errorf("p99 is %v, %v without", with, without)
	}
	return nil
}
