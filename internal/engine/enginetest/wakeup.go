package enginetest

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// Promises of Start, Wakeup and Lock: what tasks of one worker wait for each other with.

var waitPromises = []promise{
	{name: "Start", test: starts},
	{name: "StartSurvivesPanics", test: startPanics, foreign: true},
	{name: "StartSurvivesGoexit", test: startGoexit, foreign: true},
	{name: "WakeupKeepsOneSet", test: wakeupOneSet},
	{name: "WakeupInTime", test: wakeupInTime},
	{name: "WakeupPassesBackAndForth", test: wakeupPingPong},
	{name: "WakeupWakesOneTaskForEachSet", test: wakeupManyWaiters},
	{name: "WakeupTimedOutTaskTakesNoSet", test: wakeupLeavesTheList},
	{name: "WakeupLosesNothingToDeadlines", test: wakeupDeadlineRace},
	{name: "LockExcludes", test: locks},
	{name: "LockAndEventMakeAQueue", test: queues},
}

// a group waits for tasks of Start.
type group struct {
	k    *kit
	left atomic.Int64
	none engine.Wakeup
}

func (k *kit) group() *group { return &group{k: k, none: k.rt.NewWakeup()} }

// start has f run as a task of the group.
func (g *group) start(f func()) {
	g.left.Add(1)
	g.k.rt.Start(func() {
		defer g.end()
		f()
	})
}

func (g *group) end() {
	if g.left.Add(-1) == 0 {
		g.none.Set()
	}
}

// wait returns when all tasks of the group have ended.
func (g *group) wait() {
	for g.left.Load() > 0 {
		if err := g.none.Wait(g.k.rt.Now() + patience/2); err != nil {
			g.k.Errorf("%d tasks have not ended: %v", g.left.Load(), err)
			return
		}
	}
}

// starts: tasks start tasks, which start tasks, and all of them run.
func starts(k *kit) {
	g := k.group()
	var ran atomic.Int64
	var tree func(depth int)
	tree = func(depth int) {
		ran.Add(1)
		if depth == 0 {
			return
		}
		g.start(func() { tree(depth - 1) })
		g.start(func() { k.rt.Sleep(k.rt.Now() + time.Microsecond); tree(depth - 1) })
	}
	for range 3 { // the coroutines of tasks are used again
		ran.Store(0)
		g.start(func() { tree(7) })
		g.wait()
		if n := ran.Load(); n != 1<<8-1 {
			k.Errorf("%d tasks ran, not %d", n, 1<<8-1)
		}
	}
}

func startPanics(k *kit) {
	g := k.group()
	for range 3 {
		g.start(func() { panic("on purpose: the test of Start") })
		g.start(func() {
			k.rt.Sleep(k.rt.Now() + time.Millisecond)
			panic("on purpose, late: the test of Start")
		})
	}
	ran := false
	g.start(func() { ran = true })
	g.wait()
	if !ran {
		k.Error("no task ran after panics")
	}
}

func startGoexit(k *kit) {
	g := k.group()
	for range 20 {
		g.start(func() {
			k.rt.Sleep(k.rt.Now() + time.Millisecond/2)
			runtime.Goexit()
		})
	}
	g.wait()
}

// wakeupOneSet: a Set before Wait is kept, and only one; it counts for the same task, and
// after the deadline.
func wakeupOneSet(k *kit) {
	e := k.rt.NewWakeup()
	e.Set()
	e.Set()
	if err := e.Wait(k.rt.Now() - 1); err != nil {
		k.Errorf("a Set that is there was not taken, because the deadline has passed: %v", err)
	}
	if err := e.Wait(k.rt.Now() + moment/4); !errors.Is(err, engine.ErrTimeout) {
		k.Errorf("two Sets are not one: %v", err)
	}
	e.Set()
	if err := e.Wait(0); err != nil {
		k.Errorf("without a deadline: %v", err)
	}
	e.Set()
	e.Reset()
	if err := e.Wait(k.rt.Now() + moment/4); !errors.Is(err, engine.ErrTimeout) {
		k.Errorf("after Reset: %v", err)
	}
	e.Reset()
	e.Set()
	if err := e.Wait(0); err != nil {
		k.Errorf("a Set after Reset: %v", err)
	}
}

func wakeupInTime(k *kit) {
	e := k.rt.NewWakeup()
	for _, d := range []time.Duration{-time.Hour, 0, time.Microsecond, moment, moment / 2, 2 * moment} {
		by := k.rt.Now() + d
		if err := e.Wait(by); !errors.Is(err, engine.ErrTimeout) || k.rt.Now() < by {
			k.Errorf("Wait of %v: %v, %v early", d, err, by-k.rt.Now())
		}
	}
	// What the timer was set for by one wait does not end a later one.
	g := k.group()
	g.start(func() {
		k.rt.Sleep(k.rt.Now() + moment/2)
		e.Set()
		k.rt.Sleep(k.rt.Now() + 2*moment)
		e.Set()
	})
	if err := e.Wait(k.rt.Now() + patience/2); err != nil {
		k.Errorf("the first: %v", err)
	}
	if err := e.Wait(0); err != nil {
		k.Errorf("the second: %v", err)
	}
	g.wait()
	until := k.rt.Now() + moment
	if k.rt.Sleep(until); k.rt.Now() < until {
		k.Errorf("a Sleep after waits is %v early", until-k.rt.Now())
	}
}

