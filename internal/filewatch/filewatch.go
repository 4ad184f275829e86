// Package filewatch says when the content of files becomes another, however that happens:
// written in place, replaced by a rename, or swapped behind a link, as Kubernetes mounts
// its volumes. It is the only watcher of files here.
//
// Folders are watched rather than files, because a rename replaces a file, and only events
// of the names on the way to a file count. A busy neighbour in such a folder, an access log for
// instance, costs little: see pauses. A change is reported
// when the writing has paused, and at the latest a second after it began. Beside that every
// file is read from time to time, because not everything makes events (network file
// systems, a system that has no watches left). What decides is always the content.
package filewatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A pace is how long a watcher waits.
type pace struct {
	settle     time.Duration // without events before files are read: writers write in parts
	settleMost time.Duration // and no longer than this, if they never pause
	poll       time.Duration // between two reads of everything, beside events
	pollAlone  time.Duration // the same without them
}

var usual = pace{settle: 100 * time.Millisecond, settleMost: time.Second, poll: 5 * time.Second, pollAlone: 2 * time.Second}

// sizeMost bounds what is read of one file: an endpoint list of some hundred thousand.
const sizeMost = 64 << 20

// A Sum stands for the content of a file; the zero value for a file that cannot be read.
type Sum = [sha256.Size]byte

// SumOf is the Sum of that content. It is never the zero value.
func SumOf(data []byte) Sum { return sha256.Sum256(data) }

// Read returns the content of a regular file of at most most bytes, and at most 64 MiB; 0
// is that bound. Anything else (a pipe, a device) could make the caller wait.
func Read(path string, most int64) ([]byte, error) {
	if most <= 0 || most > sizeMost {
		most = sizeMost
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// sum is the present Sum of a file.
func sum(path string) Sum {
	data, err := Read(path, 0)
	if err != nil {
		return Sum{}
	}
	return SumOf(data)
}

// Sums are the present contents of the files, for Follow.
func Sums(paths ...string) map[string]Sum {
	out := make(map[string]Sum, len(paths))
	for _, path := range paths {
		out[path] = sum(path)
	}
	return out
}

// A Watcher follows a set of files, which may change while it runs. Make it with New.
type Watcher struct {
	changed func()
	patient bool

	// For tests.
	pace   pace
	blind  bool   // there are no events
	looked func() // called whenever files were read after events, and changed was called
	noise  int    // events of other files so far; valid when Run has returned

	mu    sync.Mutex // held for some instructions
	known map[string]Sum
	again chan struct{} // the set is another one
}

// New returns a Watcher that calls changed whenever the content of a file is another one.
// If patient is set, a file that cannot be read keeps its content: it is expected back.
// Otherwise, that it vanishes and comes back are changes.
func New(patient bool, changed func()) *Watcher {
	return &Watcher{changed: changed, patient: patient, pace: usual, looked: func() {}, again: make(chan struct{}, 1)}
}

// Follow replaces the set of files. The values are the contents that the caller knows: one
// that differs from the present content is reported as a change soon. Any goroutine may call
// it, also before Run, and also changed.
func (w *Watcher) Follow(known map[string]Sum) {
	w.mu.Lock()
	w.known = maps.Clone(known)
	w.mu.Unlock()
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// Run follows the files until ctx is done. It calls changed from its own goroutine, leaves
// nothing running when it returns, and is called once at a time.
func (w *Watcher) Run(ctx context.Context) {
	f := folders{blind: w.blind}
	defer f.close()
	f.follow(w.paths())
	poll := time.NewTicker(f.every(w.pace))
	defer poll.Stop()
	var rest pauses
	defer rest.stop()
	quiet := debounce{pace: w.pace}
	quiet.event() // a file may have changed before it was watched
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.again:
			f.follow(w.paths())
			quiet.event()
		case <-rest.over():
			rest.listen()
		case e, ok := <-rest.unless(f.events()):
			switch {
			case !ok:
				f.close()
			case f.concerns(e.Name):
				quiet.event()
			default:
				w.noise++
				rest.neighbour()
			}
		case err := <-f.errors(): // events were lost
			if errors.Is(err, fsnotify.ErrClosed) {
				f.close()
			}
			quiet.event()
		case <-quiet.done():
			quiet.stop()
			f.follow(w.paths()) // first: what changes after this makes an event
			if w.look(true) {
				w.changed()
			}
			w.looked()
		case <-poll.C:
			f.follow(w.paths())
			if poll.Reset(f.every(w.pace)); quiet.done() == nil && w.look(false) {
				quiet.event() // it may be half-written yet
			}
		}
	}
}

func (w *Watcher) paths() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]string, 0, len(w.known))
	for path := range w.known {
		out = append(out, path)
	}
	return out
}

// look reads the files and reports whether one has changed; take makes the present
// contents the known ones.
func (w *Watcher) look(take bool) (changed bool) {
	for _, path := range w.paths() {
		now := sum(path)
		w.mu.Lock()
		was, there := w.known[path] // it may be another set by now
		if there && now != was && !(w.patient && now == Sum{}) {
			changed = true
			if take {
				w.known[path] = now
			}
		}
		w.mu.Unlock()
	}
	return changed
}

// A debounce waits until events have paused. Without a timer it waits for nothing.
type debounce struct {
	pace  pace
	timer *time.Timer
	since time.Time
}

func (d *debounce) event() {
	now := time.Now()
	if d.timer == nil {
		d.since = now
		d.timer = time.NewTimer(d.pace.settle)
		return
	}
	// A timer that is due is left alone: setting it again, event after event, would put it off.
	if left := d.pace.settleMost - now.Sub(d.since); left > 0 {
		d.timer.Reset(min(d.pace.settle, left))
	}
}

// done is nil while nothing is waited for.
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
