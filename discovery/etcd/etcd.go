// Package etcd is the source that watches the keys under a prefix of etcd v3, and the
// registrar that writes such a key and keeps it alive. It speaks the JSON gateway of etcd
// 3.4 and later over net/http. README.md describes what keys and values look like.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// Config says which etcd to ask, and for what.
type Config struct {
	// Servers are the client URLs of the members, tried in turn. Without a scheme they are
	// http, or https if TLS is set. Empty: http://127.0.0.1:2379.
	Servers []string

	// Prefix is what the keys of the service begin with. It is taken as it is: end it with
	// a slash, or keys of services whose names begin alike are taken for its own. A source
	// needs it; a registrar without one writes below /services/<service>/.
	Prefix string

	// Username and Password log in at servers with authentication. At servers without,
	// they are not needed and do no harm. Empty: no login.
	Username, Password string

	// TLS is for https servers, client certificates included. nil: the system's roots.
	TLS *tls.Config

	// Scheme is that of endpoints whose value names none; empty: "http".
	Scheme string
}

const (
	requestTimeout = 5 * time.Second // for any answer but a watch's

	// Between two questions whether all is well, and for their answer: a server that is
	// silent is noticed after both, and is stale after requestTimeout more.
	pulseEvery   = 4 * time.Second
	pulseTimeout = 4 * time.Second
	doubtEvery   = time.Second // while the watch may be behind

	// A session is replaced after a random time from here to twice that, which lists all
	// keys again: whatever went wrong unseen does not last longer.
	sessionTime = 30 * time.Second

	silentMax = 10 * time.Second // without any answer, a set is stale even if servers are left to try
	steady    = 2 * time.Second  // a session that lasted so long was a success
	backMost  = 2 * time.Second  // between two tries
)

// errAgain ends a session because the keys must be listed again. It is no failure.
var errAgain = errors.New("the keys must be listed again")

// A Source watches the keys under one prefix. Make it with New. Its Run may be called
// again, but not concurrently.
type Source struct {
	config Config
	dial   dialFunc // nil but in tests
}

// New returns a source for the keys under c.Prefix.
func New(c Config) *Source { return &Source{config: c} }

// Run publishes the set when it is first known and whenever it has changed. When a watch
// breaks it tries every server before it says that the set may be stale, and says that
// once. It returns an error only if the configuration can never work.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	if s.config.Prefix == "" {
		return errors.New("etcd: a source needs the prefix of its keys")
	}
	c, err := newClient(s.config, s.dial)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer c.close()
	out := reporter{publish: publish}
	retry := retry{servers: len(c.servers)}
	for {
		n := session{client: c, config: s.config, out: &out}
		err := n.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			c.next()
		}
		wait, stale := retry.after(n.lasted(), n.answered, err)
		if stale {
			out.fail(fmt.Errorf("etcd: %w", err))
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// A retry decides when to try again and when to tell.
type retry struct {
	servers  int
	failures int       // in a row
	heard    time.Time // of the last answer
	backoff  discovery.Backoff
}

// after judges a session that lasted so long, was answered last at that instant (zero:
// never), and ended with err, which is nil if it is to be replaced.
func (r *retry) after(lasted time.Duration, answered time.Time, err error) (wait time.Duration, stale bool) {
	r.backoff.First, r.backoff.Most = 200*time.Millisecond, backMost
	if answered.After(r.heard) {
		r.heard = answered
	}
	if lasted >= steady {
		r.failures = 0
		r.backoff.Reset()
	}
	if err == nil {
		if lasted < time.Second { // a server that wants it listed again and again
			return r.backoff.Next(), false
		}
		return 0, false
	}
	r.failures++
	// The first failure is what a restart looks like, and each server deserves a try.
	stale = r.failures > r.servers || r.failures > 1 && time.Since(r.heard) > silentMax
	if r.failures <= r.servers {
		return rand.N(100 * time.Millisecond), stale
	}
	return r.backoff.Next(), stale
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
