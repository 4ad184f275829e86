package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// A Loop takes turns until its context is done, with the waits between them that a failing
// server deserves. A turn is whatever a source does between two such waits: one query, or a
// session of hours. A Loop belongs to one goroutine; the fields are set before Run.
//
//	a turn ends with       then
//	no error               the next after Turn.Wait
//	Again                  the next at once, or after a back-off if the turn was short
//	an error               the next server at once, until each has failed in a row; from
//	                       then on after a back-off
//	429 or 503 with        the next server that has not asked for patience; if all have,
//	Retry-After            the one whose time is over first, and then
type Loop struct {
	Name string // of the registry, which errors begin with

	// Servers is the number of servers that turns take in turn, by Use, which is called with
	// an index below it before a turn that follows a failure. 0: a turn tries them all.
	Servers int
	Use     func(server int) // nil: nothing to do

	First, Most time.Duration // of the back-off; 0: 200 ms and 2 s

	// Steady is how long a turn must have been answered to count as a success, which ends a
	// row of failures. 0: any answer will do.
	Steady time.Duration
	// Silent is the time without any answer after which a set is stale although there are
	// servers that were not tried, yet. 0: there is none.
	Silent time.Duration

	failures int       // in a row
	heard    time.Time // of the last answer; zero: there was none
	backoff  discovery.Backoff
	server   int         // the one in use
	patience []time.Time // by server: not to be asked before
}

// A Turn is how one turn ended.
type Turn struct {
	Answered time.Time       // when the registry answered last; zero: it did not
	Err      error           // nil: all is well
	Wait     time.Duration   // until the next turn, and the most that a back-off may be; 0: at once, without bound
	Wake     <-chan struct{} // a value in it ends the wait; nil: nothing does
}

// Run takes turns until ctx is done. It calls failed with the reason whenever what the
// source knows may be stale: after a failure that is more than the restart of one server.
func (l *Loop) Run(ctx context.Context, turn func() Turn, failed func(error)) {
	l.backoff.First = cmp.Or(l.First, 200*time.Millisecond)
	l.backoff.Most = cmp.Or(l.Most, 2*time.Second)
	for {
		began := time.Now()
		t := turn()
		if ctx.Err() != nil {
			return
		}
		wait, stale := l.after(began, t)
		if stale {
			failed(fmt.Errorf("%s: %w", l.Name, t.Err))
		}
		if !pause(ctx, wait, t.Wake) {
			return
		}
	}
}

// Beat calls beat until ctx is done, three times and a little more often within ttl, the
// time after which a registry forgets what has not been heard of. It calls failed as Run
// does.
func (l *Loop) Beat(ctx context.Context, ttl time.Duration, beat func(context.Context) error, failed func(error)) {
	l.Run(ctx, func() Turn {
		err := beat(ctx)
		t := Turn{Err: err, Wait: ttl/3 - rand.N(ttl/10)}
		if err == nil {
			t.Answered = time.Now()
		}
		return t
	}, failed)
}

// after judges a turn.
func (l *Loop) after(began time.Time, t Turn) (wait time.Duration, stale bool) {
	if t.Answered.After(l.heard) {
		l.heard = t.Answered
	}
	lasted := t.Answered.Sub(began)
	if !t.Answered.IsZero() && lasted >= l.Steady {
		l.failures = 0
		l.backoff.Reset()
	}
	switch {
	case t.Err == nil:
		return t.Wait, false
	case errors.Is(t.Err, Again) && lasted >= time.Second:
		return 0, false
	case errors.Is(t.Err, Again): // a server that wants everything read again and again
		return l.backoff.Next(), false
	}
	l.failures++
	// The first failure is what a restart looks like, and each server deserves a try.
	silent := l.Silent > 0 && l.failures > 1 && time.Since(l.heard) > l.Silent
	stale = l.failures > l.Servers || silent
	if l.failures <= l.Servers {
		wait = rand.N(100 * time.Millisecond)
	} else if wait = l.backoff.Next(); t.Wait > 0 {
		wait = min(wait, t.Wait)
	}
	return max(wait, l.next(t.Err)), stale
}

// next turns to another server, after err, and returns how long it must be left alone.
func (l *Loop) next(err error) time.Duration {
	now := time.Now()
	n := max(l.Servers, 1)
	if l.patience == nil {
		l.patience = make([]time.Time, n)
	}
	l.patience[l.server] = now.Add(retryAfter(err))
	best := (l.server + 1) % n
	for i := range n {
		if s := (l.server + 1 + i) % n; !l.patience[s].After(now) {
			best = s
			break
		} else if l.patience[s].Before(l.patience[best]) {
			best = s
		}
	}
	l.server = best
	if l.Use != nil {
		l.Use(best)
	}
	return l.patience[best].Sub(now)
}

// Each calls ask for one server after the other, from *at on, until one succeeds, which *at
// is then; and returns the errors of all if none does. name is what errors call a server.
func Each[S any](ctx context.Context, servers []S, at *int, name func(S) string, ask func(S) error) error {
	var errs []error
	for range servers {
		s := servers[*at]
		err := ask(s)
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, fmt.Errorf("%s: %w", name(s), err))
		*at = (*at + 1) % len(servers)
	}
	return errors.Join(errs...)
}
