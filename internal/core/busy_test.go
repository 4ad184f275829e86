package core

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A walk sees each client that stays once, while others come and go, and other walks leave their
// markers.
func TestAWalkSeesWhatStays(t *testing.T) {
	var l list
	l.root.next, l.root.prev = &l.root, &l.root
	enter := func() *client {
		e := &client{breaker: breakable{new(connection)}}
		l.mu.Lock()
		l.add(e)
		l.mu.Unlock()
		return e
	}
	leave := func(e *client) {
		l.mu.Lock()
		l.remove(e)
		l.mu.Unlock()
	}
	stays := make(map[*client]bool)
	var others []*client
	for range 5 * walkMost {
		stays[enter()] = true
		others = append(others, enter())
	}
	var over atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; !over.Load(); i = (i + 7) % len(others) {
			leave(others[i])
			others[i] = enter()
		}
	})
	for range 3 {
		all.Go(func() {
			for range 100 {
				seen := make(map[*client]int)
				l.walk(func(e *client) { seen[e]++ })
				for e := range stays {
					if seen[e] != 1 {
						t.Errorf("a client was seen %d times", seen[e])
						return
					}
				}
			}
		})
	}
	all.Go(func() {
		defer over.Store(true)
		time.Sleep(time.Millisecond)
		for range 300 {
			l.walk(func(*client) {})
		}
	})
	all.Wait()
	n := 0
	l.walk(func(*client) { n++ })
	if want := len(stays) + len(others); n != want || l.open != want {
		t.Errorf("%d clients are left, %d are counted, want %d", n, l.open, want)
	}
}

// What rotates the list leaves markers where they are, and what looks at clients passes over them.
func TestMarkersAreNoClients(t *testing.T) {
	p := new(Proxy)
	c := clients{proxy: p, lists: make([]list, 1)}
	l := &c.lists[0]
	l.root.next, l.root.prev = &l.root, &l.root
	var one, two client
	l.add(&one)
	var marker client
	marker.before(&one)
	l.add(&two)
	one.breaker, two.breaker = breakable{new(connection)}, breakable{new(connection)}
	if found := l.longIdle(0, 2); len(found) != 2 || l.root.next != &marker || l.open != 2 {
		t.Errorf("%d clients, the marker was moved: %v", len(found), l.root.next != &marker)
	}
	n := 0
	c.each(func(*client) bool { return true }, func(*client) { n++ })
	if n != 2 {
		t.Errorf("%d clients", n)
	}
}
