package nacos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// poll asks the HTTP interface for every service if the gRPC port cannot be reached, which
// a firewall may be the reason of. Where it can, but to no avail, which err says, the HTTP
// interface would not help: then changes would only come late for no good reason. begins
// means that what is known may be old.
func (l *link) poll(ctx context.Context, err error, begins bool) error {
	if !errors.Is(err, errUnreachable) {
		return err
	}
	if begins {
		l.begin()
		l.graceEnds = time.Now().Add(l.config.Grace)
	}
	l.mu.Lock()
	if time.Now().After(l.graceEnds) {
		l.grace = false
	}
	var all []*topic
	for _, t := range l.topics {
		all = append(all, t)
	}
	l.mu.Unlock()
	more := l.cluster.each(ctx, func(s server) error {
		for _, t := range all {
			hosts, err := l.cluster.web.list(ctx, s, t.subject, l.clusters(t))
			if err != nil {
				return fmt.Errorf("polling %s: %w", s.http, err)
			}
			l.polled(t, hosts)
		}
		l.inquire(ctx, s, func(ctx context.Context, t *topic) ([]hostJSON, error) {
			return l.cluster.web.list(ctx, s, t.subject, l.clusters(t))
		})
		return nil
	})
	if more != nil {
		return errors.Join(err, more)
	}
	return nil
}

// polled takes over a list that was polled.
func (l *link) polled(t *topic, hosts []hostJSON) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers.Recover()
	l.apply(t, hosts)
}

// clusters are those that sources want of t; nil: all.
func (l *link) clusters(t *topic) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for w := range l.watchers.Of(t.subject) {
		if len(w.Of.Clusters) == 0 {
			return nil
		}
		out = append(out, w.Of.Clusters...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// pause is how long to wait until the next poll: not long while lists are held back, or
// services are new.
func (l *link) pause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.topics {
		if t.holding || !t.known {
			return min(time.Second, l.config.Every)
		}
	}
	return client.Jitter(l.config.Every)
}
