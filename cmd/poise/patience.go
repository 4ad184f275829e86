package main

// Nothing that this process waits for may keep it from ending: neither a disk that hangs
// nor standard output that is not read. What may not return runs on a goroutine of its own
// here, and is left behind if it does not.

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// writeFor bounds each write to standard output and standard error.
const writeFor = time.Second

// within runs f and waits for it, at most for d. It reports whether f returned.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// say writes to standard output or standard error, if that is read.
func say(w io.Writer, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	within(writeFor, func() { io.WriteString(w, text) })
}

// pause waits, until ctx is done at most.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// ends reports whether a signal asks for the end.
func ends(sig os.Signal) bool { return sig == os.Interrupt || sig == syscall.SIGTERM }

// unlessSignalled runs f and waits for it. A signal that asks for the end ends the wait
// soon: signalled is true then, and ended says whether f has returned; only then does err
// mean something.
func (s streams) unlessSignalled(f func() error) (signalled, ended bool, err error) {
	s.catch()
	done := make(chan error, 1)
	go func() { done <- f() }()
	for {
		select {
		case err := <-done:
			return signalled, true, err
		case sig := <-s.signals:
			if !ends(sig) {
				continue // what is being read is new enough
			}
		}
		select {
		case err := <-done:
			return true, true, err
		case <-time.After(breakTimeMax):
			return true, false, nil
		}
	}
}
