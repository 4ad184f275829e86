package discoverytest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

// look is how often a check looks for what it waits for.
const look = 10 * time.Millisecond

// set tells the registry of endpoints by number; their weights follow from round.
func (s *stage) set(round int, numbers ...int) {
	s.setOut(round, nil, numbers...)
}

// setOut is set with some of the endpoints out.
func (s *stage) setOut(round int, outs []int, numbers ...int) {
	var specs []endpoint.Spec
	known := make(map[string]int, len(numbers))
	for _, n := range numbers {
		spec := endpoint.Spec{
			ID:     endpoint.ID{Scheme: "http", Address: fmt.Sprintf("10.0.%d.%d:80", n/200, 1+n%200)},
			Weight: float64(1 + (n+round)%3),
			Out:    slices.Contains(outs, n),
		}
		specs = append(specs, spec)
		known[spec.Address] = int(spec.Weight)
		if spec.Out {
			known[spec.Address] = 0
		}
	}
	s.mu.Lock()
	s.history = append(s.history, known)
	s.mu.Unlock()
	s.registry.Set(specs)
}

// eventually waits for what must become true within a time.
func (s *stage) eventually(within time.Duration, what string, ok func() bool) {
	s.Helper()
	for end := time.Now().Add(within); ; time.Sleep(look) {
		s.mu.Lock()
		good := ok()
		heard := s.heard
		s.mu.Unlock()
		switch {
		case good:
			return
		case time.Now().After(end):
			s.Fatalf("not within %v: %s; published were %d updates, %s", within, what, len(heard), lastOf(heard))
		}
	}
}

func lastOf(heard []update) string {
	if len(heard) == 0 {
		return "none"
	}
	last := heard[len(heard)-1]
	if last.err != nil {
		return "the last an error: " + last.err.Error()
	}
	return "the last " + show(last.set)
}

// arrived reports whether the last update is the registry's set. Called with mu held.
func (s *stage) arrived() bool {
	n := len(s.heard)
	return n > 0 && s.heard[n-1].err == nil && s.same(s.heard[n-1].set, s.latest())
}

// failing reports whether an error was published after the first n updates. Called with
// mu held.
func (s *stage) failing(n int) bool {
	for _, u := range s.heard[n:] {
		if u.err != nil {
			return true
		}
	}
	return false
}

// sofar is the number of updates until now.
func (s *stage) sofar() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.heard)
}

// begin starts the source with three endpoints and waits for them.
func (s *stage) begin() {
	s.Helper()
	s.set(0, 1, 2, 3)
	s.run()
	s.eventually(s.Arrives, "the first set", s.arrived)
}

// initial: what the registry knows at the start is published.
func initial(s *stage) {
	s.begin()
	n := s.sofar()
	time.Sleep(s.Arrives)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing(n) {
		s.mistake("an error although all is well: %s", lastOf(s.heard))
	}
}

// late: a service that the registry learns of later is found.
func late(s *stage) {
	s.run()
	time.Sleep(s.Arrives / 4)
	s.set(0, 5)
	s.eventually(s.Arrives, "the service that came later", s.arrived)
}

// empty: the last endpoint may go, in good order, and others may come.
func empty(s *stage) {
	s.begin()
	s.set(1)
	s.eventually(s.Arrives, "the empty set", s.arrived)
	s.set(2, 7)
	s.eventually(s.Arrives, "the set after it", s.arrived)
}

// changes: additions, removals and new weights arrive, also many at once.
func changes(s *stage) {
	s.begin()
	for round, set := range [][]int{{1, 2, 3, 4}, {2, 3, 4}, {9}, {9, 1}, {1, 9, 2, 3}} {
		s.set(round+1, set...)
		s.eventually(s.Arrives, fmt.Sprintf("change %d", round), s.arrived)
	}
	var many []int
	for n := range 300 {
		many = append(many, n)
	}
	s.set(0, many...)
	s.eventually(s.Arrives, "300 endpoints", s.arrived)
	s.set(0, many[:10]...)
	s.eventually(s.Arrives, "10 of them", s.arrived)
}

// out: an instance that says that it takes no new requests stays in the set and says so,
// one, all but one, or all of them at once; and it comes back.
func out(s *stage) {
	if !s.Outs {
		s.Skip("the registry knows no such state")
	}
	s.begin()
	for round, outs := range [][]int{{2}, nil, {1, 3}, {1, 2, 3}, {3}, nil} {
		s.setOut(0, outs, 1, 2, 3)
		s.eventually(s.Arrives, fmt.Sprintf("change %d, with %v out", round, outs), s.arrived)
	}
}

// reordered: the order of an answer means nothing.
func reordered(s *stage) {
	s.begin()
	for _, set := range [][]int{{3, 1, 2}, {2, 3, 1}, {1, 2, 3}} {
		s.set(0, set...)
		time.Sleep(s.Arrives / 8)
	}
	s.set(0, 3, 2, 1, 8)
	s.eventually(s.Arrives, "a real change", s.arrived)
}

// down: an outage is an error and no set; what happened meanwhile arrives afterwards, and
// if nothing did, a set says that the last one is good.
func down(s *stage) {
	s.begin()
	for round := range 2 {
		n := s.sofar()
		s.registry.Down()
		s.eventually(s.Notices, "an error during the outage", func() bool { return s.failing(n) })
		if round == 1 {
			s.set(1, 2, 3, 4)
		}
		s.outage(n)
		s.registry.Up()
		s.eventually(s.Recovers, "a set after the outage", s.arrived)
	}
}

