//go:build linux

package peers

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
	"github.com/poise-lb/poise/test/peers/stage"
)

var (
	runFlag   = flag.Bool("bench", false, "measure everybody: make bench")
	writeFlag = flag.Bool("write", false, "write page and picture anew, of results.json")
)

const (
	roundsUsual = 5
	budget      = 70 * time.Minute // after which no scenario begins
)

// TestPeers measures all subjects and writes the page. BENCH_ROUNDS says how often, BENCH_ONLY
// which scenarios, by what their names begin with: the others keep the results they had.
func TestPeers(t *testing.T) {
	if !*runFlag {
		t.Skip("takes an hour: make bench")
	}
	rounds := roundsUsual
	if text := os.Getenv("BENCH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil || rounds < 1 {
			t.Fatalf("BENCH_ROUNDS=%s: a number of rounds", text)
		}
	}
	all, err := read(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t)
	all.Machine = thisMachine(t)
	there := install(k, &all)
	if slices.ContainsFunc(scenarios, func(s scenario) bool { return wanted(s.name) && strings.HasPrefix(s.name, "h2") }) {
		if k.h2load, err = k.debian("h2load", "nghttp2-client"); err != nil {
			t.Fatal(err)
		}
	}
	began, left := time.Now(), 0
	for _, s := range scenarios {
		if !wanted(s.name) {
			continue
		}
		if time.Since(began) > budget {
			left++
			progress("%-11s  left out: the %v are over", s.name, budget)
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			r := &run{t: t, kit: k, scenario: s, rounds: rounds, stage: startStage(t)}
			all.Scenarios[s.name] = r.all(there)
			if err := all.write(resultsFile); err != nil {
				t.Fatal(err)
			}
		})
	}
	progress("measured in %v; peers that could not be had: %d; scenarios left out: %d", time.Since(began).Round(time.Second), len(all.Skipped), left)
	if err := publish(all); err != nil {
		t.Fatal(err)
	}
	if left > 0 {
		t.Errorf("%d scenarios were left out: the machine is too slow or too busy", left)
	}
}

// install sees which peers are to be had, of those that take part in a wanted scenario. Of the others
// the versions stay that their results are of.
func install(k *kit, all *results) []peer {
	if all.Versions == nil {
		all.Versions = make(map[string]string)
	}
	if all.Skipped == nil {
		all.Skipped = make(map[string]string)
	}
	var there []peer
	for _, p := range peers {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return wanted(s.name) && s.has(p) }) {
			continue
		}
		delete(all.Versions, p.name)
		delete(all.Skipped, p.name)
		began := time.Now()
		version, err := p.install(k)
		if err != nil {
			all.Skipped[p.name] = err.Error()
			progress("SKIP %s: %v", p.name, err)
			continue
		}
		all.Versions[p.name] = version
		progress("%-20s %s, %.0f s", p.name, version, time.Since(began).Seconds())
		there = append(there, p)
	}
	return there
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// wanted reports whether BENCH_ONLY selects a scenario.
func wanted(name string) bool {
	only := strings.FieldsFunc(os.Getenv("BENCH_ONLY"), func(r rune) bool { return r == ',' || r == ' ' })
	return len(only) == 0 || slices.ContainsFunc(only, func(s string) bool { return strings.HasPrefix(name, s) })
}

// A remote is the process of the stage, from outside.
type remote struct {
	t         *testing.T
	addresses stage.Addresses
	ask       *json.Encoder
	answers   *json.Decoder
}

