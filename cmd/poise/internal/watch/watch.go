// Package watch tells when the content of a file becomes another, however that happens:
// written in place, replaced by renaming, or swapped behind a link.
package watch

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	settleTime = 100 * time.Millisecond // editors write in several steps

	// Not everything tells (network file systems, links to elsewhere), so the file is
	// also read from time to time.
	lookEvery = 5 * time.Second
)

// A Content is what a file holds at one moment, for comparing.
type Content [sha256.Size]byte

// Read tells the present content; a file that cannot be read is as an empty one, because
// what is wrong with it is said by whoever loads it.
func Read(path string) Content {
	b, err := os.ReadFile(path)
	if err != nil {
		return Content{}
	}
	return sha256.Sum256(b)
}

// File calls changed whenever the content of the file differs from the last it knew,
// first from known, until ctx is done. A file that is gone is not a change: it is
// expected back. File blocks, calls changed from its own goroutine, and leaves nothing
// running.
func File(ctx context.Context, path string, known Content, changed func()) {
	var events <-chan fsnotify.Event // nil, and so silent, if the system offers no watching
	var errs <-chan error
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer w.Close()
		events, errs = w.Events, w.Errors
		_ = w.Add(filepath.Dir(path)) // the folder, for files are replaced by renaming
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	settle := time.NewTimer(0) // at once: it may have changed before we watched
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			settle.Reset(settleTime)
			continue
		case <-errs:
			settle.Reset(settleTime)
			continue
		case <-look.C:
			if w != nil {
				_ = w.Add(filepath.Dir(path)) // folders are replaced as well
			}
		case <-settle.C:
		}
		if now := Read(path); now != known && now != (Content{}) {
			known = now
			changed()
		}
	}
}
