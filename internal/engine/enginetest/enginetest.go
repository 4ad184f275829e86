// Package enginetest is the contract of engine.Runtime and engine.Stream as a test suite.
// A driver runs it with what it needs to make connections:
//
//	func TestContract(t *testing.T) {
//		enginetest.Run(t, func(t *testing.T) *enginetest.Driver { … })
//	}
//
// Everything in it is written on the Runtime under test, the peers' side included, so
// that it runs in virtual time as it runs on sockets. It asserts no upper bound on time
// but patience: a busy machine is late, and no machine is early.
package enginetest

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// A Driver is one running engine, made for one case.
type Driver struct {
	Runtime engine.Runtime
	Network Network

	// Play runs f as a task and returns when it has returned, and all it forked.
	Play func(f func())

	// Close ends the engine: every Sleep returns, then and later. It returns when nothing
	// is left of the engine. Nil: there is nothing to end.
	Close func()

	// Foreign says that tasks run beside other goroutines in real time. Without it, the
	// cases are left out that need a goroutine of their own, block one, or end a task by
	// runtime.Goexit.
	Foreign bool

	// Holds is more than what one direction of a connection holds before Write blocks.
	// Zero: 32 MiB, which is more than sockets do.
	Holds int
}

// A Network makes what a case connects to. Its methods are called from tasks.
type Network interface {
	// Pair returns a new connection's ends: a Stream of the Runtime, and its peer.
	Pair() (engine.Stream, Peer, error)
	// Listening is an address where connections are made, and Gone ends that.
	Listening() (where engine.Dial, gone func(), err error)
	// Refusing is an address where nothing listens.
	Refusing() (engine.Dial, error)
	// Silent is an address that does not answer; nil without error: there is no such thing.
	Silent() (where *engine.Dial, gone func(), err error)
	// Resets reports whether Abort arrives at the peer as something else than Close.
	Resets() bool
}

// A shortener is a Network that can make Dial lack what it needs, until end is called.
type shortener interface {
	Shortage() (end func())
}

// A Peer is the other end of a Stream. Its methods wait for nothing but the connection
// and are called from tasks, one of which may read while another writes.
type Peer interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	CloseWrite() error
	Close() error
	Abort()
}

// patience is how long a case may take on a machine that is very busy.
const patience = 60 * time.Second

// A promise is one sentence of the contract.
type promise struct {
	name string
	test func(k *kit)
	// foreign: needs Driver.Foreign.
	foreign bool
}

// promises are all of the contract's.
func promises() []promise {
	all := [][]promise{readPromises, deadlinePromises, interruptPromises, endPromises, watchPromises, taskPromises, waitPromises, dialPromises}
	var out []promise
	for _, some := range all {
		out = append(out, some...)
	}
	return out
}

// Run tests every promise on an engine of its own, which start makes.
func Run(t *testing.T, start func(t *testing.T) *Driver) {
	for _, p := range promises() {
		t.Run(p.name, func(t *testing.T) {
			d := start(t)
			defer d.close()
			if p.foreign && !d.Foreign {
				t.Skip("needs goroutines beside the tasks")
			}
			within(t, func() {
				d.Play(func() { p.test(&kit{T: t, rt: d.Runtime, net: d.Network, driver: d}) })
			})
		})
	}
	t.Run("Close", func(t *testing.T) { testClose(t, start) })
	t.Run("CloseWaitsForStartedTasks", func(t *testing.T) { testCloseStarted(t, start) })
}

func (d *Driver) close() {
	if d.Close != nil {
		d.Close()
	}
}

// within fails with the stacks of all goroutines, rather than wait for the timeout of all tests.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("%s hangs\n%s", t.Name(), buf[:runtime.Stack(buf, true)]))
	}
}

// testClose: nothing is left of an engine, and a task that sleeps gets an error.
func testClose(t *testing.T, start func(t *testing.T) *Driver) {
	before := runtime.NumGoroutine()
	d := start(t)
	if d.Close == nil {
		t.Skip("nothing to close")
	}
	asleep := make(chan error, 2)
	go d.Play(func() {
		asleep <- nil
		asleep <- d.Runtime.Sleep(d.Runtime.Now() + time.Hour)
	})
	within(t, func() {
		<-asleep
		d.Close()
		if err := <-asleep; err == nil {
			t.Error("Sleep of an hour ended without an error")
		}
	})
	for end := time.Now().Add(patience / 4); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}

// testCloseStarted: Close ends the waits of tasks that no caller waits for, those that one
// of them starts meanwhile included, and returns after they have.
func testCloseStarted(t *testing.T, start func(t *testing.T) *Driver) {
	d := start(t)
	if d.Close == nil {
		t.Skip("nothing to close")
	}
	rt := d.Runtime
	var began, ended atomic.Int64
	const tasks = 10
	within(t, func() {
		d.Play(func() {
			never := rt.NewWakeup()
			wait := func() {
				defer ended.Add(1)
				if err := never.Wait(0); !errors.Is(err, engine.ErrStopping) {
					t.Errorf("Wakeup.Wait when the engine stops: %v", err)
				}
				if err := never.Wait(rt.Now() + time.Hour); !errors.Is(err, engine.ErrStopping) {
					t.Errorf("Wakeup.Wait after that: %v", err)
				}
			}
			for i := range tasks {
				rt.Start(func() {
					began.Add(1)
					if i%2 == 0 {
						rt.Sleep(rt.Now() + time.Hour)
						rt.Start(wait)
					}
					wait()
				})
			}
			for began.Load() < tasks {
				rt.Sleep(rt.Now() + time.Millisecond)
			}
		})
		d.Close()
	})
	if n := ended.Load(); n != tasks+tasks/2 {
		t.Errorf("%d of %d tasks have ended when Close returns", n, tasks+tasks/2)
	}
}

// A kit is what a case works with.
type kit struct {
	*testing.T
	rt     engine.Runtime
	net    Network
	driver *Driver
}

// moment is long enough for what has no reason to wait to have happened, mostly. No case
// fails when it was not.
const moment = 15 * time.Millisecond

// pair returns a new connection, or ends the case.
func (k *kit) pair() (engine.Stream, Peer) {
	s, p, err := k.net.Pair()
	if err != nil {
		panic(fmt.Sprintf("no connection: %v", err))
	}
	return s, p
}

// soon runs f as a task after a moment.
func (k *kit) soon(f func()) engine.Join {
	return k.rt.Fork(func() {
		k.rt.Sleep(k.rt.Now() + moment)
		f()
	})
}

// eventually waits until ok says true.
func (k *kit) eventually(what string, ok func() bool) {
	k.Helper()
	for range 2000 {
		if ok() {
			return
		}
		k.rt.Sleep(k.rt.Now() + moment/3)
	}
	k.Errorf("%s: not seen", what)
}

// much is more than a connection holds.
func (k *kit) much() int { return cmp.Or(k.driver.Holds, 32<<20) }

// awaiting is a Stream that is read as by a task that holds no buffer.
type awaiting struct{ s engine.Stream }

func (a awaiting) Read(p []byte) (int, error) { return read(a.s, p) }

// read waits as a task that holds no buffer does, and reads.
func read(s engine.Stream, p []byte) (int, error) {
	if err := s.Await(); err != nil {
		return 0, err
	}
	return s.Read(p)
}

// readFull reads until p is full.
func readFull(r interface{ Read([]byte) (int, error) }, p []byte) error {
	for n := 0; n < len(p); {
		m, err := r.Read(p[n:])
		if n += m; err != nil && n < len(p) {
			return fmt.Errorf("after %d of %d bytes: %w", n, len(p), err)
		}
	}
	return nil
}
