package sources

import (
	"context"
	"sync"

	"github.com/poise-lb/poise/discovery"
)

// shared has one registry for each key that a running source uses. The zero value is ready
// for use.
type shared[R any] struct {
	mu   sync.Mutex
	live map[string]*loan[R]
}

type loan[R any] struct {
	registry R
	users    int
}

// acquire returns the registry of the key and opens it for the first user.
func (s *shared[R]) acquire(key string, open func() R) R {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = make(map[string]*loan[R])
	}
	l := s.live[key]
	if l == nil {
		l = &loan[R]{registry: open()}
		s.live[key] = l
	}
	l.users++
	return l.registry
}

// release forgets the registry with its last user. What it held has ended by then: it ends
// with the last source that runs.
func (s *shared[R]) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[key]
	if l.users--; l.users == 0 {
		delete(s.live, key)
	}
}

// A borrower is a source of a registry that it shares while it runs.
type borrower[R any] struct {
	from   *shared[R]
	key    string
	open   func() R
	source func(R) discovery.Source
}

// Run runs the registry's source.
func (b *borrower[R]) Run(ctx context.Context, publish func(discovery.Update)) error {
	registry := b.from.acquire(b.key, b.open)
	defer b.from.release(b.key)
	return b.source(registry).Run(ctx, publish)
}
