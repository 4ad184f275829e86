package loop

import (
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	rounds      = 6
	connections = 64

	// With fewer requests a turn does not count: the load had no time.
	requestsMin = 1000
)

// The processors: load and endpoint share one, the proxy has the other to itself.
const (
	loadCore  = 1
	proxyCore = 2
)

var wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)

// BenchmarkCPUPerRequest: processor time of one request, in user and system mode, with 64
// connections that never pause; the least of several rounds, in which the proxies take
// turns. b.N is of no meaning.
func BenchmarkCPUPerRequest(b *testing.B) {
	endpoint := rig.Address(b)
	rig.Nginx(b, loadCore, `
server {
    listen `+endpoint+` backlog=4096;
    location / { default_type text/plain; return 200 "hello from an endpoint, which says a little more than nothing\n"; }
}`, endpoint)
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	address := [3]string{rig.Address(b), rig.Address(b), rig.Address(b)}
	one := []string{"GOMAXPROCS=1"}
	processes := [3]*rig.Process{
		rig.Nginx(b, proxyCore, `
upstream endpoint { server `+endpoint+`; keepalive 1024; keepalive_requests 1000000000; }
server {
    listen `+address[0]+` backlog=4096;
    location / {
        proxy_pass http://endpoint;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $host;
    }
}`),
		rig.Start(b, rig.Command{Path: rig.Poise(b), Core: proxyCore, Env: one,
			Args: []string{"proxy", "--listen", address[1], "--to", "http://" + endpoint, "--engine", "goroutine"}}),
		rig.Start(b, rig.Command{Path: self, Core: proxyCore, Env: append(one, proxyVariable+"="+address[2]+" "+endpoint)}),
	}
	var least [3]time.Duration
	for i, p := range processes {
		p.Listens(address[i])
	}
	for range rounds {
		for i, p := range processes {
			if cost := turn(b, p, address[i]); cost > 0 && (least[i] == 0 || cost < least[i]) {
				least[i] = cost
			}
		}
	}
	for i, name := range []string{"nginx", "goroutine", "loop"} {
		b.ReportMetric(float64(least[i])/1e3, name+"-µs")
	}
	b.ReportMetric(float64(least[2])/float64(least[0]), "loop/nginx")
	b.ReportMetric(0, "ns/op")
}

// turn has wrk load the proxy for a second; zero: it does not count.
func turn(b *testing.B, p *rig.Process, address string) time.Duration {
	before := p.CPU()
	load := rig.Start(b, rig.Command{Path: rig.Program(b, "wrk"), Core: loadCore, Args: []string{
		"-t1", "-c" + strconv.Itoa(connections), "-d1s", "--timeout", "15s", "http://" + address + "/some/path?and=query"}})
	code := load.Exit()
	spent := p.CPU() - before
	m := wrkRequests.FindStringSubmatch(load.Text())
	if code != 0 || m == nil || load.Said("Socket errors|Non-2xx") > 0 {
		b.Fatalf("wrk: exit code %d\n%s", code, load.Text())
	}
	requests, err := strconv.Atoi(m[1])
	if err != nil || requests < requestsMin {
		return 0
	}
	return spent / time.Duration(requests)
}
