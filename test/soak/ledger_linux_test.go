package soak

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An entry is what is known of one request, by its client and by the endpoints.
type entry struct {
	*order
	client int
	number int
	text   string // of the order
	from   time.Time

	heads atomic.Int32 // endpoints that have read the head
	begun atomic.Bool  // an endpoint has begun to answer
}

// ring is how many requests of a client are remembered.
const ring = 64

// A page holds the latest requests of one client.
type page struct {
	mu     sync.Mutex
	recent [ring]*entry
	issued int
}

// issue gives an order its token and remembers it.
func (s *soak) issue(client int, o *order) *entry {
	p := &s.pages[client]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.issued++
	o.token = fmt.Sprintf("%x-%d-%d", s.seed, client, p.issued)
	e := &entry{order: o, client: client, number: p.issued, text: o.String(), from: time.Now()}
	p.recent[p.issued%ring] = e
	return e
}

// find is the entry of a token; nil without an error: it is too long ago.
func (s *soak) find(token string) (*entry, error) {
	part := strings.Split(token, "-")
	if len(part) != 3 || part[0] != strconv.FormatUint(s.seed, 16) {
		return nil, fmt.Errorf("token %q is nobody's", token)
	}
	client, err1 := strconv.Atoi(part[1])
	number, err2 := strconv.Atoi(part[2])
	if err1 != nil || err2 != nil || client < 0 || client >= len(s.pages) {
		return nil, fmt.Errorf("token %q is nobody's", token)
	}
	p := &s.pages[client]
	p.mu.Lock()
	defer p.mu.Unlock()
	if number > p.issued {
		return nil, fmt.Errorf("token %q was not issued yet", token)
	}
	if e := p.recent[number%ring]; e != nil && e.number == number {
		return e, nil
	}
	return nil, nil
}

// counts counts by name.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[string]int)
	}
	c.n[name]++
}

func (c *counts) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

func (c *counts) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(c.n)) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", name, c.n[name])
	}
	return b.String()
}

// moments remembers when something happened that excuses a failure nearby.
type moments struct {
	mu   sync.Mutex
	at   [1024]time.Time
	next int
}

func (m *moments) now() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at[m.next%len(m.at)] = time.Now()
	m.next++
}

// within counts how often it happened between two moments. What is no longer in memory is
// older than all that is in it.
func (m *moments) within(from, to time.Time) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, at := range m.at {
		if !at.IsZero() && !at.Before(from) && !at.After(to) {
			n++
		}
	}
	return n
}
