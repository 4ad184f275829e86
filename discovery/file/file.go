// Package file is the source that watches an endpoint list in a file. What the file looks
// like is its caller's business.
package file

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

const (
	pollEvery  = 5 * time.Second       // in case no event comes: network file systems, links into other folders
	settle     = 50 * time.Millisecond // without events before the file is read: writers write in parts
	settleMost = time.Second           // and no longer than this in a folder that is never quiet
)

// A Source watches one file. Make it with New. Its Run may be called again, but not
// concurrently.
//
// Writers do best to write another file and rename it: what is written in place may be
// read half-way. A file that is missing, or that parse does not accept, leaves the last
// set in use and publishes the error; so does an empty one, if parse refuses it.
type Source struct {
	path  string
	parse func(data []byte) ([]endpoint.Spec, error)

	last    []byte // content that was published
	fresh   bool   // last is what was published last, rather than an error
	failure string // the last error that was published, so that polling does not repeat it
}

// New returns a source for the file at path, which parse turns into endpoints. Specs must
// not be modified after parse has returned them.
func New(path string, parse func(data []byte) ([]endpoint.Spec, error)) *Source {
	return &Source{path: path, parse: parse}
}

// Run publishes the set when the file is first read and whenever its content changes. It
// watches the folder rather than the file, because renames and the links of Kubernetes
// volumes replace the file. Without a watcher (too many of them, say) it polls.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	s.fresh, s.failure = false, ""
	w := watch{dir: filepath.Dir(s.path)}
	defer w.close()
	w.add() // before the first look, so that no change is missed
	s.look(publish)
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var quiet debounce
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.events():
			if !ok {
				w.close()
				continue
			}
			quiet.event()
			continue
		case <-w.errors(): // events were lost, for one
			quiet.event()
			continue
		case <-quiet.done():
			quiet.stop()
		case <-poll.C:
			w.add()
			if quiet.done() != nil {
				continue // it is being written: do not read it half-way
			}
		}
		s.look(publish)
	}
}

// look reads the file and publishes what it says, if that is not what was said last.
// Content is compared, not times, which some file systems keep in whole seconds.
func (s *Source) look(publish func(discovery.Update)) {
	data, err := os.ReadFile(s.path)
	if err == nil && s.fresh && bytes.Equal(data, s.last) {
		return
	}
	var specs []endpoint.Spec
	if err == nil {
		specs, err = s.parse(data)
	}
	if err != nil {
		if s.fresh = false; err.Error() != s.failure {
			s.failure = err.Error()
			publish(discovery.Update{Err: fmt.Errorf("endpoint list: %w", err)})
		}
		return
	}
	s.last, s.fresh, s.failure = data, true, ""
	publish(discovery.Update{Endpoints: specs})
}

// A watch is an fsnotify watcher of one folder; without one it has no events.
type watch struct {
	dir     string
	watcher *fsnotify.Watcher
}

// add begins to watch, and watches again a folder that was replaced.
func (w *watch) add() {
	if w.watcher == nil {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			return // polling will do, and try again
		}
		w.watcher = watcher
	}
	if err := w.watcher.Add(w.dir); err != nil {
		w.close()
	}
}

func (w *watch) close() {
	if w.watcher != nil {
		w.watcher.Close()
		w.watcher = nil
	}
}

func (w *watch) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

func (w *watch) errors() <-chan error {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Errors
}

// A debounce waits until events have ceased for a while.
type debounce struct {
	timer *time.Timer
	since time.Time
}

func (d *debounce) event() {
	now := time.Now()
	if d.timer == nil {
		d.since = now
		d.timer = time.NewTimer(settle)
		return
	}
	d.timer.Reset(max(0, min(settle, settleMost-now.Sub(d.since))))
}

// done is nil while nothing is awaited.
func (d *debounce) done() <-chan time.Time {
	if d.timer == nil {
		return nil
	}
	return d.timer.C
}

func (d *debounce) stop() {
	d.timer.Stop()
	d.timer = nil
}