func wakeupPingPong(k *kit) {
	ping, pong := k.rt.NewWakeup(), k.rt.NewWakeup()
	const rounds = 2000
	g := k.group()
	g.start(func() {
		for range rounds {
			if err := ping.Wait(0); err != nil {
				k.Errorf("ping: %v", err)
			}
			pong.Set()
		}
	})
	for i := range rounds {
		ping.Set()
		if err := pong.Wait(k.rt.Now() + patience/2); err != nil {
			k.Errorf("pong %d: %v", i, err)
			break
		}
	}
	g.wait()
}

// wakeupManyWaiters: as many Sets as there are tasks wake them all, wherever they are on
// their way into Wait: a Set that finds another one untaken is made again.
func wakeupManyWaiters(k *kit) {
	const tasks = 40
	e, taken := k.rt.NewWakeup(), k.rt.NewWakeup()
	g := k.group()
	var woken atomic.Int64
	for i := range tasks {
		g.start(func() {
			var by time.Duration
			if i%2 == 1 {
				by = k.rt.Now() + patience/2
			}
			if err := e.Wait(by); err != nil {
				k.Error(err)
			}
			woken.Add(1)
			taken.Set()
		})
	}
	for sets := range int64(tasks) {
		if n := woken.Load(); n > sets {
			k.Errorf("%d tasks are woken by %d Sets", n, sets)
		}
		e.Set()
		for woken.Load() <= sets {
			if err := taken.Wait(k.rt.Now() + patience/2); err != nil {
				k.Errorf("after Set %d: %v", sets, err)
				return
			}
		}
	}
	g.wait()
}

// wakeupLeavesTheList: a task whose deadline has come stands in the way of no other.
func wakeupLeavesTheList(k *kit) {
	e := k.rt.NewWakeup()
	g := k.group()
	for range 3 {
		g.start(func() {
			if err := e.Wait(k.rt.Now() + moment/4); !errors.Is(err, engine.ErrTimeout) {
				k.Errorf("without a Set: %v", err)
			}
		})
	}
	g.wait()
	g.start(func() {
		if err := e.Wait(k.rt.Now() + patience/2); err != nil {
			k.Errorf("behind tasks that left: %v", err)
		}
	})
	e.Set()
	g.wait()
}

// wakeupDeadlineRace: where deadlines and Sets meet, a Wait says which of them it was, and
// the last Set always arrives.
func wakeupDeadlineRace(k *kit) {
	e := k.rt.NewWakeup()
	g := k.group()
	var made, sets, waits atomic.Int64
	const items, takers = 300, 3
	for range takers {
		g.start(func() {
			for made.Load() < items {
				if e.Wait(k.rt.Now()+time.Duration(k.rt.Rand()%200)*time.Microsecond) == nil {
					waits.Add(1)
				}
			}
		})
	}
	g.start(func() {
		for range items {
			sets.Add(1)
			e.Set()
			made.Add(1)
			k.rt.Sleep(k.rt.Now() + time.Duration(k.rt.Rand()%150)*time.Microsecond)
		}
	})
	g.wait()
	if waits.Load() > sets.Load() {
		k.Errorf("%d waits ended for %d Sets", waits.Load(), sets.Load())
	}
	e.Reset()
	e.Set()
	if err := e.Wait(0); err != nil {
		k.Error(err)
	}
}

// locks: the counters are plain variables, so the race detector sees a lock that is none.
func locks(k *kit) {
	lock := k.rt.NewLock()
	g := k.group()
	sum, inside := 0, 0
	const tasks, each = 8, 200
	for range tasks {
		g.start(func() {
			for i := range each {
				lock.Lock()
				lock.MustHold()
				if inside++; inside != 1 {
					k.Errorf("%d tasks hold the lock", inside)
				}
				sum++
				inside--
				lock.Unlock()
				if i%50 == 0 {
					k.rt.Sleep(k.rt.Now() + time.Microsecond)
				}
			}
		})
	}
	g.wait()
	lock.Lock()
	defer lock.Unlock()
	if sum != tasks*each {
		k.Errorf("%d, not %d", sum, tasks*each)
	}
}

// A queue is the example of engine.Primitives.
type queue struct {
	lock   engine.Lock
	filled engine.Wakeup
	items  []int
}

func (q *queue) put(x int) {
	q.lock.Lock()
	q.items = append(q.items, x)
	q.lock.Unlock()
	q.filled.Set()
}

// take passes the wake-up on when it leaves items: two Sets may have become one.
func (q *queue) take(by time.Duration) (int, error) {
	for {
		q.lock.Lock()
		if n := len(q.items); n > 0 {
			x := q.items[0]
			q.items = q.items[1:]
			q.lock.Unlock()
			if n > 1 {
				q.filled.Set()
			}
			return x, nil
		}
		q.lock.Unlock()
		if err := q.filled.Wait(by); err != nil {
			return 0, err
		}
	}
}

func queues(k *kit) {
	q := &queue{lock: k.rt.NewLock(), filled: k.rt.NewWakeup()}
	const writers, readers, each = 4, 4, 300
	g := k.group()
	for w := range writers {
		g.start(func() {
			for i := range each {
				q.put(w*each + i)
				if i%100 == w {
					k.rt.Sleep(k.rt.Now() + time.Microsecond)
				}
			}
		})
	}
	var sum atomic.Int64
	for r := range readers {
		g.start(func() {
			for range writers * each / readers {
				var by time.Duration
				if r > 0 {
					by = k.rt.Now() + patience/2
				}
				x, err := q.take(by)
				if err != nil {
					k.Errorf("a wake-up was lost: %v", err)
					return
				}
				sum.Add(int64(x))
			}
		})
	}
	g.wait()
	if n := int64(writers * each); sum.Load() != n*(n-1)/2 {
		k.Errorf("the sum is %d, not %d", sum.Load(), n*(n-1)/2)
	}
}
