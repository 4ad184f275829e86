package simulate

import (
	"testing"
	"time"
)

func builtin(t testing.TB, name string) Scenario {
	t.Helper()
	for _, sc := range Builtin() {
		if sc.Name == name {
			return sc.WithDefaults()
		}
	}
	t.Fatalf("no scenario %s", name)
	return Scenario{}
}

func run(t testing.TB, sc Scenario, policy string) *Report {
	t.Helper()
	r, err := Default().Run(&sc, policy)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSmoke(t *testing.T) {
	for _, sc := range Builtin() {
		sc = sc.WithDefaults()
		for _, p := range Default().Policies() {
			began := time.Now()
			r := run(t, sc, p)
			t.Logf("%-9s %-22s n %d err %d p50 %v p99 %v p99.9 %v att %.3f busiest %.2f goodput %.0f in %v", sc.Name, p, r.Requests, r.Errors(), r.Latency.Quantile(.5), r.Latency.Quantile(.99), r.Latency.Quantile(.999), r.PerRequest(), r.Busiest(), r.Goodput(), time.Since(began))
		}
	}
}
