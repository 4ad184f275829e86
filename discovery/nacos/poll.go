package nacos

import (
	"context"
	"fmt"
	"time"
)

// poll asks the HTTP interface for every service, as far as the gRPC port is not reached:
// a firewall between them is not rare. begins means that what is known may be old.
func (l *link) poll(ctx context.Context, begins bool) error {
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
	return l.client.each(ctx, func(s server) error {
		for _, t := range all {
			hosts, err := l.client.web.list(ctx, s, t.subject)
			if err != nil {
				return fmt.Errorf("polling %s: %w", s.http, err)
			}
			l.mu.Lock()
			l.apply(t, hosts)
			l.failure = nil
			l.mu.Unlock()
		}
		return nil
	})
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
	return jitter(l.config.Every)
}
