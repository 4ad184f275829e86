// Package discoverytest checks that a discovery.Source keeps its contract, whatever its
// registry does: it goes away and comes back, breaks connections, hangs, answers in
// another order, loses its data. It is for every source, also those of other modules:
//
//	func TestContract(t *testing.T) {
//		discoverytest.Run(t, discoverytest.Config{
//			Virtual: true,
//			New: func(t *testing.T) (discovery.Source, discoverytest.Registry) {
//				fake := newFake(t)
//				return mine.New(fake.address), fake
//			},
//		})
//	}
package discoverytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// A Registry is the fake that a source under test asks, in the hands of the test. Its
// methods are called by one goroutine and return when what they ask for is so.
type Registry interface {
	// Set replaces what the registry knows of the service, listed in this order: endpoints
	// with scheme http, an IPv4 address, and a weight from 1 to 3. With Config.Outs some are
	// Out: the registry has them say, in one of the ways it knows, that they take no new
	// requests.
	Set(specs []endpoint.Spec)
	// Down breaks every connection and refuses new ones until Up. What is known stays.
	Down()
	Up()
	// Reset breaks every connection; new ones are welcome.
	Reset()
	// Freeze answers nothing until Unfreeze, on old connections and on new ones.
	Freeze()
	Unfreeze()
}

// A Config says what is tested and what may be expected of it.
type Config struct {
	// New makes a source that was not run yet and its registry, which knows nothing. It is
	// called once for each check.
	New func(t *testing.T) (discovery.Source, Registry)
	// Virtual runs each check in a bubble of testing/synctest. The registry must then live
	// in memory; minutes cost nothing.
	Virtual bool
	// Atomic: Set is one step in the registry, so that every published set must be one that
	// was Set. Otherwise those on the way from one to the next are allowed, too.
	Atomic bool
	// Weights: the registry knows weights.
	Weights bool
	// Outs: instances can say in the registry that they take no new requests.
	Outs bool

	Arrives    time.Duration // from a change to its publication, when all is well; 0: 10 s
	Notices    time.Duration // from an outage, of whatever kind, to an error; 0: two minutes
	Recovers   time.Duration // from the end of an outage to a set; 0: two minutes
	Ends       time.Duration // from the end of the context to that of Run; 0: 5 s
	Reconnects int           // of the check for leaks; 0: 500
	// Without names checks that mean nothing here, with the reason: they are skipped.
	Without map[string]string
}

// checks are what Run runs, by name.
var checks = []struct {
	name string
	f    func(*stage)
}{
	{"initial", initial},
	{"late", late},
	{"empty", empty},
	{"changes", changes},
	{"out", out},
	{"reordered", reordered},
	{"down", down},
	{"down-at-start", downAtStart},
	{"reset", reset},
	{"frozen", frozen},
	{"lost-data", lostData},
	{"storm", storm},
	{"end", end},
	{"end-down", endDown},
	{"end-frozen", endFrozen},
	{"leak", leak},
}

// Run checks a source. Each check is a subtest.
func Run(t *testing.T, c Config) {
	t.Helper()
	positive(&c.Arrives, 10*time.Second)
	positive(&c.Notices, 2*time.Minute)
	positive(&c.Recovers, 2*time.Minute)
	positive(&c.Ends, 5*time.Second)
	positive(&c.Reconnects, 500)
	without := maps.Clone(c.Without)
	for _, check := range checks {
		why, skip := without[check.name]
		delete(without, check.name)
		t.Run(check.name, func(t *testing.T) {
			if skip {
				t.Skip(why)
			}
			play := func(t *testing.T) { onStage(t, c, check.f) }
			if c.Virtual {
				synctest.Test(t, play)
			} else {
				play(t)
			}
		})
	}
	for name := range without {
		t.Errorf("there is no check %q to do without", name)
	}
}

