package certs

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// A certificate and its key are two files, so there is a moment when they do not fit.
	settleTime = 150 * time.Millisecond

	// Not everything tells: network file systems, the targets of links elsewhere, a
	// folder that was replaced. So the files are also looked at from time to time.
	lookEvery = 5 * time.Second
)

// Changed reports whether any file is another than at the last Reload, as far as its
// size, its time and its identity tell.
func (s *Store) Changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.look() {
		if !m.same(s.marks[i]) {
			return true
		}
	}
	return false
}

// Watch reloads whenever files change, until ctx is done. After every reload it calls
// reloaded, from its own goroutine, with nil or the reason why the certificates stayed
// as they were. It blocks, and leaves nothing running when it returns.
func (s *Store) Watch(ctx context.Context, reloaded func(error)) {
	var events <-chan fsnotify.Event // nil, and so silent, if the system offers no watching
	var errs <-chan error
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer w.Close()
		events, errs = w.Events, w.Errors
		s.watchFolders(w)
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	settle := time.NewTimer(0) // at once: a file may have changed before we watched
	defer settle.Stop()
	touched := false
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			touched = touched || s.owns(e.Name)
			settle.Reset(settleTime)
		case <-errs: // events were lost: look soon
			settle.Reset(settleTime)
		case <-look.C:
			if w != nil {
				s.watchFolders(w) // folders come and go as well
			}
			if s.Changed() {
				settle.Reset(settleTime)
			}
		case <-settle.C:
			// A folder holds other files too, and reading ours tells the time of a write.
			if touched || s.Changed() {
				reloaded(s.Reload())
			}
			touched = false
		}
	}
}

// watchFolders watches folders rather than files, because files are replaced by renaming
// others over them. A folder that cannot be watched is left to the looking.
func (s *Store) watchFolders(w *fsnotify.Watcher) {
	for _, p := range s.pairs {
		_ = w.Add(filepath.Dir(p.Cert))
		_ = w.Add(filepath.Dir(p.Key))
	}
}

func (s *Store) owns(path string) bool {
	path = filepath.Clean(path)
	for _, p := range s.pairs {
		if path == filepath.Clean(p.Cert) || path == filepath.Clean(p.Key) {
			return true
		}
	}
	return false
}
