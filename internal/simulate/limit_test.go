package simulate

import (
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/service"
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
		Overload: config.Overload{EndpointMaxInFlight: config.EndpointLimit{Limit: "4"}, MaxInFlight: 14, Queue: &config.Queue{Length: 30, Timeout: 200 * time.Millisecond},
			Priority: &config.RequestPriority{By: "header(X-Priority)", High: []string{"a"}}},
		Hedge: &config.Hedge{After: "20ms", MaxExtra: 10}, Retry: config.Retry{Budget: -1},
	}
	for _, name := range []string{"fail", "flap", "restart", "stall", "overload"} {
		sc := builtin(t, name, 10*time.Second)
		sc.Load.Utilization, sc.Load.High, sc.Load.Low = 110, 10, 10
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

// TestPriorities: where more comes than can be done, those of high priority are served, then those
// between, and what is left is for the low ones. A service that tells none apart serves all alike.
func TestPriorities(t *testing.T) {
	sc := builtin(t, "overload", 12*time.Second)
	sc.Load.High, sc.Load.Low = 20, 40
	o := config.Overload{EndpointMaxInFlight: config.EndpointLimit{Limit: "auto"}, Queue: &config.Queue{Length: 400, Timeout: 100 * time.Millisecond}}
	ranked := o
	ranked.Priority = &config.RequestPriority{By: "header(X-Priority)", High: []string{"a"}, Low: []string{"b"}}
	with, without := run(t, of(t, 8, config.Service{Overload: ranked}), sc, "least_time"), run(t, of(t, 8, config.Service{Overload: o}), sc, "least_time")
	for _, r := range []*Report{with, without} {
		sum := Class{}
		for _, p := range byClass {
			c := r.class(p)
			sum.Requests, sum.Waited = sum.Requests+c.Requests, sum.Waited+c.Waited
			sum.Outcomes[Served] += c.Outcomes[Served]
		}
		if sum.Requests != r.Requests || sum.Waited != r.Waited || sum.Outcomes[Served] != r.Outcomes[Served] {
			t.Errorf("%d requests, %d waited, %v; by class %+v", r.Requests, r.Waited, r.Outcomes, sum)
		}
	}
	for _, c := range []struct {
		class       service.Priority
		part        float64 // of all requests
		least, most float64 // served with priorities
	}{{service.High, 0.2, 0.99, 1}, {service.Normal, 0.4, 0.95, 1}, {service.Low, 0.4, 0.05, 0.3}} {
		share := func(r *Report) float64 {
			return float64(r.class(c.class).Outcomes[Served]) / float64(r.class(c.class).Requests)
		}
		t.Logf("%v: %.3f served, without priorities %.3f; p99 %v and %v", c.class, share(with), share(without), with.class(c.class).Latency.Quantile(0.99), without.class(c.class).Latency.Quantile(0.99))
		if got := share(with); got < c.least || got > c.most {
			t.Errorf("%v: %.3f served", c.class, got)
		}
		if got := share(without); got < 0.6 || got > 0.75 {
			t.Errorf("%v: %.3f served without priorities", c.class, got)
		}
		if got := float64(with.class(c.class).Requests) / float64(with.Requests); got < c.part*0.97 || got > c.part*1.03 {
			t.Errorf("%v: %.3f of the requests", c.class, got)
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
