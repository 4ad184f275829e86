package enginetest

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

var taskPromises = []promise{
	{name: "Clock", test: clock},
	{name: "Sleep", test: sleep},
	{name: "Rand", test: random},
	{name: "ForkAndJoin", test: forks},
	{name: "ForkBringsPanicsHome", test: forkPanics},
	{name: "ForkSurvivesGoexit", test: forkGoexit, foreign: true},
	{name: "Do", test: do},
	{name: "DoDelaysNobody", test: doDelaysNobody, foreign: true},
	{name: "SignalIsOneSlot", test: signalOneSlot},
	{name: "SignalWakesWhoWaits", test: signalWakes},
	{name: "SignalsFromEverywhere", test: signalsFromEverywhere, foreign: true},
}

func clock(k *kit) {
	if k.rt.Now() <= 0 {
		k.Error("the clock starts at zero, which as a deadline means none")
	}
	last := k.rt.Now()
	for range 1000 {
		if now := k.rt.Now(); now < last {
			k.Errorf("the clock went back by %v", last-now)
		} else {
			last = now
		}
	}
	if w := k.rt.Worker(); w < 0 {
		k.Errorf("worker %d", w)
	}
}

func sleep(k *kit) {
	for _, d := range []time.Duration{-time.Hour, 0, time.Microsecond, 300 * time.Microsecond, moment} {
		until := k.rt.Now() + d
		if err := k.rt.Sleep(until); err != nil || k.rt.Now() < until {
			k.Errorf("sleep of %v: %v, %v early", d, err, until-k.rt.Now())
		}
	}
	// The task with the shorter sleep wakes first, in whatever order they began.
	var mu sync.Mutex
	var order []time.Duration
	var joins []engine.Join
	base := k.rt.Now() + moment
	for _, d := range []time.Duration{4, 1, 3, 2} {
		joins = append(joins, k.rt.Fork(func() {
			k.rt.Sleep(base + d*2*moment)
			mu.Lock()
			order = append(order, k.rt.Now()-base-d*2*moment)
			mu.Unlock()
		}))
	}
	for _, j := range joins {
		j.Wait()
	}
	for _, late := range order {
		if late < 0 {
			k.Errorf("%v early", -late)
		}
	}
}

func random(k *kit) {
	seen := map[uint64]bool{}
	var or, and uint64 = 0, ^uint64(0)
	for range 200 {
		r := k.rt.Rand()
		seen[r], or, and = true, or|r, and&r
	}
	if len(seen) < 200 || or != ^uint64(0) || and != 0 {
		k.Errorf("%d of 200 differ, bits never set %x, never clear %x", len(seen), ^or, and)
	}
}

func forks(k *kit) {
	var sum atomic.Int64
	var tree func(depth int)
	tree = func(depth int) {
		sum.Add(1)
		if depth == 0 {
			return
		}
		a := k.rt.Fork(func() { tree(depth - 1) })
		b := k.rt.Fork(func() { k.rt.Sleep(k.rt.Now() + time.Microsecond); tree(depth - 1) })
		b.Wait()
		a.Wait()
	}
	for range 3 { // tasks are used again
		sum.Store(0)
		tree(7)
		if n := sum.Load(); n != 1<<8-1 {
			k.Errorf("%d tasks ran, not %d", n, 1<<8-1)
		}
	}
	// One that has ended long ago.
	j := k.rt.Fork(func() {})
	k.rt.Sleep(k.rt.Now() + moment)
	j.Wait()
	// Many that wait at once.
	sum.Store(0)
	g := make([]engine.Join, 300)
	for i := range g {
		g[i] = k.rt.Fork(func() { k.rt.Sleep(k.rt.Now() + moment); sum.Add(1) })
	}
	for _, j := range g {
		j.Wait()
	}
	if n := sum.Load(); n != int64(len(g)) {
		k.Errorf("%d of %d tasks ran", n, len(g))
	}
}

// panicked is what f panics with.
func panicked(f func()) (cause any) {
	defer func() { cause = recover() }()
	f()
	return nil
}

func forkPanics(k *kit) {
	if k.skipsPanics() {
		return
	}
	at := k.rt.Fork(func() { panic("boom") })
	if c := panicked(at.Wait); c != "boom" {
		k.Errorf("at once: %v", c)
	}
	late := k.soon(func() { panic(engine.ErrClosed) })
	if c := panicked(late.Wait); c != error(engine.ErrClosed) {
		k.Errorf("late: %v", c)
	}
	nested := k.rt.Fork(func() { k.rt.Fork(func() { panic("inner") }).Wait() })
	if c := panicked(nested.Wait); c != "inner" {
		k.Errorf("nested: %v", c)
	}
	ran := false
	k.rt.Fork(func() { ran = true }).Wait()
	if !ran {
		k.Error("no task ran after panics")
	}
}

// skipsPanics: a virtual world reports panics to the caller of Run.
func (k *kit) skipsPanics() bool { return !k.driver.Foreign }

func forkGoexit(k *kit) {
	for range 20 {
		clean := false
		j := k.rt.Fork(func() {
			defer func() { clean = true }()
			k.rt.Sleep(k.rt.Now() + time.Millisecond/2)
			runtime.Goexit()
		})
		j.Wait()
		if !clean {
			k.Error("Goexit did not run what was deferred")
		}
	}
	s, peer := k.pair()
	peer.Write([]byte("x"))
	if n, err := read(s, make([]byte, 1)); n != 1 || err != nil {
		k.Errorf("after Goexits: %d, %v", n, err)
	}
	s.Close()
	peer.Close()
}

