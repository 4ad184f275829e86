package soak

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

var (
	soakFor    = flag.Duration("for", 0, "how long each engine is soaked (default 9s, with -short 3s)")
	soakSeed   = flag.Uint64("seed", 0, "what is drawn from (default: the clock)")
	soakEngine = flag.String("engine", strings.Join(poise.Engines(), ","), "engines to soak, separated by commas; std too")
)

const (
	// clients is how many make connections at a time.
	clients = 32
	// killers is how many endpoints of wild may be dead at a time.
	killers = 2
	// roundMax bounds how long is loaded before it is looked what is left.
	roundMax = 2 * time.Minute
	// failuresMax ends a soak: more say no more.
	failuresMax = 10
)

// A soak is one proxy with its endpoints and clients.
type soak struct {
	t     *testing.T
	seed  uint64
	began time.Time

	papers    *papers
	trust     *tls.Config
	endpoints []*endpoint
	front     *front
	log       *log
	pages     []page

	deaths, drops moments
	done          counts // connections by kind
	met           counts // what was met that may be
	checked       atomic.Int64
	reloads       atomic.Int64
	failures      atomic.Int64
	stuck         sync.Once
}

// fail notes a failure.
func (s *soak) fail(format string, args ...any) {
	if n := s.failures.Add(1); n <= failuresMax {
		s.t.Errorf("seed %d, after %v: %s", s.seed, time.Since(s.began).Round(time.Millisecond), fmt.Sprintf(format, args...))
	}
}

// TestSoak soaks every engine that is asked for.
func TestSoak(t *testing.T) {
	long := *soakFor
	if long == 0 {
		if long = 9 * time.Second; testing.Short() {
			long = 3 * time.Second
		}
	}
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for _, engine := range strings.Split(*soakEngine, ",") {
		t.Run(engine, func(t *testing.T) {
			t.Logf("seed %d, for %v", seed, long)
			run(t, engine, seed, long)
		})
	}
}

func run(t *testing.T, engine string, seed uint64, long time.Duration) {
	s := &soak{t: t, seed: seed, began: time.Now(), pages: make([]page, numberH2(clientsH2))}
	s.log = &log{soak: s}
	// Whatever hangs, it does not hang for ever.
	defer time.AfterFunc(long+long/2+5*time.Minute, func() { panic("the soak does not end") }).Stop()
	s.papers = newPapers(t)
	s.trust = s.papers.trust
	untouched := take()
	s.populate()
	var err error
	if s.front, err = start(engine, s.config(nil), s.papers.front); err != nil {
		t.Fatal(err)
	}
	ready, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.front.Ready(ready); err != nil {
		t.Fatal(err)
	}
	stop := s.report()

	// The first round warms up everything that is kept: it is what the others are
	// compared with.
	rounds := max(1, int(long/roundMax))
	first := min(long/4, 10*time.Second)
	s.round(0, first)
	before := s.settle("warm", nil)
	for i := range rounds {
		s.round(1+i, (long-first)/time.Duration(rounds))
		s.settle(fmt.Sprintf("round %d of %d", 1+i, rounds), before)
		if s.failures.Load() > failuresMax {
			break
		}
	}
	stop()
	s.tally(long)

	ctx, cancel2 := context.WithTimeout(context.Background(), patience)
	defer cancel2()
	if err := s.front.end(ctx, s.front.Proxy); err != nil {
		s.fail("closing: %v", err)
	}
	for _, e := range s.endpoints {
		e.die()
	}
	s.front = nil
	s.settle("closed", untouched)
	s.everythingHappened(long)
}

