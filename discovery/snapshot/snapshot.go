// Package snapshot keeps the last set of a source on disk, so that a proxy can start while
// the registry is down. It is a source around another one:
//
//	inner ──set──► publish
//	          └──► file, a second later if it is another set
//
//	start: inner fails, or says nothing for two seconds ──► set of the file, then an
//	       error that says so; from then on what inner publishes
//
// A set that is empty is published and not written: a registry that lost its data names
// nobody, and a service without endpoints needs no snapshot. Nothing is written and no
// folder is made before there is a set to write.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

const (
	// patience is how long a source may take to name its first set.
	patience = 2 * time.Second
	// debounce is how long a set must wait for the disk: many changes are one write.
	debounce = time.Second
)

// New returns a source that publishes what inner publishes and keeps its last set in a
// file of folder. The file's name is made of name, which should be the service's; two
// sources with the same name in one folder overwrite each other. report is told, from a
// goroutine of the source, what is wrong with the file; nil: nobody is.
func New(folder, name string, inner discovery.Source, report func(error)) discovery.Source {
	if report == nil {
		report = func(error) {}
	}
	return &source{file: file{path: path(folder, name), name: name}, inner: inner, report: report}
}

type source struct {
	file   file
	inner  discovery.Source
	report func(error)
}

// Run runs inner on a goroutine of its own and writes from the calling one. What is not
// written yet when ctx is done is written before Run returns.
func (s *source) Run(ctx context.Context, publish func(discovery.Update)) error {
	k := &keeper{publish: publish, changed: make(chan struct{}, 1)}
	var err error
	if k.kept, err = s.file.read(); err != nil {
		s.report(err)
	}
	k.last = k.kept.set

	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { ended <- s.inner.Run(ctx, k.update) })
	defer running.Wait()

	first := time.NewTimer(patience)
	defer first.Stop()
	var write <-chan time.Time // nil while there is nothing to write
	backoff := discovery.Backoff{First: 2 * debounce}
	failing := false
	for {
		select {
		case <-first.C:
			k.stepIn(errSilent)
		case <-k.changed:
			if write == nil {
				write = time.After(debounce)
			}
		case <-write:
			write = nil
			if err := s.write(k); err == nil {
				backoff.Reset()
				failing = false
				continue
			} else if !failing {
				s.report(err)
				failing = true
			}
			write = time.After(backoff.Next())
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				k.stepIn(err) // it will never name a set
			}
			if e := s.write(k); e != nil && !failing {
				s.report(e)
			}
			return err
		}
	}
}

// write brings the file up to date.
func (s *source) write(k *keeper) error {
	set, changed := k.unwritten()
	if !changed {
		return nil
	}
	if err := s.file.write(set); err != nil {
		return err
	}
	k.wrote(set)
	return nil
}

// A keeper stands between inner and publish.
type keeper struct {
	changed chan struct{} // there may be something to write

	mu      sync.Mutex // also makes publish be called one at a time
	publish func(discovery.Update)
	kept    kept            // what the file held at the start
	live    bool            // inner named a set
	using   bool            // the file's set was published
	last    []endpoint.Spec // what the file holds; nil: nothing
	latest  []endpoint.Spec // what it shall hold; nil: as it is
}

// update is inner's publish.
func (k *keeper) update(u discovery.Update) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u.Err != nil {
		k.fail(u.Err)
		return
	}
	k.live = true
	k.publish(u)
	if len(u.Endpoints) == 0 {
		return
	}
	k.latest = slices.Clone(u.Endpoints)
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// errSilent is why the file's set is used when inner does not even fail.
var errSilent = errors.New("the source has not answered yet")

// stepIn has the file's set stand in for the one that inner does not name.
func (k *keeper) stepIn(why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.live && !k.using && k.kept.set != nil {
		k.fail(why)
	}
}

// fail publishes an error of inner, and before it the file's set if there is no other.
// Called with mu held.
func (k *keeper) fail(err error) {
	if k.live || k.kept.set == nil {
		k.publish(discovery.Update{Err: err})
		return
	}
	if !k.using {
		k.using = true
		k.publish(discovery.Update{Endpoints: k.kept.set})
	}
	k.publish(discovery.Update{Err: fmt.Errorf("using the snapshot of %s: %w", k.kept.written.Format(time.RFC3339), err)})
}

// unwritten returns the latest set if it is another one than the file holds. The order of
// a set means nothing.
func (k *keeper) unwritten() (set []endpoint.Spec, changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.latest == nil {
		return nil, false
	}
	order(k.latest)
	return k.latest, !slices.EqualFunc(k.latest, k.last, endpoint.Spec.Equal)
}

func (k *keeper) wrote(set []endpoint.Spec) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = set
}
