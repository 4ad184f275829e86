package consul

// A query that waits five minutes for news looks the same while its agent hangs. So each
// agent that queries wait for is asked something small every few seconds, once for all of
// them, by another connection:
//
//	it names the same leader           the queries wait on
//	it names another, or none          they end and are asked again at once: they may wait
//	                                   at a server that is cut off from the others
//	it is silent for pulseTimeout      they end, and the next agent is asked
//	the connection breaks              theirs do, too, or it was refused as one too many:
//	                                   nothing follows
//
// An agent that hangs, and a network that swallows everything, are so noticed within
// pulseEvery and pulseTimeout, however long queries wait. The question needs no token, and
// any server answers it from memory.

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const (
	pulseEvery   = 4 * time.Second
	pulseTimeout = 4 * time.Second
	spread       = time.Second // of the queries that follow a new leader
)

// pulses are those of all agents that sources of one registry wait for. They run between
// the first join and the last leave. They are safe for concurrent use.
type pulses struct {
	mu      sync.Mutex
	sources int
	stop    context.CancelFunc // while there are sources
	running *sync.WaitGroup
	start   func(server int, p *pulse)
	of      map[int]*pulse // by agent; only of those that queries wait for, or did a moment ago
}

// A pulse is that of one agent. It is guarded by the mutex of pulses.
type pulse struct {
	waiting map[*waiter]bool
	heard   time.Time // of the last answer; zero: none
	leader  string    // as it was named last; "": it was not
}

// A waiter is a query that waits; end ends it.
type waiter struct{ end context.CancelCauseFunc }

// join counts a source.
func (p *pulses) join(a *agents) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sources++; p.sources > 1 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := new(sync.WaitGroup)
	p.stop, p.running, p.of = cancel, running, make(map[int]*pulse)
	p.start = func(server int, one *pulse) {
		own := *a // with a place of its own
		own.at = server
		running.Go(func() { p.run(ctx, &own, one) })
	}
}

// leave ends all pulses with the last source, and waits until they have ended.
func (p *pulses) leave(a *agents) {
	p.mu.Lock()
	p.sources--
	last, stop, running := p.sources == 0, p.stop, p.running
	p.mu.Unlock()
	if last {
		stop()
		running.Wait()
		a.close()
	}
}

// guard returns a context that ends with ctx, or with client.ErrSilent as its cause as
// soon as the agent is silent. done must be called when the query is over; it returns when
// the agent answered last, zero if it was not asked.
func (p *pulses) guard(ctx context.Context, server int) (guarded context.Context, done func() time.Time) {
	ctx, end := context.WithCancelCause(ctx)
	w := &waiter{end}
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of[server]
	if one == nil {
		one = &pulse{waiting: make(map[*waiter]bool)}
		p.of[server] = one
		p.start(server, one)
	}
	one.waiting[w] = true
	return ctx, func() time.Time {
		end(nil)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(one.waiting, w)
		return one.heard
	}
}

// run asks an agent while queries wait for it.
func (p *pulses) run(ctx context.Context, a *agents, one *pulse) {
	for client.Sleep(ctx, pulseEvery) {
		p.mu.Lock()
		idle := len(one.waiting) == 0
		if idle {
			delete(p.of, a.at)
		}
		p.mu.Unlock()
		if idle {
			return
		}
		var leader string
		_, err := a.call(ctx, pulseTimeout, http.MethodGet, "/v1/status/leader", make(url.Values), nil, &leader)
		p.mu.Lock()
		switch {
		case err == nil:
			one.heard = time.Now()
			if one.leader != "" && leader != one.leader {
				one.end(client.Again, spread)
			}
			one.leader = leader
		case client.Status(err) != 0:
			one.heard = time.Now()
		case errors.Is(err, client.ErrSilent):
			one.end(client.ErrSilent, 1)
		}
		p.mu.Unlock()
	}
}

// end ends all queries that wait, within a time, so that they are not asked again at once.
func (one *pulse) end(cause error, within time.Duration) {
	for w := range one.waiting {
		time.AfterFunc(rand.N(within), func() { w.end(cause) })
	}
}
