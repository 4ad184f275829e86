// Package client is the frame that the sources and registrars of all registries are built
// on: the loop that tries again, what is published and what is not repeated, the list of
// servers, HTTP requests and their errors. What is particular to a registry is in its own
// folder, and as little else as can be.
//
// A source of its own connection is a Loop around one Turn, and a Reporter:
//
//	out := client.Reporter{Publish: publish}
//	loop := client.Loop{Name: "etcd", Servers: len(servers), Use: c.use}
//	loop.Run(ctx, func() client.Turn { … out.Set(set) … }, out.Fail)
//
// Sources that share a connection are Watchers of a Group, which runs one Hub for all of
// them: the hub's own loop offers each watcher its set.
package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

var (
	// Again ends a turn because everything must be read again. It is not a failure.
	//lint:ignore ST1012 as io.EOF, it says how something ended
	Again = errors.New("everything must be read again")

	// ErrSilent is what Plain makes of a deadline that has passed.
	ErrSilent = errors.New("no answer in time")

	// ErrLong is an answer that is longer than it may be.
	ErrLong = errors.New("the answer is too long")
)

// Sleep waits for d and reports whether ctx is still alive.
func Sleep(ctx context.Context, d time.Duration) bool { return pause(ctx, d, nil) }

// pause is Sleep that a value in wake ends early; nil: none does.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-wake:
	}
	return ctx.Err() == nil
}

// Jitter is d, less or more by up to a tenth, so that many clients do not ask in step.
func Jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
