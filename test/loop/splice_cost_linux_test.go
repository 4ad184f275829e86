package loop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	costRounds  = 6
	connections = 16

	// bodyBytes is the size of a body, and bodyMin how many a turn must have moved to count:
	// with fewer the load had no time.
	bodyBytes = 1 << 20
	bodyMin   = 100
)

// The processors: load and endpoint share one, the proxy has the other to itself.
const (
	loadCore  = 1
	proxyCore = 2
)

// A mover is a way of passing on a body.
type mover struct {
	name    string
	process *rig.Process
	url     string
	upload  bool

	least time.Duration // of processor time for one body
	rate  float64       // bodies per second in that turn
}

// BenchmarkCPUPerMiB: processor time of one body of 1 MiB, in user and system mode; the
// least of several rounds, in which the ways take turns. The loop copies what calls itself
// an event stream: that is how it would do without splicing. b.N is of no meaning.
func BenchmarkCPUPerMiB(b *testing.B) {
	endpoint := rig.Address(b)
	dir := b.TempDir()
	rig.Write(b, filepath.Join(dir, "body"), strings.Repeat("0123456789abcde\n", bodyBytes/16))
	rig.Write(b, filepath.Join(dir, "upload.lua"), fmt.Sprintf("wrk.method = 'POST'\nwrk.body = string.rep('x', %d)\n", bodyBytes))
	rig.Nginx(b, loadCore, `
sendfile on;
server {
    listen `+endpoint+` backlog=4096;
    root `+dir+`;
    client_max_body_size 0;
    location = /body { default_type application/octet-stream; }
    location = /copied { alias `+dir+`/body; default_type text/event-stream; }
    location = /sink { return 200; }
}`, endpoint)
	movers := startMovers(b, endpoint)
	for range costRounds {
		for _, m := range movers {
			m.turn(b, dir)
		}
	}
	for _, m := range movers {
		b.ReportMetric(float64(m.least)/1e3, m.name+"-µs")
		b.Logf("%-20s %6.0f µs per MiB, %5.0f MiB/s", m.name, float64(m.least)/1e3, m.rate)
	}
	b.ReportMetric(0, "ns/op")
}

// startMovers starts the proxies.
func startMovers(b *testing.B, endpoint string) []*mover {
	b.Helper()
	binary := rig.Poise(b)
	start := func(engine string) (*rig.Process, string) {
		address := rig.Address(b)
		p := rig.Start(b, rig.Command{Path: binary, Core: proxyCore, Env: []string{"GOMAXPROCS=1"},
			Args: []string{"proxy", "--listen", address, "--to", "http://" + endpoint, "--engine", engine}})
		p.Listens(address)
		return p, "http://" + address
	}
	loop, atLoop := start("loop")
	goroutine, atGoroutine := start("goroutine")
	movers := []*mover{
		{name: "splice", process: loop, url: atLoop + "/body"},
		{name: "copy", process: loop, url: atLoop + "/copied"},
		{name: "goroutine", process: goroutine, url: atGoroutine + "/body"},
		{name: "splice-up", process: loop, url: atLoop + "/sink", upload: true},
		{name: "goroutine-up", process: goroutine, url: atGoroutine + "/sink", upload: true},
	}
	if path, err := exec.LookPath("haproxy"); err == nil {
		for _, option := range []string{"splice-response", "splice-request"} {
			p, url := startHAProxy(b, path, endpoint, option)
			m := &mover{name: "haproxy", process: p, url: url + "/body"}
			if option == "splice-request" {
				m.name, m.url, m.upload = "haproxy-up", url+"/sink", true
			}
			movers = append(movers, m)
		}
	} else {
		b.Log("haproxy is not here")
	}
	return movers
}

func startHAProxy(b *testing.B, path, endpoint, option string) (*rig.Process, string) {
	address := rig.Address(b)
	conf := filepath.Join(b.TempDir(), "haproxy.cfg")
	rig.Write(b, conf, `
global
    nbthread 1
    maxconn 1000
defaults
    mode http
    option `+option+`
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen all
    bind `+address+`
    server endpoint `+endpoint+`
`)
	p := rig.Start(b, rig.Command{Path: path, Core: proxyCore, Args: []string{"-db", "-f", conf}})
	p.Listens(address)
	return p, "http://" + address
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s*([\d.]+)`)
)

// turn has wrk load the proxy for a second.
func (m *mover) turn(b *testing.B, dir string) {
	args := []string{"-t1", "-c" + strconv.Itoa(connections), "-d1s", "--timeout", "15s"}
	if m.upload {
		args = append(args, "-s", filepath.Join(dir, "upload.lua"))
	}
	before := m.process.CPU()
	load := rig.Start(b, rig.Command{Path: rig.Program(b, "wrk"), Core: loadCore, Env: os.Environ(), Args: append(args, m.url)})
	code := load.Exit()
	spent := m.process.CPU() - before
	text := wrkRequests.FindStringSubmatch(load.Text())
	if code != 0 || text == nil || load.Said("Socket errors|Non-2xx") > 0 {
		b.Fatalf("%s: wrk: exit code %d\n%s", m.name, code, load.Text())
	}
	bodies, err := strconv.Atoi(text[1])
	if err != nil || bodies < bodyMin {
		return
	}
	if cost := spent / time.Duration(bodies); m.least == 0 || cost < m.least {
		m.least = cost
		m.rate, _ = strconv.ParseFloat(wrkRate.FindStringSubmatch(load.Text())[1], 64)
	}
}