func startStage(t *testing.T) *remote {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, ask, err := os.Pipe() // files, so that the end of the process is the end of its output
	if err != nil {
		t.Fatal(err)
	}
	answers, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	rig.Start(t, rig.Command{Path: self, Core: stageCore, Env: []string{"GOMAXPROCS=1", roleVariable + "=stage"}, Stdin: in, Stdout: out})
	in.Close()
	out.Close()
	t.Cleanup(func() { ask.Close(); answers.Close() })
	r := &remote{t: t, ask: json.NewEncoder(ask), answers: json.NewDecoder(bufio.NewReader(answers))}
	if err := r.answers.Decode(&r.addresses); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *remote) do(c stage.Command) (out stage.Result) {
	r.t.Helper()
	if err := r.ask.Encode(c); err != nil {
		r.t.Fatal(err)
	}
	if err := r.answers.Decode(&out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// A run is one scenario with all of its peers.
type run struct {
	t        *testing.T
	kit      *kit
	scenario scenario
	rounds   int
	stage    *remote
	certs    map[string][2]string // by kind
	begun    int                  // processes with a turn of their own
	out      outcome
}

// A candidate is a peer set up for a variant.
type candidate struct {
	peer    peer
	variant variant
	setup   setup
	process *rig.Process
	most    float64    // requests per second that it answered so far
	spans   func() int // how often spans have come; nil: none are asked for
	fits    int        // requests that take about turnTime, of h2load; 0: not known
}

// all is the scenario: all subjects in turns, round by round.
func (r *run) all(there []peer) outcome {
	began := time.Now()
	r.certs = make(map[string][2]string)
	r.out = outcome{Date: began.UTC().Format(time.DateOnly), Rounds: r.rounds}
	if r.scenario.fewer {
		r.out.Rounds = (r.rounds + 1) / 2
	}
	var all []*candidate
	for _, v := range r.scenario.variants {
		for _, p := range there {
			c := &candidate{peer: p, variant: v, setup: r.setup(v)}
			if !r.scenario.has(p) || p.cannot != nil && p.cannot(c.setup) {
				continue
			}
			if !r.scenario.anew {
				r.begin(r.t, c)
			}
			all = append(all, c)
		}
	}
	for round := range r.out.Rounds {
		for _, c := range all {
			r.turn(c)
		}
		progress("%-11s  round %d of %d, %.0f s", r.scenario.name, round+1, r.out.Rounds, time.Since(began).Seconds())
	}
	for _, c := range all {
		if why := r.out.failure(c.variant.name, c.peer.name); why != "" {
			r.t.Errorf("%s, %s: %s", c.peer.name, c.variant.name, why)
		}
	}
	return r.out
}

// has reports whether a peer takes part.
func (s scenario) has(p peer) bool {
	return slices.Contains(s.named, p.name) || !s.alone && !p.only
}

// setup completes that of a variant.
func (r *run) setup(v variant) setup {
	s := v.setup
	s.Endpoints = r.stage.addresses.Two[:]
	if v.many > 0 {
		s.Endpoints = nil
		for i := range v.many {
			s.Endpoints = append(s.Endpoints, fmt.Sprintf("127.1.%d.%d:%d", i/100, 1+i%100, r.stage.addresses.Many))
		}
	}
	if v.cert != "" {
		if _, ok := r.certs[v.cert]; !ok {
			cert, key := certificate(r.t, v.cert)
			r.certs[v.cert] = [2]string{cert, key}
		}
		s.Cert, s.Key = r.certs[v.cert][0], r.certs[v.cert][1]
	}
	if s.Log != "" {
		s.Log = filepath.Join(r.t.TempDir(), s.Log)
	}
	return s
}

// begin starts a proxy and waits until it listens.
func (r *run) begin(t *testing.T, c *candidate) {
	c.setup.Listen = rig.Address(t)
	if c.variant.scraped {
		c.setup.Status = rig.Address(t)
	}
	if c.variant.traced {
		c.setup.Spans, c.spans = rig.Spans(t)
	}
	c.process = c.peer.start(t, r.kit, c.setup)
	c.process.Listens(c.setup.Listen)
}

// turn is one measurement of one candidate.
func (r *run) turn(c *candidate) {
	if r.scenario.anew {
		r.begun++
		r.t.Run(fmt.Sprintf("%s %d", c.peer.name, r.begun), func(t *testing.T) { // the process ends with it
			r.begin(t, c)
			r.measure(c)
		})
		return
	}
	r.measure(c)
}

func (r *run) measure(c *candidate) {
	load := c.variant.load
	load.Address, load.Process = c.setup.Listen, c.process.ID()
	if f := c.variant.client; f != nil {
		r.out.add(c.variant.name, c.peer.name, f(r, c))
		return
	}
	if load.Kind == stage.Hold {
		r.out.add(c.variant.name, c.peer.name, r.hold(c, load))
		return
	}
	if c.variant.share > 0 {
		full := closed(load.Connections)
		full.Address, full.Process = load.Address, load.Process
		if result := r.stage.do(full); result.Elapsed > 0 {
			c.most = max(c.most, float64(result.Requests)/result.Elapsed.Seconds())
		}
		load.Rate = c.variant.share * c.most
	}
	stop := func() int { return 1 }
	if c.variant.scraped {
		stop = rig.Scrape(r.t, c.setup.Status)
	}
	result := r.stage.do(load)
	if stop() == 0 && result.Error == "" {
		result.Error = "nothing was scraped meanwhile"
	}
	if c.spans != nil && c.spans() == 0 && result.Error == "" {
		result.Error = "no spans came"
	}
	if load.Resume && result.Error == "" && result.Resumed < result.Requests*99/100 {
		result.Error = fmt.Sprintf("only %d of %d handshakes were resumed", result.Resumed, result.Requests)
	}
	r.out.add(c.variant.name, c.peer.name, turn{Result: result, Rate: load.Rate})
}

// settleTime is for a process to have all of the memory that it is going to have.
const settleTime = 300 * time.Millisecond

// hold measures memory: what the process has before and while connections are held. First
// it serves a while, because a process that has served nothing grows by more than that.
func (r *run) hold(c *candidate, load stage.Command) turn {
	if result := r.warm(c, load); result.Error != "" {
		return turn{Result: result}
	}
	time.Sleep(settleTime)
	before := anonymous(r.t, load.Process)
	result := r.stage.do(load)
	time.Sleep(settleTime)
	after := anonymous(r.t, load.Process)
	if released := r.stage.do(stage.Command{Kind: stage.Release}); released.Error != "" {
		r.t.Error(released.Error)
	}
	if result.Error != "" || result.Held == 0 {
		return turn{Result: result}
	}
	return turn{Result: result, Bytes: float64(after-before) / float64(result.Held)}
}

// warm has a process serve requests and new connections for a while.
func (r *run) warm(c *candidate, load stage.Command) (result stage.Result) {
	if load.Multi {
		for _, l := range []h2load{{8, 16, load.Paths[0], false}, {500, 1, load.Paths[0], false}} {
			if result, _ = l.run(r, c, 5000); result.Error != "" {
				break
			}
		}
		return result
	}
	warm := closed(usual)
	warm.Address, warm.TLS, warm.Time = load.Address, load.TLS, warm.Time/2
	if result = r.stage.do(warm); result.Error == "" {
		result = r.stage.do(fresh(warm))
	}
	return result
}

var anonymousPattern = regexp.MustCompile(`(?m)^RssAnon:\s*(\d+) kB`)

// anonymous is the memory that a process has for itself, in bytes.
func anonymous(t *testing.T, process int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		t.Fatal(err)
	}
	m := anonymousPattern.FindSubmatch(text)
	if m == nil {
		t.Fatal("the kernel does not tell RssAnon")
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
