package nacos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// reconcileEvery is how often a service is asked for although it is pushed, in case a push
// was lost.
const reconcileEvery = 30 * time.Second

// A link keeps the subscriptions of all running sources: over a session as long as that
// lasts, and over the next one then.
type link struct {
	config  Config
	cluster *cluster
	wake    chan struct{} // holds a token while topics have come or gone

	mu       sync.Mutex
	topics   map[subject]*topic
	watchers client.Watchers[subject, ServiceConfig] // of topics
	gone     []subject                               // to be unsubscribed
	grace    bool                                    // lists that lack known instances are held back

	incurious time.Time // until then the HTTP interface is not asked for what lists lack
	graceEnds time.Time // of poll alone; a session has a timer
}

func newLink(c Config, servers []server) *link {
	return &link{
		config:  c,
		cluster: newCluster(c, servers),
		wake:    make(chan struct{}, 1),
		topics:  make(map[subject]*topic),
	}
}

// Add tells w what is known now, and from then on what changes.
func (l *link) Add(w *client.Watcher[ServiceConfig]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := subject{w.Of.Group, w.Of.Service}
	t := l.topics[s]
	if t == nil {
		t = &topic{subject: s}
		l.topics[s] = t
		l.signal()
	}
	if t.known {
		w.Offer(w.Of.set(slices.Concat(t.hosts, t.disabled)))
	}
	l.watchers.Add(s, w)
}

// Remove reports whether w was the last one of all.
func (l *link) Remove(w *client.Watcher[ServiceConfig]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := subject{w.Of.Group, w.Of.Service}
	last := l.watchers.Remove(s, w)
	if len(l.watchers.Of(s)) == 0 {
		if l.topics[s].subscribed {
			l.gone = append(l.gone, s)
			l.signal()
		}
		delete(l.topics, s)
	}
	return last
}

func (l *link) signal() { client.Signal(l.wake) }

// Run connects until ctx is done.
func (l *link) Run(ctx context.Context) {
	defer l.cluster.close()
	polling := false
	loop := client.Loop{Name: "nacos"}
	loop.Run(ctx, func() client.Turn {
		s, err := l.cluster.connect(ctx, l.pushed)
		if err == nil {
			if polling {
				l.config.Note("nacos: " + s.server.grpc + " is reached again: pushes in place of polling")
			}
			polling = false
			connected := time.Now()
			return client.Turn{Err: l.serve(ctx, s), Answered: connected}
		}
		if more := l.poll(ctx, err, !polling); more != nil {
			polling = false
			return client.Turn{Err: more}
		}
		if !polling {
			l.config.Note("nacos: polling the HTTP interface, changes come late: " + err.Error())
		}
		polling = true
		return client.Turn{Answered: time.Now(), Wait: l.pause(), Wake: l.wake}
	}, l.fail)
}

// serve subscribes and stays until the session ends, and says why it did.
func (l *link) serve(ctx context.Context, s *session) error {
	defer s.close()
	l.begin()
	if err := l.update(ctx, s); err != nil {
		return err
	}
	grace := time.NewTimer(l.config.Grace)
	defer grace.Stop()
	health := time.NewTicker(healthEvery)
	defer health.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return s.named(s.err)
		case <-l.wake:
			err = l.update(ctx, s)
		case <-grace.C:
			l.believe() // and if anything is to be asked, it signals
		case <-health.C:
			if err = s.named(s.check(ctx)); err == nil {
				err = l.update(ctx, s)
			}
		}
		if err != nil {
			return err
		}
	}
}

// begin forgets what belonged to the last session.
func (l *link) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grace = l.config.Grace > 0
	l.gone = nil
	for _, t := range l.topics {
		t.subscribed, t.pushes = false, 0
	}
}

// update asks for the services that are new or due, and ends what nobody watches. An error
// means that the session is of no use any more; what the server says about one service
// concerns that service alone.
func (l *link) update(ctx context.Context, s *session) error {
	l.mu.Lock()
	l.watchers.Recover()
	gone := l.gone
	l.gone = nil
	var due []*topic
	for _, t := range l.topics {
		if !t.subscribed || time.Since(t.checked) >= reconcileEvery {
			due = append(due, t)
		}
	}
	l.mu.Unlock()
	for _, g := range gone {
		if err := l.ended(ctx, s, g); err != nil {
			return s.named(err)
		}
	}
	for _, t := range due {
		err := l.ask(ctx, s, t)
		if err == nil {
			continue
		}
		if _, remote := errors.AsType[*remoteError](err); !remote || unregistered(err) {
			return s.named(err)
		}
		l.mu.Lock()
		for w := range l.watchers.Of(t.subject) {
			w.Fail(fmt.Errorf("nacos: %w", s.named(err)))
		}
		l.mu.Unlock()
	}
	l.inquire(ctx, s.server, func(ctx context.Context, t *topic) ([]hostJSON, error) { return s.query(ctx, t.subject) })
	return nil
}

func unregistered(err error) bool {
	remote, ok := errors.AsType[*remoteError](err)
	return ok && remote.code == codeUnregistered
}

// ended unsubscribes, unless somebody has come since who wants it.
func (l *link) ended(ctx context.Context, s *session, g subject) error {
	l.mu.Lock()
	back := l.topics[g]
	l.mu.Unlock()
	if back != nil {
		return nil
	}
	_, err := s.subscribe(ctx, g, false)
	if _, remote := errors.AsType[*remoteError](err); remote {
		return nil // then it was not subscribed
	}
	return err
}

// ask subscribes t, or asks for it again. A push that comes in the meantime is newer than
// the answer: servers push what changes after they have made the answer.
func (l *link) ask(ctx context.Context, s *session, t *topic) error {
	l.mu.Lock()
	subscribed, pushes := t.subscribed, t.pushes
	l.mu.Unlock()
	var hosts []hostJSON
	var err error
	if subscribed {
		hosts, err = s.query(ctx, t.subject)
	} else {
		hosts, err = s.subscribe(ctx, t.subject, true)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.subscribed = true
	t.checked = time.Now().Add(-rand.N(reconcileEvery / 6)) // so that they do not all fall due at once
	if t.pushes == pushes {
		l.apply(t, hosts)
	}
	return nil
}

// fail says that everything may be stale.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers.Fail(err)
}
