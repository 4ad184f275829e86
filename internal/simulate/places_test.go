package simulate

import (
	"fmt"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

// inZones is a scenario in which the first half of n endpoints is in zone a, the others in zone b, and
// the proxies are in the given zones.
func inZones(n int, proxies ...string) Scenario {
	sc := Scenario{Proxies: len(proxies), Zones: proxies, Load: Load{Duration: 20 * time.Second}}
	for i := range n {
		sc.Endpoints = append(sc.Endpoints, Server{Endpoint: fmt.Sprint(i + 1), Zone: string('a' + rune(i*2/n))})
	}
	return sc
}

// byZone sums the attempts of a report up.
func byZone(r *Report) map[string]float64 {
	sums, all := map[string]float64{}, 0.0
	for _, e := range r.Endpoints {
		sums[e.Zone] += float64(e.Attempts)
		all += float64(e.Attempts)
	}
	for zone := range sums {
		sums[zone] /= all
	}
	return sums
}

// Requests stay in their zone; when it dies they go to the other one, and none is lost.
func TestAZoneDies(t *testing.T) {
	s := of(t, 8, config.Service{})
	sc := inZones(8, "a").WithDefaults()
	sc.Load.Utilization = 25
	if got := byZone(run(t, s, sc, "least_time")); got["a"] < 0.97 {
		t.Errorf("%v, want nearly all in zone a", got)
	}
	both := inZones(8, "a", "b").WithDefaults()
	if got := byZone(run(t, s, both, "least_time")); got["a"] < 0.45 || got["a"] > 0.55 {
		t.Errorf("with a proxy in each zone: %v", got)
	}
	sc = sc.Without(s.Duration(&sc), "zone:a")
	r := run(t, s, sc, "least_time")
	if got := byZone(r); r.Outcomes[Served] != r.Requests || got["b"] < 0.5 {
		t.Errorf("without zone a: %d of %d are served, %v", r.Outcomes[Served], r.Requests, got)
	}
}

// If the fair share is wrong, since all requests come to one zone, that zone would have 1.6 times as
// much to do as it is able to: then requests leave it. Without that p99 is 12 s, and with it 50 ms by
// p2c and 500 ms by round_robin.
func TestAnOverloadedZoneSpills(t *testing.T) {
	s := of(t, 8, config.Service{})
	for _, policy := range []string{"least_time", "p2c", "round_robin"} {
		sc := inZones(8, "a").WithDefaults()
		sc.Load.Utilization = 80
		r := run(t, s, sc, policy)
		if p99 := r.Latency.Quantile(0.99); p99 > time.Second || r.Outcomes[Served] != r.Requests {
			t.Errorf("%s: p99 %v, %d of %d are served, %v", policy, p99, r.Outcomes[Served], r.Requests, byZone(r))
		}
	}
}

// A backup gets what half of the others cannot carry, and nothing before they die.
func TestABackupTakesOver(t *testing.T) {
	s := of(t, 6, config.Service{})
	sc := Scenario{Load: Load{Utilization: 30, Duration: 20 * time.Second}, Endpoints: []Server{{Endpoint: "5", Priority: 1}, {Endpoint: "6", Priority: 1}}}.WithDefaults()
	r := run(t, s, sc, "least_time")
	if r.Endpoints[4].Attempts+r.Endpoints[5].Attempts != 0 {
		t.Errorf("the backups were used: %+v", r.Endpoints)
	}
	sc = sc.Without(s.Duration(&sc), "1", "2", "3")
	r = run(t, s, sc, "least_time")
	// From a third of the time on, a quarter of 70 % is 36 %, and the backups have the other 64 %.
	backups := float64(r.Endpoints[4].Attempts+r.Endpoints[5].Attempts) / float64(r.Requests)
	if r.Outcomes[Served] != r.Requests || backups < 0.35 || backups > 0.5 {
		t.Errorf("%d of %d are served, the backups have %.3f", r.Outcomes[Served], r.Requests, backups)
	}
}

// Ten proxies with a subset each use all endpoints evenly.
func TestSubsetsOfManyProxies(t *testing.T) {
	s := of(t, 40, config.Service{Subset: config.Subset{Size: 10}})
	r := run(t, s, Scenario{Proxies: 20, Load: Load{Duration: 10 * time.Second}}.WithDefaults(), "least_time")
	mean := float64(r.Attempts) / 40
	for _, e := range r.Endpoints {
		if part := float64(e.Attempts) / mean; part < 0.6 || part > 1.4 {
			t.Errorf("%s has %.2f of the mean", e.Name, part)
		}
	}
}