func positive[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// A stage is a source at work, its registry, and what both must agree on.
type stage struct {
	*testing.T
	Config
	registry Registry
	source   discovery.Source
	cancel   context.CancelFunc
	done     chan error // what Run returned

	mu       sync.Mutex
	history  []map[string]int // every set the registry had: weights by address, 0 if out
	heard    []update
	inside   bool // publish is being called
	ended    bool // Run has returned
	mistakes []string
}

// An update is what was published, as addresses with weights, or as an error.
type update struct {
	set map[string]int
	err error
}

func onStage(t *testing.T, c Config, check func(*stage)) {
	s := &stage{T: t, Config: c, done: make(chan error, 1), history: []map[string]int{{}}}
	s.source, s.registry = c.New(t)
	defer func() { // also after Fatal
		s.stop()
		time.Sleep(look) // for what is published too late
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, m := range s.mistakes {
			t.Error(m)
		}
	}()
	check(s)
}

// run starts the source. Run's goroutine belongs to the stage, which waits for it.
func (s *stage) run() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		err := s.source.Run(ctx, s.publish)
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		s.done <- err
	}()
}

// stop ends the source, in time and without an error, however it fares.
func (s *stage) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.cancel = nil // once
	select {
	case err := <-s.done:
		if err != nil {
			s.Errorf("Run returned %v when its context ended, want nil", err)
		}
	case <-time.After(s.Ends):
		s.Errorf("Run did not return within %v of the end of its context", s.Ends)
		s.registry.Unfreeze()
		s.registry.Down()
		<-s.done
	}
}

// mistake notes one, for when the check is over: publish is called by the source's
// goroutines, which must not end the test. Called with mu held.
func (s *stage) mistake(format string, args ...any) {
	if len(s.mistakes) < 20 {
		s.mistakes = append(s.mistakes, fmt.Sprintf(format, args...))
	}
}

// publish checks everything that must be true of every update.
func (s *stage) publish(u discovery.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inside {
		s.mistake("publish was called by two goroutines at once")
	}
	if s.ended {
		s.mistake("publish was called after Run had returned")
	}
	s.inside = true
	s.mu.Unlock()
	time.Sleep(time.Millisecond) // so that a second call would be noticed
	s.mu.Lock()
	s.inside = false
	if u.Err != nil {
		s.heard = append(s.heard, update{err: u.Err})
		return
	}
	for _, r := range u.Rejected {
		s.mistake("rejected %s: %s", r.ID, r.Reason)
	}
	set := make(map[string]int, len(u.Endpoints))
	for _, spec := range u.Endpoints {
		if err := valid(spec); err != nil {
			s.mistake("published %+v: %v", spec, err)
		}
		if _, twice := set[spec.Address]; twice {
			s.mistake("published %s twice in one set", spec.Address)
		}
		set[spec.Address] = max(int(spec.Weight), 1)
		if spec.Out {
			set[spec.Address] = 0
		}
	}
	if !s.possible(set) {
		s.mistake("published %s, which the registry never had (%d sets, the last is %s)", show(set), len(s.history), show(s.latest()))
	}
	s.heard = append(s.heard, update{set: set})
}

func valid(spec endpoint.Spec) error {
	if spec.Scheme != "http" && spec.Scheme != "https" && spec.Scheme != "h2c" {
		return errors.New("its scheme is none of http, https and h2c")
	}
	_, err := netip.ParseAddrPort(spec.Address)
	return err
}

// possible reports whether the registry had the set, or had it on the way from one to the
// next. Called with mu held.
func (s *stage) possible(set map[string]int) bool {
	for i := len(s.history) - 1; i >= 0; i-- {
		if s.same(set, s.history[i]) || i > 0 && !s.Atomic && between(set, s.history[i-1], s.history[i]) {
			return true
		}
	}
	return false
}

// same compares sets as far as the registry knows them.
func (s *stage) same(a, b map[string]int) bool {
	if s.Weights {
		return maps.Equal(a, b)
	}
	return maps.EqualFunc(a, b, func(v, w int) bool { return (v == 0) == (w == 0) })
}

// between reports whether a set has what both neighbours have and nothing that neither has.
func between(set, from, to map[string]int) bool {
	for a := range set {
		_, f := from[a]
		if _, t := to[a]; !f && !t {
			return false
		}
	}
	for a := range from {
		if _, t := to[a]; !t {
			continue
		}
		if _, in := set[a]; !in {
			return false
		}
	}
	return true
}

// latest is what the registry has now. Called with mu held.
func (s *stage) latest() map[string]int { return s.history[len(s.history)-1] }

func show(set map[string]int) string {
	all := slices.Sorted(maps.Keys(set))
	if len(all) > 6 {
		return fmt.Sprintf("%s … (%d)", strings.Join(all[:6], " "), len(all))
	}
	return "[" + strings.Join(all, " ") + "]"
}
