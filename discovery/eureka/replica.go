package eureka

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
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
	config  Config
	servers *replicas

	// Of run's goroutine alone.
	server  int       // the one table is from
	noDelta bool      // it has no change lists
	asked   time.Time // when table was last changed by a list, or replaced
	fetched time.Time // when it was last replaced

	mu       sync.Mutex
	table    apps
	whole    bool                            // table is what a server had at one moment
	watchers client.Watchers[string, string] // by app
}

func newReplica(c Config, servers []server) *replica {
	return &replica{config: c, servers: newReplicas(c, servers)}
}

// Add tells w what is known now, and from then on what changes. In an outage that is the
// last copy, which is better than nothing, and that it may be stale.
func (r *replica) Add(w *client.Watcher[string]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.whole {
		w.Offer(r.table.set(w.Of))
	}
	r.watchers.Add(w.Of, w)
}

// Remove reports whether w was the last one.
func (r *replica) Remove(w *client.Watcher[string]) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.watchers.Remove(w.Of, w)
}

// Run polls until ctx is done.
func (r *replica) Run(ctx context.Context) {
	defer r.servers.close()
	loop := client.Loop{Name: "eureka", First: 250 * time.Millisecond, Most: 3 * time.Second}
	loop.Run(ctx, func() client.Turn {
		t := client.Turn{Wait: client.Jitter(r.config.Every)}
		if t.Err = r.servers.each(ctx, func() error { return r.poll(ctx) }); t.Err == nil {
			t.Answered = time.Now()
			r.offer()
		}
		return t
	}, r.fail)
}

// offer passes on what the last round brought.
func (r *replica) offer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers.Recover()
	for app := range r.watchers.Parts() {
		r.watchers.Offer(app, r.table.set)
	}
}

// fail says that the copy may be stale.
func (r *replica) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers.Fail(err)
}

// poll asks the current server for what changed, and for everything if that is unknown, or
// if the result is not what the server has. Then the full answer is believed, even where
// its own checksum differs, as it may for a moment: the next poll will tell.
func (r *replica) poll(ctx context.Context) error {
	same := r.server == r.servers.current // another server's change list begins elsewhere
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
	res, data, err := r.servers.do(ctx, http.MethodGet, "/apps/delta", nil)
	switch {
	case err != nil:
		return false, err
	case res.StatusCode == http.StatusForbidden, res.StatusCode == http.StatusNotFound:
		r.noDelta = true // switched off at the server
		return false, nil
	case res.StatusCode != http.StatusOK:
		return false, refused(res)
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
	r.server, r.table, r.whole = r.servers.current, table, true
	r.asked = time.Now()
	r.fetched = r.asked
	return nil
}

func (r *replica) fetch(ctx context.Context) (apps, error) {
	res, data, err := r.servers.do(ctx, http.MethodGet, "/apps", nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, refused(res)
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
