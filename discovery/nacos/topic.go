package nacos

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// A topic is one service that sources watch.
type topic struct {
	subject
	hosts    []hostJSON // what was believed last
	known    bool       // there is such
	held     []hostJSON // lacks known instances: came during the grace time, or asking
	holding  bool
	asking   bool       // the server is to be asked for those that held lacks
	disabled []hostJSON // by an operator: the server knows them and does not list them

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
		if t.asking {
			l.signal()
		}
	}
}

// apply takes over a list. During the grace time a list that lacks known instances is held
// back; one that has them all ends the wait. Later it is held back until the server was
// asked for them: the caller sees to that by inquire or by signal. Called with mu held.
func (l *link) apply(t *topic, hosts []hostJSON) {
	if t.known && (lost(t.hosts, hosts) || lost(t.disabled, hosts)) {
		ask := !l.grace && time.Now().After(l.incurious)
		if ask || l.grace && lost(t.hosts, hosts) {
			t.held, t.holding, t.asking = hosts, true, ask
			return
		}
	}
	l.take(t, hosts)
}

// take believes a list. Called with mu held.
func (l *link) take(t *topic, hosts []hostJSON) {
	t.hosts, t.known = hosts, true
	t.held, t.holding, t.asking = nil, false, false
	t.disabled = without(t.disabled, hosts)
	if l.topics[t.subject] == t { // otherwise all have left, and may have come back to another
		all := slices.Concat(t.hosts, t.disabled)
		l.watchers.Offer(t.subject, func(of ServiceConfig) discovery.Update { return of.set(all) })
	}
}

// believe ends the grace time.
func (l *link) believe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grace = false
	for _, t := range l.topics {
		if t.holding {
			l.apply(t, t.held)
		}
		if t.asking {
			l.signal()
		}
	}
}
