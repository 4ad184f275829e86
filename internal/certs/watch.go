package certs

// Certificates are replaced before they expire, while the proxy runs: their files are
// watched.

import (
	"context"

	"github.com/poise-lb/poise/internal/filewatch"
)

// Watch reloads whenever the content of a file changes, until ctx is done. After every
// reload it calls reloaded, from its own goroutine, with nil or the reason why the
// certificates stayed as they were. It blocks, and leaves nothing running when it returns.
//
// A certificate and its key are two files, so there is a moment when they do not fit:
// internal/filewatch waits for the writing to pause.
func (s *Store) Watch(ctx context.Context, reloaded func(error)) {
	w := filewatch.New(false, func() { reloaded(s.Reload()) })
	s.mu.Lock()
	w.Follow(s.sums)
	s.mu.Unlock()
	w.Run(ctx)
}
