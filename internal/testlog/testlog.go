// Package testlog keeps what a test's logger writes. Only tests import it.
//
//	var log testlog.Buffer
//	logger := slog.New(slog.NewTextHandler(&log, nil))
package testlog

import (
	"strings"
	"sync"
)

// A Buffer is written to and read at the same time, by any goroutines. The zero value is empty.
type Buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends p; the error is always nil.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
