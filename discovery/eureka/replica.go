package eureka

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Servers keep three minutes of changes. Equal checksums do not prove that none was missed:
// one instance that comes and one that goes leave it the same. So a list that is not soon
// after the last does not count, and everything is asked for now and then.
const (
	gapMost   = time.Minute
	fullEvery = 5 * time.Minute
)

// A replica is a copy of the servers' registry, kept up to date by polling.
type replica struct {
	config Config
	client *client
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended

	// Of run's goroutine alone.
	server  int       // the one table is from
	noDelta bool      // it has no change lists
	asked   time.Time // when table was last changed by a list, or replaced
	fetched time.Time // when it was last replaced

	mu       sync.Mutex
	table    apps
	whole    bool  // table is what a server had at one moment
	failure  error // why it may be stale
	watchers map[*watcher]bool
}

func newReplica(c Config, servers []server) *replica {
	return &replica{
		config:   c,
		client:   newClient(c, servers),
		done:     make(chan struct{}),
		watchers: make(map[*watcher]bool),
	}
}

// add tells w what is known now, and from then on what changes. In an outage that is the
// last copy, which is better than nothing, and that it may be stale.
func (r *replica) add(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers[w] = true
	if r.whole {
		w.offer(r.table.set(w.app))
	}
	if r.failure != nil {
		w.fail(r.failure)
	}
}

// remove reports whether w was the last one.
func (r *replica) remove(w *watcher) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watchers, w)
	return len(r.watchers) == 0
}

// run polls until ctx is done.
func (r *replica) run(ctx context.Context) {
	defer close(r.done)
	defer r.client.close()
	backoff := newBackoff()
	for {
		err := r.client.each(ctx, func() error { return r.poll(ctx) })
		if ctx.Err() != nil {
			return
		}
		wait := jitter(r.config.Every)
		if err == nil {
			backoff.Reset()
		} else {
			wait = min(wait, backoff.Next())
		}
		r.tell(err)
		if !sleep(ctx, wait) {
			return
		}
	}
}

// tell passes on what the last round brought.
func (r *replica) tell(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
	for w := range r.watchers {
		if err != nil {
			w.fail(err)
		} else {
			w.offer(r.table.set(w.app))
		}
	}
}

// poll asks the current server for what changed, and for everything if that is unknown, or
// if the result is not what the server has. Then the full answer is believed, even where
// its own checksum differs, as it may for a moment: the next poll will tell.
func (r *replica) poll(ctx context.Context) error {
	same := r.server == r.client.current // another server's change list begins elsewhere
	recent := time.Since(r.asked) < gapMost && time.Since(r.fetched) < fullEvery
	if r.whole && same && recent && !r.noDelta {
		if current, err := r.delta(ctx); current || err != nil {
			return err
		}
	}
	return r.full(ctx)
}

// delta applies the change list and reports whether the copy is then that of the server.
// The list holds the last three minutes, not what is new: applying it again changes
// nothing.
func (r *replica) delta(ctx context.Context) (current bool, err error) {
	status, data, err := r.client.do(ctx, http.MethodGet, "/apps/delta", nil)
	switch {
	case err != nil:
		return false, err
	case status == http.StatusForbidden, status == http.StatusNotFound:
		r.noDelta = true // switched off at the server
		return false, nil
	case status != http.StatusOK:
		return false, refused(status)
	}
	a, err := parse(data)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole = false // until it has proved right, nobody is told of it
	if err := r.table.apply(a, r.config); err != nil {
		return false, err
	}
	r.asked = time.Now()
	r.whole = r.table.hash() == string(a.Applications.Hash)
	return r.whole, nil
}

// full replaces the copy.
func (r *replica) full(ctx context.Context) error {
	table, err := r.fetch(ctx)
	if err != nil {
		r.noDelta = false // it may have been a refusal of another kind
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server, r.table, r.whole = r.client.current, table, true
	r.asked = time.Now()
	r.fetched = r.asked
	return nil
}

func (r *replica) fetch(ctx context.Context) (apps, error) {
	status, data, err := r.client.do(ctx, http.MethodGet, "/apps", nil)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refused(status)
	}
	a, err := parse(data)
	if err != nil {
		return nil, err
	}
	table := make(apps)
	if err := table.apply(a, r.config); err != nil {
		return nil, err
	}
	if hash := string(a.Applications.Hash); len(table) == 0 && hash != "" {
		return nil, fmt.Errorf("the answer has no instances, but says that there are some (%.60s)", hash)
	}
	return table, nil
}
