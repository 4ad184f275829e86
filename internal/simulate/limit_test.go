package simulate

import (
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

// TestFoundLimits: at 150 % of what endpoints can do, limits that are found have them do nearly all
// that they can, and what is let through takes a few times as long as without load. Without limits
// every queue is longer than clients wait, so that next to nothing is served in time.
func TestFoundLimits(t *testing.T) {
	sc := builtin(t, "overload", 12*time.Second)
	auto := config.Service{Overload: config.Overload{EndpointMaxInFlight: config.EndpointLimit{Limit: "auto"}}}
	capacity := 8 * 4 / 0.005
	for _, policy := range []string{"least_time", "p2c"} {
		with, without := run(t, of(t, 8, auto), sc, policy), run(t, of(t, 8, config.Service{}), sc, policy)
		t.Logf("%s: goodput %.3f, p99 %v; without %.3f, %v", policy, with.Goodput()/capacity, with.Latency.Quantile(0.99), without.Goodput()/capacity, without.Latency.Quantile(0.99))
		if with.Goodput() < 0.95*capacity || with.Latency.Quantile(0.99) > 70*time.Millisecond {
			t.Errorf("%s: goodput %.0f of %.0f, p99 %v: %v", policy, with.Goodput(), capacity, with.Latency.Quantile(0.99), with.Outcomes)
		}
		if without.Goodput() > 0.5*capacity {
			t.Errorf("%s: goodput without limits is %.0f", policy, without.Goodput())
		}
	}
}

// TestQueue: with a queue in front nearly all of what is served has waited, no longer than it may, and
// as much is served as without one. All requests end.
func TestQueue(t *testing.T) {
	sc := builtin(t, "overload", 12*time.Second)
	capacity := 8 * 4 / 0.005
	for name, o := range map[string]config.Overload{
		"found":    {EndpointMaxInFlight: config.EndpointLimit{Limit: "auto"}},
		"endpoint": {EndpointMaxInFlight: config.EndpointLimit{Limit: "10"}},
		"service":  {MaxInFlight: 80},
	} {
		o.Queue = &config.Queue{Length: 400, Timeout: 100 * time.Millisecond}
		r := run(t, of(t, 8, config.Service{Overload: o}), sc, "least_time")
		t.Logf("%s: goodput %.3f, p99 %v, %d of %d waited, %v", name, r.Goodput()/capacity, r.Latency.Quantile(0.99), r.Waited, r.Requests, r.Outcomes)
		sum := 0
		for _, n := range r.Outcomes {
			sum += n
		}
		if sum != r.Requests || r.Outcomes[Dropped] == 0 || r.Waited < r.Requests/2 {
			t.Errorf("%s: %d requests, %d waited, %v", name, r.Requests, r.Waited, r.Outcomes)
		}
		if r.Goodput() < 0.95*capacity || r.Latency.Quantile(0.99) > 170*time.Millisecond {
			t.Errorf("%s: goodput %.0f of %.0f, p99 %v", name, r.Goodput(), capacity, r.Latency.Quantile(0.99))
		}
	}
}

// TestQueueAndFailures: retries and hedges of a service with bounds, whose endpoints fail, restart and
// stand still, end like all others, and a run is repeatable.
func TestQueueAndFailures(t *testing.T) {
	conf := config.Service{
		Overload: config.Overload{EndpointMaxInFlight: config.EndpointLimit{Limit: "4"}, MaxInFlight: 14, Queue: &config.Queue{Length: 30, Timeout: 200 * time.Millisecond}},
		Hedge:    &config.Hedge{After: "20ms", MaxExtra: 10}, Retry: config.Retry{Budget: -1},
	}
	for _, name := range []string{"fail", "flap", "restart", "stall", "overload"} {
		sc := builtin(t, name, 10*time.Second)
		sc.Load.Utilization = 110
		first, second := run(t, of(t, 4, conf), sc, "p2c"), run(t, of(t, 4, conf), sc, "p2c")
		sum := 0
		for _, n := range first.Outcomes {
			sum += n
		}
		if sum != first.Requests || first.Waited == 0 || first.Outcomes[Served] < first.Requests/3 {
			t.Errorf("%s: %d requests, %d waited, %v", name, first.Requests, first.Waited, first.Outcomes)
		}
		if first.Outcomes != second.Outcomes || first.Latency.Mean() != second.Latency.Mean() {
			t.Errorf("%s: %v and %v", name, first.Outcomes, second.Outcomes)
		}
	}
}

// TestWithAndWithoutBounds: a comparison has a row without the bounds of the service, and columns for
// what they do.
func TestWithAndWithoutBounds(t *testing.T) {
	sc := builtin(t, "overload", 4*time.Second)
	o := config.Overload{EndpointMaxInFlight: config.EndpointLimit{Limit: "auto"}, Queue: &config.Queue{Length: 50}}
	c, err := of(t, 4, config.Service{Overload: o}).Compare(&sc, []string{"p2c", "random"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := c.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"p2c, no bounds", "goodput", "waited", "dropped"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if len(c.Reports) != 3 || c.Reports[2].Waited > 0 || c.Reports[2].Goodput() >= c.Reports[0].Goodput() {
		t.Errorf("%d rows\n%s", len(c.Reports), &text)
	}
	t.Log(text.String())
}