// populate starts the endpoints. Each has an address of its own, so that no other program can
// take its port while it is dead.
func (s *soak) populate() {
	folder := s.t.TempDir()
	number := 1
	add := func(service string, n, secure int) {
		for i := range n {
			number++
			e := &endpoint{soak: s, service: service, network: "tcp", address: fmt.Sprintf("127.0.0.%d:0", number)}
			e.name = fmt.Sprintf("%s-%d", service, i)
			if i < secure {
				e.secure = s.papers.endpoint
			}
			s.endpoints = append(s.endpoints, e)
		}
	}
	add("calm", 4, 1)
	add("rude", 3, 1)
	add("wild", 6, 2)
	s.endpoints[len(s.endpoints)-1].h2c = true
	add("h2c", 3, 0)
	for _, e := range s.endpoints[len(s.endpoints)-3:] {
		e.h2c = true
	}
	unix := s.endpoints[6]
	unix.network, unix.address = "unix", filepath.Join(folder, "rude")
	for _, e := range s.endpoints {
		if err := e.rise(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// round loads the proxy for so long, while the configuration changes and endpoints die.
func (s *soak) round(number int, long time.Duration) {
	end := time.Now().Add(long)
	over := func() bool { return time.Now().After(end) || s.failures.Load() > failuresMax }
	chance := func(who int) *rand.Rand { return rand.New(rand.NewPCG(s.seed, uint64(number)<<32|uint64(who))) }
	var group sync.WaitGroup
	for i := range clients {
		c := &client{soak: s, number: i, rand: chance(i)}
		group.Go(func() { c.run(over) })
	}
	for i := range clientsH2 {
		c := &client{soak: s, number: numberH2(i), rand: chance(numberH2(i) + 100)}
		group.Go(func() { c.speakH2(over) })
	}
	group.Go(func() { s.reload(chance(clients), over) })
	for i := range killers {
		group.Go(func() { s.kill(i, chance(clients+1+i), over) })
	}
	group.Wait()
}

// reload replaces the configuration over and over.
func (s *soak) reload(r *rand.Rand, over func() bool) {
	for !over() {
		if err := s.front.Apply(s.config(r)); err != nil {
			s.fail("reload: %v", err)
		}
		s.reloads.Add(1)
		time.Sleep(time.Duration(20+r.IntN(400)) * time.Millisecond)
	}
	if err := s.front.Apply(s.config(nil)); err != nil { // what is left is compared under this one
		s.fail("reload: %v", err)
	}
}

// kill has endpoints of wild die and come back, one at a time: every killer has its own
// half of them, so that never more than two of six are dead.
func (s *soak) kill(half int, r *rand.Rand, over func() bool) {
	for !over() {
		e := s.endpoints[7+3*half+r.IntN(3)]
		time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
		s.deaths.now()
		e.die()
		s.deaths.now() // it may have taken a while
		s.met.add("deaths")
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		if err := e.rise(); err != nil {
			s.fail("%s does not come back: %v", e.name, err)
			return
		}
	}
}

// report says every ten seconds how far it is; the returned function ends that.
func (s *soak) report() (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	say := func() {
		s.t.Logf("%4.0fs: %d checked; connections: %v; met: %v; %d reloads; %d failures",
			time.Since(s.began).Seconds(), s.checked.Load(), &s.done, &s.met, s.reloads.Load(), s.failures.Load())
	}
	group.Go(func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				say()
			}
		}
	})
	return func() {
		close(done)
		group.Wait()
		say()
	}
}

// tally reads what the proxy counted of hedges and of the queue, and says what does not fit.
func (s *soak) tally(long time.Duration) {
	won, waited, refused := uint64(0), uint64(0), uint64(0)
	for _, one := range s.front.Status().Services {
		won += one.Extra.HedgesWon
		waited += one.Overload.Served
		refused += one.Overload.Full + one.Overload.Displaced + one.Overload.TimedOut
	}
	s.t.Logf("%d hedges have won; %d requests have waited in queues, and %d found no place", won, waited, refused)
	switch {
	case uint64(s.met.of(hintsOfHedge)) > won:
		s.fail("%d responses came without their hints, and %d hedges have won", s.met.of(hintsOfHedge), won)
	case refused > 0:
		s.fail("%d requests found no place in a queue", refused)
	case long >= time.Minute && (won == 0 || waited == 0):
		s.fail("no hedge has won, or no request has waited")
	}
}

// everythingHappened: a soak that met nothing has shown nothing.
func (s *soak) everythingHappened(long time.Duration) {
	if long < 8*time.Second {
		return
	}
	for _, k := range kinds {
		if s.done.of(k.name) == 0 {
			s.fail("no connection of kind %q", k.name)
		}
	}
	for _, name := range []string{"deaths", "requests aborted", "responses cut by order", "requests by HTTP/2"} {
		if s.met.of(name) == 0 {
			s.fail("met no %s", name)
		}
	}
	if s.checked.Load() < 200 || s.reloads.Load() < 5 {
		s.fail("only %d responses were checked, %d reloads", s.checked.Load(), s.reloads.Load())
	}
}
