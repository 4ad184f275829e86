package simulate

// Comparing policies: every one in every scenario, and what is left when endpoints die.

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Comparison is what several policies made of one scenario.
type Comparison struct {
	Scenario Scenario
	Setup    string     // the scenario in words
	Usual    string     // the policy of the configuration
	Logged   *Histogram // latencies as a log has them; nil: there is no log
	Reports  []*Report
}

// unbounded is what is behind the name of a policy in a run without the bounds of the service.
const unbounded = ", no bounds"

// Compare runs a scenario, which has its defaults, with each of the policies. If the service bounds
// what is under way, the first of them also runs without that.
func (s *Subject) Compare(sc *Scenario, policies []string) (*Comparison, error) {
	rate, capacity, err := s.Rate(sc)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Scenario: *sc, Usual: s.Policy(), Setup: s.setup(sc, rate, capacity)}
	if s.Recorded != nil && s.Recorded.Logged.N() > 0 {
		c.Logged = s.Recorded.Logged
	}
	runs := len(policies)
	if s.bounded() && runs > 0 {
		runs++
	}
	c.Reports = make([]*Report, runs)
	errs := make([]error, runs)
	var group sync.WaitGroup
	for i, name := range policies {
		group.Go(func() { c.Reports[i], errs[i] = s.Run(sc, name) })
	}
	if last := len(policies); runs > last {
		group.Go(func() {
			if c.Reports[last], errs[last] = s.withoutBounds().Run(sc, policies[0]); errs[last] == nil {
				c.Reports[last].Policy += unbounded
			}
		})
	}
	group.Wait()
	return c, errors.Join(errs...)
}

// Check reports what is wrong with a scenario, which has its defaults, for this subject, as a
// *config.Errors: endpoints that do not exist.
func (s *Subject) Check(sc *Scenario) error {
	if s == nil {
		return nil
	}
	servers, err := s.servers(sc)
	if err != nil {
		return err
	}
	_, err = plan(sc.Faults, servers, start, start+s.Duration(sc))
	return err
}

// setup says in words what is simulated.
func (s *Subject) setup(sc *Scenario, rate, capacity float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d endpoints, %d requests at once each, ", s.Name, len(s.specs), sc.Workers)
	if s.Recorded != nil {
		fmt.Fprintf(&b, "times as in the log (mean %s); %d requests", Show(s.Recorded.mean), s.Recorded.N())
	} else {
		fmt.Fprintf(&b, "%s; %s", &sc.Time, sc.Load.Arrivals)
		if sc.Load.Arrivals == "burst" {
			fmt.Fprintf(&b, "s of %d", sc.Load.Burst)
		}
	}
	fmt.Fprintf(&b, ", %.0f/s for %s, %.0f %% of what the endpoints can do", rate, s.Duration(sc).Round(10*time.Millisecond), 100*rate/capacity)
	if sc.Load.ranked() {
		fmt.Fprintf(&b, "; priority high %d %%, low %d %%", sc.Load.High, sc.Load.Low)
	}
	if sc.Proxies > 1 {
		fmt.Fprintf(&b, "; %d proxies", sc.Proxies)
	}
	fmt.Fprintf(&b, "; seed %d", sc.Seed)
	return b.String()
}

// best is the least latency at the quantile q of the policies without more errors than the one
// with the fewest.
func (c *Comparison) best(q float64) time.Duration {
	least, best := -1, time.Duration(0)
	for _, r := range c.Reports {
		if least < 0 || r.Errors() < least {
			least = r.Errors()
		}
	}
	for _, r := range c.Reports {
		if at := r.Latency.Quantile(q); r.Errors() == least && r.Latency.N() > 0 && (best == 0 || at < best) {
			best = at
		}
	}
	return best
}

// A Loss is a run in which endpoints die for good after a third of the time.
type Loss struct {
	What     string   // which ones; "nothing" in the run without a loss
	Endpoint []string // by the words of Fault.Endpoints
	Left     float64  // utilization of those that are left, from 0; above 1 is too much
	Report   *Report
}

// Losses answers what happens if the largest endpoint, or a zone, dies: a run each, with one policy.
func (s *Subject) Losses(sc *Scenario, policy string) ([]Loss, error) {
	losses := []Loss{{What: "nothing"}, {What: "the largest endpoint", Endpoint: []string{"largest"}}}
	for _, zone := range s.Zones(sc) {
		losses = append(losses, Loss{What: "zone " + zone, Endpoint: []string{"zone:" + zone}})
	}
	rate, _, err := s.Rate(sc)
	if err != nil {
		return nil, err
	}
	for i := range losses {
		one := &losses[i]
		run := *sc
		if one.Endpoint != nil {
			run = sc.Without(s.Duration(sc), one.Endpoint...)
		}
		if one.Report, err = s.Run(&run, policy); err != nil {
			return nil, err
		}
		if one.Left, err = s.left(sc, rate, one.Endpoint); err != nil {
			return nil, err
		}
	}
	return losses, nil
}

// left is the utilization of the endpoints without those that words mean.
func (s *Subject) left(sc *Scenario, rate float64, words []string) (float64, error) {
	servers, err := s.servers(sc)
	if err != nil {
		return 0, err
	}
	gone, err := find(words, servers, "")
	if err != nil {
		return 0, err
	}
	dead := make(map[int]bool)
	for _, n := range gone {
		dead[n] = true
	}
	capacity := 0.0
	for i, one := range servers {
		if !dead[i] {
			capacity += s.capacity(one)
		}
	}
	return rate / capacity, nil
}
