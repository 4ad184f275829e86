package nacos

import "time"

// A topic is one service that somebody watches.
type topic struct {
	subject
	watchers map[*watcher]bool
	hosts    []hostJSON // what was believed last
	known    bool       // there is such
	held     []hostJSON // came during the grace time and lacks known instances
	holding  bool

	subscribed bool      // in this session
	pushes     int       // that came in this session
	checked    time.Time // when it was last asked for
}

// pushed takes over a push. It is called by the reader of the session.
func (l *link) pushed(service serviceJSON) {
	hosts, err := service.instances()
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.topics[service.subject()]; t != nil && err == nil {
		t.pushes++
		l.apply(t, hosts)
	}
}

// apply takes over a list. During the grace time a list that lacks known instances is held
// back; one that has them all ends the wait.
func (l *link) apply(t *topic, hosts []hostJSON) {
	if l.grace && t.known && lost(t.hosts, hosts) {
		t.held, t.holding = hosts, true
		return
	}
	t.take(hosts)
}

func (t *topic) take(hosts []hostJSON) {
	t.hosts, t.known = hosts, true
	t.held, t.holding = nil, false
	for w := range t.watchers {
		w.offer(w.config.set(hosts))
	}
}

// believe ends the grace time.
func (l *link) believe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grace = false
	for _, t := range l.topics {
		if t.holding {
			t.take(t.held)
		}
	}
}
