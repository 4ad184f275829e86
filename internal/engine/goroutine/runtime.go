// Package goroutine runs exchanges on goroutines and net.Conn: the portable engine, for
// every platform and every kind of listener.
package goroutine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// A Runtime is the goroutine driver. Close ends its one goroutine of its own, the one
// that notices clients that leave.
type Runtime struct {
	epoch time.Time
	stop  chan struct{} // closed by Close
	once  sync.Once
	watch watchdog

	started started   // by Start
	waiters sync.Pool // of *waiter

	// Log receives the panics of tasks; nil: slog.Default(). It is set before the first
	// Fork or Start.
	Log *slog.Logger
}

var _ engine.Runtime = (*Runtime)(nil)

// New returns a running Runtime.
func New() *Runtime {
	rt := &Runtime{epoch: time.Now().Add(-time.Second), stop: make(chan struct{})}
	rt.watch.done = make(chan struct{})
	go rt.watch.run(rt.stop)
	return rt
}

// Epoch is the instant from which Now counts.
func (rt *Runtime) Epoch() time.Time { return rt.epoch }

// Close makes every Sleep and Wakeup.Wait return, and waits for the tasks of Start and for
// the watchdog. It is not called by a task of Start.
func (rt *Runtime) Close() {
	rt.once.Do(func() { close(rt.stop) })
	rt.started.wait()
	<-rt.watch.done
}

// Now is the time since shortly before New.
func (rt *Runtime) Now() time.Duration { return time.Since(rt.epoch) }

// Rand draws from the runtime's generator, which is per thread and needs no lock.
func (rt *Runtime) Rand() uint64 { return rand.Uint64() }

// Worker is always 0.
func (rt *Runtime) Worker() int { return 0 }

// Sleep blocks the calling goroutine.
func (rt *Runtime) Sleep(until time.Duration) error {
	t := time.NewTimer(until - rt.Now())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-rt.stop:
		return engine.ErrStopping
	}
}

// Do just calls f: a goroutine that blocks delays no other.
func (rt *Runtime) Do(f func()) { f() }

type join struct {
	done  chan struct{}
	panic any
}

func (rt *Runtime) logger() *slog.Logger {
	if rt.Log != nil {
		return rt.Log
	}
	return slog.Default()
}

// Fork starts a goroutine. A panic in f surfaces in Wait, on the task that forked; it is
// logged here, with its stack, since that task may wait much later.
func (rt *Runtime) Fork(f func()) engine.Join {
	j := &join{done: make(chan struct{})}
	go func() {
		defer close(j.done)
		defer func() {
			if j.panic = recover(); j.panic != nil {
				rt.logger().Error("panic in a task", "panic", fmt.Sprint(j.panic), "stack", string(debug.Stack()))
			}
		}()
		f()
	}()
	return j
}

func (j *join) Wait() {
	<-j.done
	if j.panic != nil {
		panic(j.panic)
	}
}

// Watch and Unwatch: see watchdog.
func (rt *Runtime) Watch(client engine.Stream, up engine.Interrupter) {
	if c, ok := client.(*stream); ok {
		rt.watch.begin(c, up, false)
	}
}

// WatchReset leaves a FIN alone, unless TLS is spoken: a client of that says that it ends
// before it sends one.
func (rt *Runtime) WatchReset(client engine.Stream, up engine.Interrupter) {
	if c, ok := client.(*stream); ok {
		rt.watch.begin(c, up, c.conn == c.plain)
	}
}

// Unwatch ends Watch.
func (rt *Runtime) Unwatch(client engine.Stream, _ engine.Interrupter) {
	if c, ok := client.(*stream); ok {
		c.watched.end()
	}
}

// Dial connects with a net.Dialer and, if asked, performs the TLS handshake.
func (rt *Runtime) Dial(d *engine.Dial) (engine.Stream, error) {
	dialer := net.Dialer{}
	ctx := context.Background()
	if d.By != 0 {
		at := rt.epoch.Add(d.By)
		dialer.Deadline = at
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, at)
		defer cancel()
	}
	conn, err := dialer.DialContext(ctx, d.Network, d.Address)
	if err != nil {
		return nil, dialError(d, err)
	}
	if len(d.Preface) > 0 {
		conn.SetWriteDeadline(dialer.Deadline)
		if _, err := conn.Write(d.Preface); err != nil {
			conn.Close()
			return nil, dialError(d, err)
		}
		conn.SetWriteDeadline(time.Time{})
	}
	if d.TLS == nil {
		return rt.stream(conn), nil
	}
	secure := tls.Client(conn, d.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, dialError(d, err)
	}
	return rt.stream(secure), nil
}

func dialError(d *engine.Dial, err error) error {
	var ne net.Error
	switch {
	case engine.DialExhausted(d.Network, d.Address, err):
		return fmt.Errorf("%w: %w", engine.ErrExhausted, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %w", engine.ErrRefused, err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &ne) && ne.Timeout():
		return fmt.Errorf("%w: %w", engine.ErrTimeout, err)
	}
	return err
}

type signal struct {
	rt *Runtime
	c  chan struct{}
}

// NewSignal returns a channel of one slot.
func (rt *Runtime) NewSignal() engine.Signal { return &signal{rt, make(chan struct{}, 1)} }

func (s *signal) Set() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

func (s *signal) Wait(by time.Duration) bool {
	if by == 0 {
		<-s.c
		return true
	}
	select {
	case <-s.c:
		return true
	default:
	}
	t := time.NewTimer(by - s.rt.Now())
	defer t.Stop()
	select {
	case <-s.c:
		return true
	case <-t.C:
		return false
	}
}
