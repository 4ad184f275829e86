package script

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/downstream/h1"
	"github.com/poise-lb/poise/internal/downstream/h2"
	"github.com/poise-lb/poise/internal/engine/virtual"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "play this virtual world only; 0: several")
	traceFlag = flag.Bool("trace", false, "print every step of a virtual world")
)

// seeds is how many virtual worlds a script is played in. Each draws its own order of
// tasks, and most cut what is written into pieces.
const seeds = 12

// exceptionsMax bounds how many scripts may leave a driver out.
const exceptionsMax = 18

// http1Max bounds how many scripts leave clients or endpoints of HTTP/2 out.
const http1Max = 33

// together is how many plays on sockets run at once. They wait most of the time.
const together = "12"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", together)
	}
	os.Exit(m.Run())
}

// drivers are all of this system: on sockets, what Serve has, and net/http.
var drivers = append(poise.Engines(), "std", "virtual")

func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("*.txtar")
	if err != nil || len(paths) < 40 {
		t.Errorf("only %d scripts, %v", len(paths), err)
	}
	exceptions, http1s := 0, 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseArchive(string(text))
		if err != nil {
			t.Fatalf("%s:%v", path, err)
		}
		only, err := played(a.comment)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if len(only) < len(drivers) {
			exceptions++
		}
		clients, err := protocolsOf(a.comment, "clients: ")
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		endpoints, err := protocolsOf(a.comment, "endpoints: ")
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		std, err := protocolsOf(a.comment, "std: ")
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !clients.http2 || !endpoints.http2 || !std.http2 {
			http1s++
		}
		t.Run(strings.TrimSuffix(path, ".txtar"), func(t *testing.T) {
			for _, c := range combinations(only, clients, std, endpoints, "virtual") {
				t.Run(c.String(), func(t *testing.T) { drive(t, c, path, a) })
			}
			t.Parallel() // with other scripts: on sockets they wait rather than compute
			for _, c := range combinations(only, clients, std, endpoints, "") {
				t.Run(c.String(), func(t *testing.T) { drive(t, c, path, a) })
			}
		})
	}
	if exceptions > exceptionsMax {
		t.Errorf("%d scripts leave a driver out: more than %d", exceptions, exceptionsMax)
	}
	if http1s > http1Max {
		t.Errorf("%d scripts leave HTTP/2 out: more than %d", http1s, http1Max)
	}
}

// A failure is repeated by its seed only if nothing else decides what happens. Compared
// is what happens until the script is over: the proxy ends its tasks in no fixed order.
func TestVirtualPlaysCanBeRepeated(t *testing.T) {
	paths, err := filepath.Glob("*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseArchive(string(text))
		if err != nil {
			t.Fatal(err)
		}
		clients, err := protocolsOf(a.comment, "clients: ")
		if err != nil {
			t.Fatal(err)
		}
		endpoints, err := protocolsOf(a.comment, "endpoints: ")
		if err != nil {
			t.Fatal(err)
		}
		var traces [2]strings.Builder
		for i := range traces {
			p := &play{name: path, archive: a, parse: parse, http2: !clients.http1, h2c: endpoints.http2}
			playVirtual(p, 5, traceUntilOver{p, &traces[i]})
		}
		if traces[0].Len() == 0 || traces[0].String() != traces[1].String() {
			t.Errorf("%s: two plays of one seed differ", path)
		}
	}
}

type traceUntilOver struct {
	play *play
	io.Writer
}

func (t traceUntilOver) Write(line []byte) (int, error) {
	if t.play.over {
		return len(line), nil
	}
	return t.Writer.Write(line)
}

