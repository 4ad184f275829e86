package simulate

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

// TestHedges: where an endpoint stands still now and then, hedges take most of the tail away, and are
// no more than their budget.
func TestHedges(t *testing.T) {
	sc := Scenario{Load: Load{Duration: 15 * time.Second, Utilization: 40}, Faults: []Fault{
		{Kind: "stall", Endpoints: []string{"4"}, At: 3 * time.Second, For: 500 * time.Millisecond, Every: 2 * time.Second},
	}}.WithDefaults()
	without := run(t, of(t, 8, config.Service{}), sc, "round_robin")
	with := run(t, of(t, 8, config.Service{Hedge: &config.Hedge{After: "p95", MaxExtra: 10}}), sc, "round_robin")
	t.Logf("p99 %v without hedges, %v with %d of them, %d won, among %d requests", without.Latency.Quantile(0.99), with.Latency.Quantile(0.99), with.Hedges, with.HedgesWon, with.Requests)
	if without.Hedges > 0 || with.Errors() > 0 || with.Outcomes[Served] != with.Requests {
		t.Errorf("%d hedges without asking, %v", without.Hedges, with.Outcomes)
	}
	if a, b := with.Latency.Quantile(0.99), without.Latency.Quantile(0.99); a > b/3 {
		t.Errorf("p99 is %v with hedges, %v without", a, b)
	}
	if with.HedgesWon == 0 || with.Hedges > with.Requests/9 || with.Attempts != with.Requests+with.Hedges {
		t.Errorf("%d hedges, %d won, %d attempts of %d requests", with.Hedges, with.HedgesWon, with.Attempts, with.Requests)
	}
}

// TestWhatHedgesNeed: a request that may be repeated, another endpoint, and an answer that takes
// longer than it says.
func TestWhatHedgesNeed(t *testing.T) {
	for _, c := range []struct {
		name      string
		endpoints int
		change    func(sc *Scenario)
		hedges    bool
	}{
		{"all of it", 2, func(*Scenario) {}, true},
		{"one endpoint", 1, func(*Scenario) {}, false},
		{"no method that may be repeated", 2, func(sc *Scenario) { sc.Load.Repeatable = 1 }, false},
		{"time", 2, func(sc *Scenario) { sc.Time = Time{Mean: 3 * time.Millisecond, Distribution: "constant"} }, false},
	} {
		sc := Scenario{WarmUp: 1, Load: Load{Rate: 20, Arrivals: "even", Duration: 5 * time.Second}, Time: Time{Mean: 50 * time.Millisecond, Distribution: "constant"}}
		c.change(&sc)
		r := run(t, of(t, c.endpoints, config.Service{Hedge: &config.Hedge{After: "20ms"}}), sc.WithDefaults(), "least_time")
		if r.Errors() > 0 || (r.Hedges > 0) != c.hedges {
			t.Errorf("%s: %d hedges, %v", c.name, r.Hedges, r.Outcomes)
		}
	}
}

// TestHedgeOutlivesAFailure: the first attempt's endpoint crashes while a hedge is under way.
func TestHedgeOutlivesAFailure(t *testing.T) {
	sc := Scenario{WarmUp: 1, Load: Load{Rate: 10, Arrivals: "even", Duration: 4 * time.Second, Repeatable: 100},
		Time:      Time{Mean: 60 * time.Millisecond, Distribution: "constant"},
		Endpoints: []Server{{Endpoint: "1", Factor: 10}},
		Faults:    []Fault{{Kind: "crash", Endpoints: []string{"1"}, At: 130 * time.Millisecond, For: 100 * time.Millisecond, Every: 300 * time.Millisecond}}}
	set := config.Service{Hedge: &config.Hedge{After: "20ms", MaxExtra: 10}, Retry: config.Retry{Attempts: 1}, Breaker: config.Breaker{Off: true}}
	if r := run(t, of(t, 2, set), sc.WithDefaults(), "round_robin"); r.HedgesWon == 0 {
		t.Errorf("no hedge has won: %d, %v", r.Hedges, r.Outcomes)
	}
}

// TestRetryBudget: where all endpoints fail half of the time, retries are no more than the budget.
func TestRetryBudget(t *testing.T) {
	sc := Scenario{Load: Load{Rate: 200, Duration: 12 * time.Second}, Faults: []Fault{{Kind: "fail", Endpoints: []string{"all"}}}}.WithDefaults()
	extra := func(budget int) float64 {
		r := run(t, of(t, 6, config.Service{Retry: config.Retry{Attempts: 4, Budget: budget}, Breaker: config.Breaker{Off: true}}), sc, "round_robin")
		return r.PerRequest()
	}
	if bounded, free := extra(10), extra(-1); bounded > 1.15 || bounded < 1.05 || free < 3.9 {
		t.Errorf("%.2f attempts for each request with a budget of 10 %%, %.2f without", bounded, free)
	}
}
