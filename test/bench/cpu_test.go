package bench

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	roundsMin   = 8
	roundsMax   = 24
	connections = 64
	turn        = 1 // second, of each proxy in a round

	// A turn with fewer requests does not count: a machine that is busy with something else
	// may leave the load no time at all. With fewer turns than these there is no result.
	requestsMin = 1000
	turnsMin    = 4

	// What may be left of the cost of httputil.ReverseProxy.
	stdGoal       = 0.8
	goroutineGoal = 0.35
	loopGoal      = 0.30 // beside nginx it is judged by make bench, which takes longer
)

// The processors: load and endpoints share one, the proxy has the other to itself.
const (
	loadCore  = 1
	proxyCore = 2
)

// peerVariable makes this test's program, started again, the ReverseProxy: its value is
// the address to listen on and the endpoint's.
const peerVariable = "POISE_TEST_REVERSE_PROXY"

func TestMain(m *testing.M) {
	if listen, to, ok := strings.Cut(os.Getenv(peerVariable), " "); ok {
		fmt.Fprintln(os.Stderr, reverseProxy(listen, to))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// reverseProxy is what the standard library offers, with a pool that keeps every
// connection: by default it keeps two.
func reverseProxy(listen, to string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, 1024
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.SetXForwarded()
		},
	}
	return http.ListenAndServe(listen, proxy)
}

// A proxy is one to measure.
type proxy struct {
	name, address string
	scheme        string // "http" if empty
	process       *rig.Process
	goal          float64       // of the ReverseProxy's cost; 0: for orientation only
	turns         int           // that count
	cost          time.Duration // of one request, the least of those turns
	rate          float64       // requests per second in that turn
}

// serveEndpoint starts an nginx that answers everything at once, and returns its address.
func serveEndpoint(t *testing.T) string {
	endpoint := rig.Address(t)
	rig.Nginx(t, loadCore, `
server {
    listen `+endpoint+` backlog=4096;
    location / { default_type text/plain; return 200 "hello from an endpoint, which says a little more than nothing\n"; }
}`, endpoint)
	return endpoint
}

// TestCPUPerRequest: processor time of one request, in user and system mode, with 64
// connections that never pause. Noise only ever adds, so the least of several rounds
// counts, and the proxies take turns.
func TestCPUPerRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute")
	}
	endpoint := serveEndpoint(t)
	proxies := start(t, endpoint)
	for round := 0; round < roundsMin || round < roundsMax && fewest(proxies) < turnsMin; round++ {
		for _, p := range proxies {
			p.measure(t)
		}
	}
	if n := fewest(proxies); n < turnsMin {
		t.Fatalf("only %d turns in which the load got to work: the machine is too busy to measure anything\n%s", n, table(proxies))
	}
	peer := proxies[0].cost
	t.Log("\n" + table(proxies))
	for _, p := range proxies {
		if ratio := float64(p.cost) / float64(peer); p.goal > 0 && ratio > p.goal {
			t.Errorf("%s costs %.2f of httputil.ReverseProxy, want %.2f at most", p.name, ratio, p.goal)
		}
	}
}

// fewest turns that count, of any proxy.
func fewest(proxies []*proxy) int {
	n := proxies[0].turns
	for _, p := range proxies {
		n = min(n, p.turns)
	}
	return n
}

// start starts all proxies, the one to compare with first.
func start(t *testing.T, endpoint string) []*proxy {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	proxies := []*proxy{
		{name: "httputil.ReverseProxy"},
		{name: "poise --engine std", goal: stdGoal},
		{name: "poise --engine goroutine", goal: goroutineGoal},
		{name: "poise --engine loop", goal: loopGoal},
		{name: "nginx"},
	}
	for _, p := range proxies {
		p.address = rig.Address(t)
	}
	one := []string{"GOMAXPROCS=1"}
	proxies[0].process = rig.Start(t, rig.Command{Path: self, Core: proxyCore, Env: append(one, peerVariable+"="+proxies[0].address+" "+endpoint)})
	binary := rig.Poise(t)
	for i, engine := range []string{"std", "goroutine", "loop"} {
		proxies[1+i].process = rig.Start(t, rig.Command{Path: binary, Core: proxyCore, Env: one,
			Args: []string{"proxy", "--listen", proxies[1+i].address, "--to", "http://" + endpoint, "--engine", engine}})
	}
	proxies[4].process = rig.Nginx(t, proxyCore, `
upstream endpoint { server `+endpoint+`; keepalive 1024; keepalive_requests 1000000000; }
server {
    listen `+proxies[4].address+` backlog=4096;
    location / {
        proxy_pass http://endpoint;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $host;
    }
}`)
	for _, p := range proxies {
		p.process.Listens(p.address)
	}
	return proxies
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s*([\d.]+)`)
)

// measure has wrk load the proxy for one turn.
func (p *proxy) measure(t *testing.T) {
	t.Helper()
	before := p.process.CPU()
	load := rig.Start(t, rig.Command{Path: rig.Program(t, "wrk"), Core: loadCore, Args: []string{
		"-t1", "-c" + strconv.Itoa(connections), "-d" + strconv.Itoa(turn) + "s", "--timeout", "15s", cmp.Or(p.scheme, "http") + "://" + p.address + "/some/path?and=query"}})
	code := load.Exit()
	spent := p.process.CPU() - before
	m := wrkRequests.FindStringSubmatch(load.Text())
	if code != 0 || m == nil || load.Said("Socket errors|Non-2xx") > 0 {
		t.Fatalf("%s: wrk: exit code %d\n%s", p.name, code, load.Text())
	}
	requests, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	if requests < requestsMin {
		return
	}
	p.turns++
	if cost := spent / time.Duration(requests); p.cost == 0 || cost < p.cost {
		p.cost = cost
		p.rate, _ = strconv.ParseFloat(wrkRate.FindStringSubmatch(load.Text())[1], 64)
	}
}

func table(proxies []*proxy) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "proxy\tturns\tCPU per request\tof ReverseProxy\tat most\trequests/s\t")
	for _, p := range proxies {
		goal := ""
		if p.goal > 0 {
			goal = fmt.Sprintf("%.2f", p.goal)
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f µs\t%.2f\t%s\t%.0f\t\n", p.name, p.turns, float64(p.cost)/1e3, float64(p.cost)/float64(proxies[0].cost), goal, p.rate)
	}
	w.Flush()
	return b.String()
}