// played reads which drivers play a script: all, or those of a line such as
// "only: virtual (why)" in its comment.
func played(comment string) ([]string, error) {
	if !strings.HasPrefix(comment, "# ") {
		return nil, errors.New("the first line does not say what this is about")
	}
	for l := range strings.Lines(comment) {
		list, ok := strings.CutPrefix(l, "only: ")
		if !ok {
			continue
		}
		names, why, ok := strings.Cut(list, "(")
		only := strings.Fields(names)
		for _, name := range only {
			if name != "loop" && !slices.Contains(drivers, name) {
				return nil, fmt.Errorf("%s: no such driver", name)
			}
		}
		only = slices.DeleteFunc(only, func(name string) bool { return !slices.Contains(drivers, name) })
		if !ok || len(why) < 10 || len(only) == 0 {
			return nil, errors.New("only: without a reason")
		}
		return only, nil
	}
	return drivers, nil
}

// protocols are those that one side of a script speaks.
type protocols struct{ http1, http2 bool }

// protocolsOf reads which protocols the clients or the endpoints of a script speak, or the clients of
// its driver std: both, or the one of a line such as "clients: http1 (why)" in its comment. side is
// how that line begins.
func protocolsOf(comment, side string) (protocols, error) {
	for l := range strings.Lines(comment) {
		only, ok := strings.CutPrefix(l, side)
		if !ok {
			continue
		}
		name, why, _ := strings.Cut(only, " (")
		if len(why) < 10 || name != "http1" && name != "http2" {
			return protocols{}, fmt.Errorf("%swant http1 or http2, and (the reason)", side)
		}
		return protocols{name == "http1", name == "http2"}, nil
	}
	return protocols{true, true}, nil
}

// A combination is a driver, and the protocols of both sides.
type combination struct {
	driver     string
	http2, h2c bool // clients, endpoints speak HTTP/2
}

// String is the name of a play: loop, loop-http2, loop-to-h2c, loop-http2-to-h2c.
func (c combination) String() string {
	name := c.driver
	if c.http2 {
		name += "-http2"
	}
	if c.h2c {
		name += "-to-h2c"
	}
	return name
}

// combinations are those that a script is played in: of the driver virtual, or of all others. std are
// the protocols of clients which its driver std plays.
func combinations(drivers []string, clients, std, endpoints protocols, only string) (all []combination) {
	for _, driver := range drivers {
		if (driver == "virtual") != (only == "virtual") {
			continue
		}
		for _, c := range []combination{{driver, false, false}, {driver, true, false}, {driver, false, true}, {driver, true, true}} {
			switch {
			case c.http2 && !clients.http2, !c.http2 && !clients.http1, c.h2c && !endpoints.http2, !c.h2c && !endpoints.http1:
			case driver == "std" && c.http2 && !std.http2:
			case testing.Short() && (c.http2 || c.h2c) && (driver == "loop" || driver == "virtual"):
				// The short form is for the race detector: their tasks never run at once.
			default:
				all = append(all, c)
			}
		}
	}
	return all
}

func drive(t *testing.T, c combination, path string, a archive) {
	driver := c.driver
	p := &play{name: path, archive: a, parse: parse, http2: c.http2, h2c: c.h2c}
	if driver == "virtual" {
		first, last := *seedFlag, *seedFlag
		if first == 0 {
			first, last = 1, seeds
		}
		var trace io.Writer
		if *traceFlag {
			trace = os.Stdout
		}
		for seed := first; seed <= last; seed++ {
			if err := playVirtual(p, seed, trace); err != nil {
				t.Errorf("%v\n(go test ./test/script -run 'TestScripts/%s' -seed %d)", err, strings.TrimPrefix(t.Name(), "TestScripts/"), seed)
				return
			}
		}
		return
	}
	t.Parallel()
	s := newSocketStage()
	p.stage, p.patience = s, 30*time.Second
	p.connect = p.patience // a busy machine is no fault
	p.onSockets(t, driver, s)
	err := p.run()
	s.actors.Wait()
	if err != nil {
		t.Error(err)
	}
}

