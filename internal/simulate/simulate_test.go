package simulate

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
)

// builtin returns a standard scenario with a shorter duration, if d is not 0.
func builtin(t testing.TB, name string, d time.Duration) Scenario {
	t.Helper()
	for _, sc := range Builtin() {
		if sc.Name == name {
			if d > 0 {
				sc.Load.Duration = d
			}
			return sc.WithDefaults()
		}
	}
	t.Fatalf("no scenario %s", name)
	return Scenario{}
}

func run(t testing.TB, s *Subject, sc Scenario, policy string) *Report {
	t.Helper()
	r, err := s.Run(&sc, policy)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// of is a service of n endpoints by its configuration.
func of(t testing.TB, n int, conf config.Service) *Subject {
	t.Helper()
	for i := range n {
		conf.Endpoints = append(conf.Endpoints, config.Endpoint{URL: fmt.Sprintf("http://10.0.0.%d:80", i+1)})
	}
	s, err := New(&config.Config{Services: map[string]config.Service{"a": conf}}, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// probed has a check, so that a run has tasks that wait.
func probed(t testing.TB) *Subject {
	return of(t, 8, config.Service{
		Health:    &config.Health{Check: "HEAD /health", Interval: time.Second, Timeout: 300 * time.Millisecond, UnhealthyAfter: 2},
		SlowStart: config.SlowStart{Window: 2 * time.Second},
	})
}

// TestSameSeedSameBytes: tables and pages of two runs are alike to the byte, whatever happens in
// them, and those of another seed are not.
func TestSameSeedSameBytes(t *testing.T) {
	page := func(seed int) string {
		var out bytes.Buffer
		p := Page{Title: "t"}
		for _, sc := range Builtin() {
			sc.Seed, sc.Proxies = seed, 2
			sc.Load.Duration = 12 * time.Second
			sc.Load.Rate = 400
			sc = sc.WithDefaults()
			c, err := probed(t).Compare(&sc, []string{"p2c", "peak_ewma"})
			if err != nil {
				t.Fatal(err)
			}
			p.Comparisons = append(p.Comparisons, c)
		}
		if err := p.WriteText(&out); err != nil {
			t.Fatal(err)
		}
		if err := p.WriteHTML(&out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	first := page(7)
	if second := page(7); second != first {
		t.Errorf("two runs differ, from %q on", second[len(commonPrefix(first, second)):][:60])
	}
	if page(8) == first {
		t.Error("another seed makes no difference")
	}
}

// TestPagesAreWellFormed: pictures are XML, and no number in them is none, also where nothing was
// served or much was.
func TestPagesAreWellFormed(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and a long time under the race detector")
	}
	p := Page{Title: "<&>", Notes: []string{"<&>"}, LossesOf: "<&>"}
	for _, sc := range []Scenario{
		{Name: "<&>", About: "<&>", Load: Load{Duration: 5 * time.Second, Utilization: 300}, Timeout: 300 * time.Millisecond},
		{Load: Load{Duration: 3 * time.Second}, Faults: []Fault{{Kind: "crash", Endpoints: []string{"all"}}}},
		{Load: Load{Duration: 3 * time.Second, Rate: 5}, Time: Time{Mean: time.Microsecond, Distribution: "constant"}, Network: 1},
	} {
		sc = sc.WithDefaults()
		c, err := of(t, 60, config.Service{}).Compare(&sc, []string{"p2c", "random"})
		if err != nil {
			t.Fatal(err)
		}
		p.Comparisons = append(p.Comparisons, c)
	}
	var err error
	sc := p.Comparisons[1].Scenario
	if p.Losses, err = Default().Losses(&sc, "p2c"); err != nil {
		t.Fatal(err)
	}
	var page, text bytes.Buffer
	if err := errors.Join(p.WriteHTML(&page), p.WriteText(&text)); err != nil {
		t.Fatal(err)
	}
	pictures := 0
	for rest := page.String(); ; pictures++ {
		_, after, found := strings.Cut(rest, "<svg")
		if !found {
			break
		}
		picture, after, _ := strings.Cut(after, "</svg>")
		if err := xml.Unmarshal([]byte("<svg"+picture+"</svg>"), new(struct{})); err != nil {
			t.Errorf("%v in %.300s", err, picture)
		}
		rest = after
	}
	if pictures != 3*4 {
		t.Errorf("%d pictures", pictures)
	}
	if err := xml.Unmarshal([]byte(p.Comparisons[0].Picture()), new(struct{})); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"NaN", "Inf", "<&>", "%!"} {
		if strings.Contains(page.String(), bad) || bad != "<&>" && strings.Contains(text.String(), bad) {
			t.Errorf("%s on the page", bad)
		}
	}
}

func commonPrefix(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// TestWaitsAreThoseOfErlang: one endpoint of c workers is an M/M/c queue, whose mean wait is known
// (Erlang's C formula over cµ - λ).
func TestWaitsAreThoseOfErlang(t *testing.T) {
	for _, c := range []int{1, 4, 16} {
		const load = 0.7
		sc := Scenario{Workers: c, Network: 1, Load: Load{Utilization: load * 100, Duration: 400 * time.Second / time.Duration(c)}}
		r := run(t, of(t, 1, config.Service{}), sc.WithDefaults(), "random")
		offered, term, sum := load*float64(c), 1.0, 0.0
		for k := range c {
			sum += term
			term *= offered / float64(k+1)
		}
		waits := term / (1 - load) / (sum + term/(1-load))
		want := waits / (float64(c) - offered) * 5 // ms
		got := float64(r.Latency.Slowest(1).Queue) / float64(time.Millisecond)
		t.Logf("%d workers: %d requests waited for %.3f ms, %.3f by Erlang", c, r.Requests, got, want)
		if math.Abs(got-want) > 0.12*want {
			t.Errorf("%d workers: the mean wait is %.3f ms, want %.3f", c, got, want)
		}
	}
}

// TestServer is the table of server.go.
func TestServer(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	s := &server{factor: 1, free: make([]time.Duration, 2), stall: spans{{ms(10), ms(30), 1}}}
	for _, c := range []struct{ at, took, done, queue int }{{0, 8, 8, 0}, {1, 12, 33, 20}, {2, 5, 33, 26}, {31, 1, 34, 2}} {
		f := s.take(ms(c.at), 0, &request{took: ms(c.took)})
		if f.at != ms(c.done) || f.queue != ms(c.queue) || f.work != ms(c.took) {
			t.Errorf("at %d for %d ms: %+v", c.at, c.took, f)
		}
	}
	s = &server{factor: 2, free: make([]time.Duration, 1), cold: 1, coldFactor: 10, slow: spans{{ms(5), ms(300), 3}}}
	for _, c := range []struct{ at, done int }{{0, 20}, {20, 26}, {400, 402}} { // 2×10, 2×3, 2
		if f := s.take(ms(c.at), 0, &request{took: ms(1)}); f.at != ms(c.done) {
			t.Errorf("at %d: done at %v", c.at, f.at)
		}
	}
}

// TestNothingFailsWhileAnEndpointCouldServe: in every standard scenario but overload, all
// requests that may be repeated are served, with every policy.
func TestNothingFailsWhileAnEndpointCouldServe(t *testing.T) {
	for _, sc := range Builtin() {
		if sc.Name == "overload" {
			continue
		}
		sc.Load.Duration = 12 * time.Second
		sc.Load.Utilization = 40
		sc = sc.WithDefaults()
		for _, policy := range []string{"p2c", "peak_ewma", "round_robin"} {
			if r := run(t, Default(), sc, policy); r.Errors() > 0 || r.Requests == 0 {
				t.Errorf("%s, %s: %d of %d requests failed: %v", sc.Name, policy, r.Errors(), r.Requests, r.Outcomes)
			}
		}
	}
}

// TestWhatMayBeRepeated: requests that may not are lost with a connection, and only with one that
// was there.
func TestWhatMayBeRepeated(t *testing.T) {
	for _, c := range []struct {
		kind  string
		fails bool
	}{{"crash", true}, {"fail", true}} {
		sc := Scenario{Load: Load{Repeatable: 1, Duration: 10 * time.Second, Utilization: 40}, Faults: []Fault{
			{Kind: c.kind, Endpoints: []string{"3"}, At: 4 * time.Second},
		}}
		r := run(t, Default(), sc.WithDefaults(), "round_robin")
		if (r.Outcomes[Failed] > 0) != c.fails || r.Outcomes[Failed] > 20 {
			t.Errorf("%s: %v", c.kind, r.Outcomes)
		}
		sc.Load.Repeatable = 100
		if r := run(t, Default(), sc.WithDefaults(), "round_robin"); r.Errors() > 0 || r.Attempts <= r.Requests {
			t.Errorf("%s: %v, %d attempts of %d requests", c.kind, r.Outcomes, r.Attempts, r.Requests)
		}
	}
	// The only endpoint is down for 0.4 s: the pauses of 50, 100, 200 and 400 ms bridge that.
	sc := Scenario{Load: Load{Rate: 50, Duration: 6 * time.Second}, Faults: []Fault{{Kind: "crash", Endpoints: []string{"1"}, At: 3 * time.Second, For: 400 * time.Millisecond}}}
	if r := run(t, of(t, 1, config.Service{}), sc.WithDefaults(), "p2c"); r.Errors() > 0 || r.Latency.Max() < 300*time.Millisecond || r.Latency.Max() > 900*time.Millisecond {
		t.Errorf("%v, the longest took %v", r.Outcomes, r.Latency.Max())
	}
	if r := run(t, of(t, 1, config.Service{Retry: config.Retry{Attempts: 1}}), sc.WithDefaults(), "p2c"); r.Errors() < 10 || r.Attempts != r.Requests {
		t.Errorf("%v, %d attempts of %d requests without a retry", r.Outcomes, r.Attempts, r.Requests)
	}
}

// TestAttemptsAreThoseOfTheExchange: what internal/exchange/retry.go says of how often is tried, where
// all endpoints fail alike. There are two requests, at 1 and 2 s.
func TestAttemptsAreThoseOfTheExchange(t *testing.T) {
	for _, c := range []struct {
		name       string
		endpoints  int
		kind       string
		retry      config.Retry
		repeatable int
		attempts   int
	}{
		{"503: two, and more while the latest attempt at another did not fail", 4, "fail", config.Retry{}, 100, 4 + 2},
		{"503: as many as the configuration says", 4, "fail", config.Retry{Attempts: 3}, 100, 3 + 3},
		{"503: at most eight", 10, "fail", config.Retry{}, 100, 8 + 3}, // then two are sure, and one that did not fail is left
		{"503 of a POST", 4, "fail", config.Retry{}, 1, 1 + 1},
		{"503 is not asked to be repeated", 4, "fail", config.Retry{On: []string{"connect"}}, 100, 1 + 1},
		{"refused: each endpoint in six rounds", 1, "crash", config.Retry{}, 100, 6 + 6},
		{"refused: a POST too", 1, "crash", config.Retry{}, 1, 6 + 6},
		{"refused: without pauses", 3, "crash", config.Retry{SameAfter: -1}, 100, 3 + 3},
		{"refused: no retry", 3, "crash", config.Retry{Attempts: 1}, 100, 1 + 1},
	} {
		sc := Scenario{WarmUp: 1, Load: Load{Rate: 1, Arrivals: "even", Repeatable: c.repeatable, Duration: 2500 * time.Millisecond}, Faults: []Fault{{Kind: c.kind, Endpoints: []string{"all"}}}}
		r := run(t, of(t, c.endpoints, config.Service{Retry: c.retry, Breaker: config.Breaker{Off: true}}), sc.WithDefaults(), "round_robin")
		if r.Attempts != c.attempts || r.Outcomes[Failed] != 2 {
			t.Errorf("%s: %d attempts, want %d; %v", c.name, r.Attempts, c.attempts, r.Outcomes)
		}
	}
}

// TestRequestsAllocateNothing: twice as many requests need no more memory.
func TestRequestsAllocateNothing(t *testing.T) {
	allocations := func(d time.Duration) float64 {
		sc := builtin(t, "slow", d)
		return testing.AllocsPerRun(2, func() { run(t, Default(), sc, "p2c") })
	}
	short, long := allocations(5*time.Second), allocations(10*time.Second)
	if long > short+200 { // slices that grow, and the keeper's rounds
		t.Errorf("%.0f allocations in 5 s, %.0f in 10 s", short, long)
	}
}

// TestRescue: requests that wait at a stalled endpoint go elsewhere once its probes have ejected it.
func TestRescue(t *testing.T) {
	sc := Scenario{Load: Load{Duration: 14 * time.Second, Utilization: 40}, Faults: []Fault{
		{Kind: "stall", Endpoints: []string{"3"}, At: 4 * time.Second, For: 30 * time.Second},
	}}
	r := run(t, probed(t), sc.WithDefaults(), "round_robin")
	if r.Errors() > 0 || r.Latency.Max() > 5*time.Second {
		t.Errorf("%v, the longest took %v", r.Outcomes, r.Latency.Max())
	}
	away := 0
	for _, is := range r.Endpoints[2].Away {
		away += truth(is)
	}
	if away < samples/3 {
		t.Errorf("out of rotation in %d of %d intervals", away, len(r.Endpoints[2].Away))
	}
}

// TestPolicies holds what is known of policies by measurements with sockets: test/quality.
func TestPolicies(t *testing.T) {
	p99 := func(name, policy string) time.Duration {
		sc := builtin(t, name, 12*time.Second)
		sc.Load.Rate = 1200
		return run(t, Default(), sc, policy).Latency.Quantile(0.99)
	}
	if peak, least := p99("slow", "peak_ewma"), p99("slow", "least_connections"); float64(peak) > 0.85*float64(least) {
		t.Errorf("with one slow endpoint peak_ewma %v, least_connections %v", peak, least)
	}
	if turns, two := p99("stall", "round_robin"), p99("stall", "p2c"); turns < 5*two {
		t.Errorf("with stalls round_robin %v, p2c %v", turns, two)
	}
}

// TestJoinAndLeave: what is not in the set gets nothing.
func TestJoinAndLeave(t *testing.T) {
	sc := Scenario{Load: Load{Duration: 12 * time.Second}, Faults: []Fault{
		{Kind: "join", Endpoints: []string{"1"}, At: 6 * time.Second},
		{Kind: "leave", Endpoints: []string{"2"}, At: 6 * time.Second},
	}}
	r := run(t, Default(), sc.WithDefaults(), "round_robin")
	early, late := samples/2-2, samples/2+12
	for i, want := range [][2]bool{{false, true}, {true, false}, {true, true}} {
		e := &r.Endpoints[i]
		if got := [2]bool{sum(e.Load[5:early]) > 0, sum(e.Load[late:]) > 0}; got != want {
			t.Errorf("endpoint %d worked before and after: %v, want %v", i+1, got, want)
		}
	}
	if r.Errors() > 0 {
		t.Errorf("%v", r.Outcomes)
	}
}

func sum(list []float32) (all float32) {
	for _, x := range list {
		all += x
	}
	return all
}

// TestKeys: a key stays at one endpoint, and without a hashing policy there is none.
func TestKeys(t *testing.T) {
	sc := builtin(t, "even", 8*time.Second)
	sc.Load.Keys = 1
	s := of(t, 8, config.Service{Policy: config.Policy{Type: "consistent_hash"}})
	sc.Load.Rate = 100
	if r := run(t, s, sc, "consistent_hash"); r.Busiest() < 7.9 {
		t.Errorf("the endpoint of the only key has %.2f of its share", r.Busiest())
	}
	if r := run(t, s, sc, "p2c"); r.Busiest() > 1.5 {
		t.Errorf("the busiest has %.2f of its share", r.Busiest())
	}
}

func TestLosses(t *testing.T) {
	sc := Scenario{Load: Load{Utilization: 80, Duration: 12 * time.Second}, Endpoints: []Server{
		{Endpoint: "1", Zone: "a"}, {Endpoint: "2", Zone: "a"}, {Endpoint: "5", Workers: 8},
	}}.WithDefaults()
	losses, err := Default().Losses(&sc, "p2c")
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, l := range losses {
		what = append(what, fmt.Sprintf("%s %.2f", l.What, l.Left))
	}
	if got := strings.Join(what, ", "); got != "nothing 0.80, the largest endpoint 1.03, zone a 1.03" {
		t.Error(got)
	}
	if nothing, zone := losses[0].Report, losses[2].Report; zone.Latency.Quantile(0.99) < 2*nothing.Latency.Quantile(0.99) {
		t.Errorf("p99 %v without a loss, %v without a zone, which is too much for the others", nothing.Latency.Quantile(0.99), zone.Latency.Quantile(0.99))
	}
}

// TestTimes: distributions have the means that they claim.
func TestTimes(t *testing.T) {
	for _, d := range []Time{{}, {Distribution: "constant"}, {Distribution: "lognormal", Sigma: 0.7}, {Distribution: "bimodal"}} {
		d = config.Fill(d)
		total := 0.0
		const n = 200_000
		for i := range uint64(n) {
			total += float64(d.of(mix(i)))
		}
		if got, want := total/n, float64(d.mean()); math.Abs(got-want) > 0.02*want {
			t.Errorf("%s: mean %.0f, want %.0f", &d, got, want)
		}
	}
}

// TestArrivals: every way of arriving has the rate that was asked for.
func TestArrivals(t *testing.T) {
	for _, way := range []string{"poisson", "burst", "even"} {
		l := Load{Arrivals: way, Burst: 20, Duration: 100 * time.Second, Keys: 10, Repeatable: 30}
		c := newChance(l, 1000, 1)
		n, repeatable, last := 0, 0, time.Duration(0)
		for a, ok := c.next(); ok; a, ok = c.next() {
			if a.at < last {
				t.Fatalf("%s: %v after %v", way, a.at, last)
			}
			last = a.at
			n++
			repeatable += truth(a.repeatable)
		}
		if math.Abs(float64(n)-100_000) > 6000 || math.Abs(float64(repeatable)/float64(n)-0.3) > 0.01 {
			t.Errorf("%s: %d requests, %d may be repeated", way, n, repeatable)
		}
	}
}

// TestMistakesOfScenarios are found, each at its path.
func TestMistakesOfScenarios(t *testing.T) {
	second := time.Second
	for want, sc := range map[string]Scenario{
		"faults[0].every: every 1ms is more than 100000 times in 1h0m0s":                    {Load: Load{Duration: time.Hour}, Faults: []Fault{{Kind: "cold", Endpoints: []string{"1"}, Every: time.Millisecond}}},
		`load.arrivals: "poison" is not one of poisson, burst, even, did you mean poisson?`: {Load: Load{Arrivals: "poison"}},
		"warm_up: 2s leaves nothing of load.duration, which is 1s":                          {Load: Load{Duration: second}},
		"faults[0].every: a fault that comes back has to end":                               {Faults: []Fault{{Kind: "slow", Endpoints: []string{"1"}, Every: second}}},
		"faults[0].for: 2s is not less than every, which is 1s":                             {Faults: []Fault{{Kind: "slow", Endpoints: []string{"1"}, For: 2 * second, Every: second}}},
		"faults[0].for: is missing":                                                         {Faults: []Fault{{Kind: "restart", Endpoints: []string{"1"}}}},
		"faults[0].endpoints: is missing":                                                   {Faults: []Fault{{Kind: "slow"}}},
		"faults[0].endpoints[0]: there is no endpoint 9: it is a number from 1 to 8":        {Faults: []Fault{{Kind: "slow", Endpoints: []string{"9"}}}},
		"endpoints[0].endpoint: there is no endpoint zone:b":                                {Endpoints: []Server{{Endpoint: "zone:b"}}},
	} {
		err := sc.Validate()
		if full := sc.WithDefaults(); err == nil {
			err = Default().Check(&full)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, sc := range Builtin() {
		full := sc.WithDefaults()
		if err := sc.Validate(); err != nil {
			t.Errorf("%s: %v", sc.Name, err)
		}
		if err := Default().Check(&full); err != nil {
			t.Errorf("%s: %v", sc.Name, err)
		}
	}
}

// TestEveryPolicyRuns: names of the configuration are those that can be simulated.
func TestEveryPolicyRuns(t *testing.T) {
	for _, name := range PolicyNames() {
		if r := run(t, Default(), builtin(t, "even", 4*time.Second), name); r.Latency.N() == 0 {
			t.Errorf("%s served nothing", name)
		}
	}
}

// TestSubjects: which service is meant, and what the others are called.
func TestSubjects(t *testing.T) {
	service := config.Service{Endpoints: []config.Endpoint{{URL: "http://10.0.0.1:80", Weight: 3}, {URL: "http://10.0.0.2:80"}, {URL: "http://10.0.0.3:80", Drain: true}}}
	c := config.Config{Services: map[string]config.Service{"users": service, "shop": {Source: &config.Source{File: &config.FileSource{Path: "x"}}}}}
	for name, want := range map[string]string{"": "choose one of shop, users", "user": "did you mean users?"} {
		if _, err := New(&c, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
	c.Routes = []config.Route{{Service: "users", Timeout: 3 * time.Second}, {Service: "users", Timeout: config.None}, {Service: "shop", Timeout: time.Minute}}
	s, err := New(&c, "users")
	if err != nil || s.Timeout != 3*time.Second || s.Endpoints() != 2 || s.Note != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = New(&c, "shop"); err != nil || s.Endpoints() != madeUp || !strings.Contains(s.Note, "source") {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err = New(&config.Config{}, ""); err == nil {
		t.Error("no service is simulated")
	}
}

// TestLargest goes by weight first.
func TestLargest(t *testing.T) {
	specs := []endpoint.Spec{{}, {Weight: 2}, {Weight: 2}}
	if got := largest(specs, func(i int) int { return i }); got != 2 {
		t.Error(got)
	}
}

func BenchmarkRun(b *testing.B) {
	sc := builtin(b, "slow", 0)
	for _, policy := range []string{"p2c", "least_connections", "peak_ewma"} {
		b.Run(policy, func(b *testing.B) {
			for b.Loop() {
				r := run(b, Default(), sc, policy)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(r.Requests), "ns/request")
			}
		})
	}
}
