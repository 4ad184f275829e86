package goroutine

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
)

// What goroutines, which are the tasks of worker 0, wait for each other with, and those
// goroutines that no caller waits for. A Set that finds a task waiting is handed over: the
// task is taken off the list while the mutex is held, so a deadline that comes at the same
// moment either finds it there, and has won, or not, and the Set has.

// started counts the goroutines of Start. It is no sync.WaitGroup, since tasks may call
// Start while Close waits.
type started struct {
	mu   sync.Mutex
	n    int
	none sync.Cond // of mu
}

func (s *started) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n += n; s.n == 0 && s.none.L != nil {
		s.none.Broadcast()
	}
}

func (s *started) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.none.L = &s.mu
	for s.n > 0 {
		s.none.Wait()
	}
}

// Start starts a goroutine, for which Close waits. It lets those run first that are ready: Go would run
// it as soon as its caller waits, and the task that writes for all streams of a connection would
// then write what the first of them has for it.
func (rt *Runtime) Start(f func()) {
	rt.started.add(1)
	go func() {
		defer rt.started.add(-1)
		defer func() {
			if cause := recover(); cause != nil {
				rt.logger().Error("panic in a task", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			}
		}()
		runtime.Gosched()
		f()
	}()
}

// A wakeup is an engine.Wakeup of goroutines.
type wakeup struct {
	rt *Runtime

	mu          sync.Mutex // held for a moment only
	set         bool       // no task has taken it; then none waits
	first, last *waiter    // in the order in which they came; nil: none
}

// A waiter is a goroutine in a wakeup's list. The waiters of a runtime share a pool: most
// waits are short.
type waiter struct {
	woken  chan struct{} // of one place, filled when the waiter is taken off the list
	behind *waiter
}

// NewWakeup returns an unset Wakeup.
func (rt *Runtime) NewWakeup() engine.Wakeup { return &wakeup{rt: rt} }

func (u *wakeup) Set() {
	u.mu.Lock()
	defer u.mu.Unlock()
	w := u.first
	if w == nil {
		u.set = true
		return
	}
	u.remove(w)
	w.woken <- struct{}{}
}

func (u *wakeup) Reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.set = false
}

func (u *wakeup) Wait(by time.Duration) error {
	w := u.enter()
	if w == nil {
		return nil
	}
	var late <-chan time.Time // nil: there is no deadline
	if by != 0 {
		t := time.NewTimer(by - u.rt.Now())
		defer t.Stop()
		late = t.C
	}
	var err error
	select {
	case <-w.woken:
		u.rt.waiters.Put(w)
		return nil
	case <-late:
		err = engine.ErrTimeout
	case <-u.rt.stop:
		err = engine.ErrStopping
	}
	u.mu.Lock()
	waits := u.remove(w)
	u.mu.Unlock()
	if !waits {
		<-w.woken // a Set came at the same moment
		err = nil
	}
	u.rt.waiters.Put(w)
	return err
}

// enter takes the Set that is there, and returns nil, or puts the caller on the list.
func (u *wakeup) enter() *waiter {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.set {
		u.set = false
		return nil
	}
	w, _ := u.rt.waiters.Get().(*waiter)
	if w == nil {
		w = &waiter{woken: make(chan struct{}, 1)}
	}
	w.behind = nil
	if u.last == nil {
		u.first = w
	} else {
		u.last.behind = w
	}
	u.last = w
	return w
}

// remove reports whether w was in the list, and takes it out. u.mu is held.
func (u *wakeup) remove(w *waiter) bool {
	var before *waiter
	x := u.first
	for ; x != w; x = x.behind {
		if x == nil {
			return false
		}
		before = x
	}
	if before == nil {
		u.first = w.behind
	} else {
		before.behind = w.behind
	}
	if u.last == w {
		u.last = before
	}
	return true
}

// A lock is a mutex. Go cannot tell which goroutine holds it, so a wait that happens
// meanwhile is found on the other drivers only.
type lock struct {
	sync.Mutex
}

// NewLock returns a Lock that is not held.
func (rt *Runtime) NewLock() engine.Lock { return &lock{} }

func (k *lock) MustHold() {
	if invariants.Enabled && k.TryLock() {
		k.Unlock()
		panic("goroutine: a lock is not held")
	}
}