// onSockets has p played by that driver.
func (p *play) onSockets(t *testing.T, driver string, s *socketStage) {
	p.logFile = filepath.Join(t.TempDir(), "access.log")
	p.log = fileLog(p.logFile)
	p.open = func(cfg config.Config) (proxy, string, error) {
		cfg.Spans = p.spans
		if driver == "std" {
			return openStd(s, cfg)
		}
		cfg.Engine = driver
		cfg.Workers = 1 // each has connections of its own: a script would not know whose is reused
		return openServe(s, cfg)
	}
}

// parse reads a configuration as the binary does, without its environment.
func parse(name string, data []byte) (config.Config, error) {
	cfg, err := configfile.Parse(name, data, func(string) (string, bool) { return "", false })
	cfg.Logger = quiet
	return cfg, err
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// playVirtual plays in the virtual world of a seed, which also says how unkind it is.
func playVirtual(p *play, seed uint64, trace io.Writer) error {
	w := virtual.New(seed)
	w.SegmentMax = []int{0, 1000, 20, 3}[seed%4]
	w.Delay = []time.Duration{0, 200 * time.Microsecond, time.Millisecond}[seed%3]
	w.Preempt = []int{0, 3}[seed/2%2]
	w.Trace = trace
	v := &virtualStage{world: w}
	p.stage, p.patience, p.log = v, 10*time.Second, &v.log
	p.open = func(cfg config.Config) (proxy, string, error) { return openVirtual(w, v, p, cfg) }
	return rehearse(w, p.run)
}

// virtualProxy is the core with an accept loop of coroutines.
type virtualProxy struct {
	*core.Proxy
	world  *virtual.World
	ears   listener
	scheme string // of endpoints

	protocol *downstream.Protocol
}

func openVirtual(w *virtual.World, v *virtualStage, of *play, cfg config.Config) (proxy, string, error) {
	core, err := core.New(w.Runtime(), cfg, core.Options{Logger: quiet, Sink: v.log.open, Spans: of.spans.ring, Clock: w.Wall})
	if err != nil {
		return nil, "", err
	}
	core.AwaitReady(w.Now() + time.Second)
	p := virtualProxy{core, w, nil, of.scheme(), h1.Protocol.Or(h2.New(1))}
	if p.ears, err = v.Listen("10.1.0.1:80"); err != nil {
		return nil, "", err
	}
	w.Daemon("proxy accepts", func() { p.accept() })
	return p, p.ears.Address(), nil
}

func (p virtualProxy) accept() {
	for {
		c, err := p.ears.Accept()
		if err != nil {
			return
		}
		s := c.(*virtual.Stream)
		p.world.Daemon("proxy connection", func() { p.ServeStream(p.world.Runtime(), s, core.Peer{Remote: s.Remote(), Protocol: p.protocol}) })
	}
}

func (p virtualProxy) Operate(kind, address string, weight float64) error {
	var last error
	heard := false
	for _, s := range p.Services() {
		id := endpoint.ID{Scheme: p.scheme, Address: address}
		var err error
		if k, ok := endpoint.ParseOverrideKind(kind); ok {
			_, err = s.Override(endpoint.Override{Endpoint: id, Kind: k, Weight: weight})
		} else {
			_, err = s.RemoveOverride(id, endpoint.Drain, "")
		}
		if err != nil {
			last = err
			continue
		}
		heard = true
	}
	if heard {
		return nil // the other services do not have the endpoint
	}
	return last
}

func (p virtualProxy) Status() (lines []string) {
	for _, s := range p.Services() {
		x := s.Shadow()
		taken, refused := s.LoadReports()
		lines = append(lines, statusLine(s.Name(), x.Name, x.Picks, x.Agreed, taken, refused))
	}
	return lines
}

func (p virtualProxy) Close(by time.Duration) error {
	p.Drain()
	p.world.Runtime().Sleep(p.world.Now() + p.Config().Timeouts.DrainDelay)
	p.ears.Close()
	p.world.Daemon("hurry", func() {
		p.world.Runtime().Sleep(by)
		p.Hurry()
	})
	p.Proxy.Close()
	return nil
}