// outage waits a while and wants no set after the first error: the last one stays in use.
func (s *stage) outage(since int) {
	s.Helper()
	time.Sleep(s.Arrives)
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := false
	for _, u := range s.heard[since:] {
		if u.err == nil && failed {
			s.mistake("a set was published during an outage: %s", show(u.set))
		}
		failed = failed || u.err != nil
	}
}

// downAtStart: a source that cannot ask says so and never publishes an empty set.
func downAtStart(s *stage) {
	s.set(0, 1, 2)
	s.registry.Down()
	s.run()
	s.eventually(s.Notices, "an error", func() bool { return s.failing(0) })
	s.mu.Lock()
	for _, u := range s.heard {
		if u.err == nil {
			s.mistake("published %s although nobody could be asked", show(u.set))
		}
	}
	s.mu.Unlock()
	s.registry.Up()
	s.eventually(s.Recovers, "the first set", s.arrived)
}

// reset: connections that break are made again, and nothing is missed.
func reset(s *stage) {
	s.begin()
	for round := range 5 {
		s.registry.Reset()
		if round%2 == 0 {
			s.set(round, 1, 2, 10+round)
		}
		s.eventually(s.Recovers, "the set after a reset", s.arrived)
		s.set(round, 1, 20+round)
		s.eventually(s.Recovers, "a change after a reset", s.arrived)
	}
}

// frozen: a registry that hangs is an outage, and hangs nothing else.
func frozen(s *stage) {
	s.begin()
	n := s.sofar()
	s.registry.Freeze()
	s.eventually(s.Notices, "an error while the registry hangs", func() bool { return s.failing(n) })
	s.set(1, 4, 5)
	s.registry.Unfreeze()
	s.eventually(s.Recovers, "the set after it", s.arrived)
	s.set(2, 6)
	s.eventually(s.Recovers, "a change", s.arrived)
}

// lostData: a registry that comes back without its data has an empty set; that is its
// word, and a source repeats it. Who uses the source may doubt it.
func lostData(s *stage) {
	s.begin()
	s.registry.Down()
	s.set(1)
	time.Sleep(s.Arrives)
	s.registry.Up()
	s.eventually(s.Recovers, "the empty set", s.arrived)
	s.set(2, 1, 2, 3)
	s.eventually(s.Arrives, "what came back", s.arrived)
}

// storm: in whatever order things happen, no set is published that the registry never had,
// and in the end the last one arrives.
func storm(s *stage) {
	s.begin()
	r := rand.New(rand.NewPCG(uint64(len(s.Name())), 1))
	rounds := 60
	if !s.Virtual {
		rounds = 20 // this is real time
	}
	for round := range rounds {
		switch r.IntN(8) {
		case 0:
			s.registry.Reset()
		case 1:
			s.registry.Down()
			time.Sleep(time.Duration(r.Int64N(int64(s.Arrives))))
			s.registry.Up()
		case 2:
			s.registry.Freeze()
			time.Sleep(time.Duration(r.Int64N(int64(s.Arrives))))
			s.registry.Unfreeze()
		default:
			s.set(round, r.Perm(12)[:r.IntN(12)]...)
		}
		time.Sleep(time.Duration(r.Int64N(int64(s.Arrives / 8))))
	}
	s.set(0, 1, 2, 3)
	s.eventually(s.Recovers, "the last set", s.arrived)
}

// end: Run returns when its context ends, while all is well.
func end(s *stage) {
	s.begin()
	s.stop()
}

// endDown: and during an outage.
func endDown(s *stage) {
	s.begin()
	s.registry.Down()
	time.Sleep(s.Arrives)
	s.stop()
}

// endFrozen: and while the registry hangs, also before the first answer.
func endFrozen(s *stage) {
	s.registry.Freeze()
	s.run()
	time.Sleep(s.Arrives / 2)
	s.stop()
	s.registry.Unfreeze()
}

// leakBytes is how much more memory may be in use after all reconnects but the first.
const leakBytes = 4 << 20

// leak: reconnects leave neither goroutines nor memory behind.
func leak(s *stage) {
	s.begin()
	var goroutines int
	var bytes uint64
	warm := max(s.Reconnects/5, 1)
	for round := range s.Reconnects {
		s.registry.Reset()
		s.set(round, 1+round%2, 5)
		s.eventually(s.Recovers, fmt.Sprintf("the set after reset %d", round), s.arrived)
		s.mu.Lock()
		s.history = s.history[len(s.history)-1:]
		s.heard = s.heard[len(s.heard)-1:]
		s.mu.Unlock()
		if round == warm {
			time.Sleep(s.Arrives) // for what is about to end, or to begin
			goroutines, bytes = inUse()
		}
	}
	time.Sleep(s.Arrives)
	moreGoroutines, moreBytes := inUse()
	if moreGoroutines > goroutines+3 {
		s.Errorf("%d goroutines after %d reconnects, %d after %d", moreGoroutines, s.Reconnects, goroutines, warm)
	}
	if moreBytes > bytes+leakBytes {
		s.Errorf("%d bytes in use after %d reconnects, %d after %d", moreBytes, s.Reconnects, bytes, warm)
	}
}

// inUse is the number of goroutines, and of bytes that are reachable.
func inUse() (goroutines int, bytes uint64) {
	runtime.GC()
	runtime.GC() // what finalizers freed
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}