func do(k *kit) {
	n := 0
	for range 100 {
		k.rt.Do(func() { n++ })
	}
	if n != 100 {
		k.Errorf("%d of 100", n)
	}
	if c := panicked(func() { k.rt.Do(func() { panic("boom") }) }); c != "boom" {
		k.Errorf("a panic in it came back as %v", c)
	}
}

// doDelaysNobody: while one task's Do waits for ever, another task runs and ends that.
func doDelaysNobody(k *kit) {
	for range 20 {
		done := make(chan struct{})
		j := k.rt.Fork(func() {
			k.rt.Sleep(k.rt.Now() + time.Millisecond/2)
			close(done)
		})
		k.rt.Do(func() { <-done })
		j.Wait()
	}
}

func signalOneSlot(k *kit) {
	g := k.rt.NewSignal()
	if by := k.rt.Now() + moment; g.Wait(by) || k.rt.Now() < by {
		k.Error("an unset signal was seen, or not waited for")
	}
	g.Set()
	g.Set()
	if !g.Wait(k.rt.Now() - 1) {
		k.Error("a signal that is set was not seen because the deadline has passed")
	}
	if g.Wait(k.rt.Now() + moment/4) {
		k.Error("two sets are not one")
	}
	g.Set()
	if !g.Wait(0) {
		k.Error("not seen without a deadline")
	}
}

func signalWakes(k *kit) {
	g := k.rt.NewSignal()
	for _, by := range []time.Duration{0, k.rt.Now() + time.Hour} {
		j := k.soon(g.Set)
		if !g.Wait(by) {
			k.Errorf("not woken, by %v", by)
		}
		j.Wait()
	}
	// Two that play ball.
	ping, pong := k.rt.NewSignal(), k.rt.NewSignal()
	const rounds = 500
	j := k.rt.Fork(func() {
		for range rounds {
			ping.Wait(0)
			pong.Set()
		}
	})
	for range rounds {
		ping.Set()
		if !pong.Wait(k.rt.Now() + time.Hour) {
			k.Error("lost")
			break
		}
	}
	j.Wait()
}

// signalsFromEverywhere: goroutines that are no tasks set a signal; what they did before
// is seen, and the last of them is never missed.
func signalsFromEverywhere(k *kit) {
	g := k.rt.NewSignal()
	const setters, each = 4, 400
	var count atomic.Int64
	var group sync.WaitGroup
	for range setters {
		group.Go(func() {
			for range each {
				count.Add(1)
				g.Set()
				if count.Load()%64 == 0 {
					time.Sleep(time.Microsecond)
				}
			}
		})
	}
	for count.Load() < setters*each {
		if !g.Wait(k.rt.Now() + patience/2) {
			k.Errorf("the signal behind %d was lost", count.Load())
			break
		}
	}
	k.rt.Do(group.Wait)
}

var dialPromises = []promise{
	{name: "DialConnects", test: dialConnects},
	{name: "DialRefused", test: dialRefused},
	{name: "DialInTime", test: dialInTime},
	{name: "DialSaysThatThisMachineIsShort", test: dialExhausted},
}

func dialConnects(k *kit) {
	where, gone, err := k.net.Listening()
	if err != nil {
		k.Error(err)
		return
	}
	defer gone()
	for _, by := range []time.Duration{0, k.rt.Now() + time.Hour} {
		where.By = by
		s, err := k.rt.Dial(&where)
		if err != nil {
			k.Errorf("by %v: %v", by, err)
			return
		}
		if !s.Quiet() {
			k.Error("not quiet")
		}
		if n, err := s.Write([]byte("hello")); n != 5 || err != nil {
			k.Errorf("write: %d, %v", n, err)
		}
		s.Close()
	}
	if where.By = k.rt.Now() - 1; !k.driver.Foreign {
		return // connecting may take no time
	}
	if s, err := k.rt.Dial(&where); !errors.Is(err, engine.ErrTimeout) {
		k.Errorf("too late before it began: %v, %v", s, err)
	}
}

func dialRefused(k *kit) {
	where, err := k.net.Refusing()
	if err != nil {
		k.Error(err)
		return
	}
	for range 20 {
		if s, err := k.rt.Dial(&where); !errors.Is(err, engine.ErrRefused) {
			k.Errorf("%v, %v", s, err)
		}
	}
}

// dialExhausted: the shortage is ours, and must not look like a fault of the endpoint.
func dialExhausted(k *kit) {
	short, can := k.net.(shortener)
	if !can {
		k.Skip("this network cannot be short of anything")
	}
	where, gone, err := k.net.Listening()
	if err != nil {
		k.Fatal(err)
	}
	end := short.Shortage()
	s, err := k.rt.Dial(&where)
	end()
	gone()
	if !errors.Is(err, engine.ErrExhausted) || errors.Is(err, engine.ErrRefused) {
		k.Errorf("without descriptors: %v, %v", s, err)
	}
	// Another listener: the accept of the first may have failed, for the same reason.
	if where, gone, err = k.net.Listening(); err != nil {
		k.Fatal(err)
	}
	defer gone()
	if s, err = k.rt.Dial(&where); err != nil {
		k.Fatalf("when it is over: %v", err)
	}
	s.Close()
}

func dialInTime(k *kit) {
	where, gone, err := k.net.Silent()
	if err != nil {
		k.Error(err)
		return
	}
	if where == nil {
		return
	}
	defer gone()
	where.By = k.rt.Now() + 2*moment
	s, err := k.rt.Dial(where)
	if !errors.Is(err, engine.ErrTimeout) {
		k.Errorf("%v, %v", s, err)
	}
	// A unix socket with a full queue says so: a driver may leave it at that.
	if early := where.By - k.rt.Now(); early > 0 && where.Network != "unix" {
		k.Errorf("%v early", early)
	}
}
