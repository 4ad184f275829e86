package zookeeper

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// A Pool shares connections among sources: those with the same servers and the same user
// have one. The zero value is ready for use. It is safe for concurrent use, and must not
// be copied. A connection is closed when the last source that uses it has ended.
type Pool struct {
	mu    sync.Mutex
	slots map[key]*slot
	ends  sync.WaitGroup // of links that are being closed
}

// A key is what sources must have in common.
type key struct{ servers, user, password string }

// A slot is where sources with one key meet. Who holds turn may open a link.
type slot struct {
	turn   chan struct{}
	link   *link
	at     int // the server in use
	failed time.Time
	fails  int
	err    error
}

// failedFor is how long one failure to connect is told to sources that have not heard of
// it: they need not find out one after the other that a server does not answer.
const failedFor = 500 * time.Millisecond

func (p *Pool) slot(k key) *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slots == nil {
		p.slots = make(map[key]*slot)
	}
	s := p.slots[k]
	if s == nil {
		s = &slot{turn: make(chan struct{}, 1), at: rand.IntN(1 << 16)}
		p.slots[k] = s
	}
	return s
}

// acquire returns a link that is alive, and opens one if necessary. Each is released.
// seen is the number of the last failure that the caller was told.
func (p *Pool) acquire(ctx context.Context, k key, seen *int) (*link, error) {
	s := p.slot(k)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.link != nil && p.join(s.link) {
		return s.link, nil
	}
	if s.err != nil && *seen != s.fails && time.Since(s.failed) < failedFor {
		*seen = s.fails
		return nil, s.err
	}
	servers := strings.Split(k.servers, ",")
	s.at++ // never the one that was lost, if there is another
	l, err := open(ctx, servers[s.at%len(servers)], k.user, k.password)
	if s.link, s.err = l, err; err != nil {
		if ctx.Err() != nil {
			s.err = nil // it is not the servers' fault
			return nil, err
		}
		s.failed = time.Now()
		s.fails++
		*seen = s.fails
		return nil, err
	}
	p.join(l)
	return l, nil
}

// join counts a user, unless the link is dead or has been left by its last.
func (p *Pool) join(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.users < 0 || l.why() != nil {
		return false
	}
	l.users++
	return true
}

// release ends a use of a link. The last user closes it.
func (p *Pool) release(l *link) {
	p.mu.Lock()
	l.users--
	last := l.users == 0
	if last {
		l.users = -1
		p.ends.Add(1)
	}
	p.mu.Unlock()
	if last {
		l.close()
		p.ends.Done()
	}
}

// wait waits until links that were left are closed.
func (p *Pool) wait() { p.ends.Wait() }
