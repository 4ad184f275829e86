package core

// How many connections of a listener serve a request at the moment, for metrics:
//
//	active   a request is under way: its head has come, or of HTTP/1.1 has begun to come, and its
//	         response has not ended
//	idle     all others: they wait for a request, shake hands, or drop what still comes at the end
//
// A request pays nothing for that. The state of each connection is there anyway (clients.go), and a
// scrape reads all of them. A worker takes the lock of its list when a connection comes or goes, and
// must not wait for the length of a walk over 100,000 connections. So the walk gives the lock back
// after walkMost of them, and leaves a marker where it has to go on:
//
//	root  a  b  c  MARKER  d  e  f     a, b and c were looked at; then c may leave, and g may come
//
// What changes meanwhile may be counted as it was or as it is.

import (
	"time"

	"github.com/poise-lb/poise/internal/admission"
)

// walkMost is how many connections a walk looks at with the lock held: for some microseconds.
const walkMost = 128

// A Listener is what connections that come by one listener have in common.
type Listener struct{ shared about }

// Listener returns one for Peers. name is that by which routes may ask for it, empty: it has none;
// at counts its connections, nil: they are not counted.
func (p *Proxy) Listener(name string, at *admission.Listener) *Listener {
	return &Listener{about{Proxy: p, listener: name, at: at}}
}

// ListenerCounts are what is known of the connections of one listener.
type ListenerCounts struct {
	admission.ListenerCounts
	Active int64 // of Open, those that serve a request
}

// Listeners are the counts of all listeners, by name. Any goroutine may call it; it takes some
// nanoseconds per connection.
func (p *Proxy) Listeners(now time.Duration) []ListenerCounts {
	active := make(map[string]int64)
	for i := range p.clients.lists {
		p.clients.lists[i].walk(func(e *client) {
			if c, ok := e.breaker.(breakable); ok && e.busy() && c.proxy.at != nil {
				active[c.proxy.at.Name()]++
			}
		})
	}
	counts := p.admission.Listeners(now)
	all := make([]ListenerCounts, len(counts))
	for i, one := range counts {
		all[i] = ListenerCounts{one, min(active[one.Name], one.Open)}
	}
	return all
}

// walk calls look for each client with the list's lock held, which it gives back now and then. What
// enters or leaves meanwhile may be missed. Any goroutine may call it.
func (l *list) walk(look func(*client)) {
	var marker client // without a breaker, by which everything else that reads the list knows it
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.root.next; e != &l.root; {
		for range walkMost {
			if e.breaker != nil {
				look(e)
			}
			if e = e.next; e == &l.root {
				return
			}
		}
		marker.before(e)
		l.mu.Unlock()
		l.mu.Lock()
		e = marker.next
		marker.unlink()
	}
}
