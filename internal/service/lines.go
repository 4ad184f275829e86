package service

// The lines of a queue: who is called when a place is free, and who makes room for another one.
//
//	calm       Again  r1 r2 r3    High  h1 h2    Normal  n1 n2 n3    Low  l1 l2
//	           served: r1 r2 r3 h1 h2 n1 n2 n3 l1 l2       makes room first: l2
//	flooded    served: r1 r2 r3 h2 h1 n3 n2 n1 l2 l1       makes room first: l1
//
// A request that is called leaves its line, and comes back to where it was if it has found no place.

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/record"
)

// A line is the requests of a class that were not called, in the order of arrival.
type line struct{ first, last *Waiter }

// makeRoom refuses the request that would be served last, if it is of a lower priority than p; false:
// there is none. Called with queue.mu held.
func (s *Service) makeRoom(p Priority) bool {
	q := &s.queue
	for i := classes - 1; i >= 0 && byTurn[i] != p; i-- {
		l := &q.lines[byTurn[i]]
		w := l.last
		if q.flooded {
			w = l.first
		}
		if w == nil {
			continue
		}
		q.flooded = true
		q.unline(w)
		q.ends[QueueDisplaced]++
		w.place = displaced
		s.count(-1)
		w.signal.Set()
		return true
	}
	return false
}

// freed calls one request, since a place is free.
func (s *Service) freed() {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.call(Again)
}

// invite is freed where several places may have come about.
func (s *Service) invite() {
	if s.load.waiting.Load() > 0 {
		s.queue.mu.Lock()
		defer s.queue.mu.Unlock()
		s.queue.invite()
	}
}

// invite has requests look for places one after the other, in the order of service, until one finds
// none. Those that were called already look once more. Called with mu held.
func (q *queue) invite() {
	q.several = q.n > 0
	inLines := int64(0)
	for _, p := range byTurn {
		for w := q.lines[p].first; w != nil; w = w.next {
			inLines++
		}
	}
	if q.calls += int(q.n - inLines); inLines == q.n {
		q.call(Again)
	}
}

// call calls the request that is to be served next, among the classes from the given one on. If all
// were called, it is kept for one of them or the next one. Called with mu held.
func (q *queue) call(from Priority) {
	for i := slices.Index(byTurn[:], from); i < classes; i++ {
		l := &q.lines[byTurn[i]]
		w := l.first
		if q.flooded && byTurn[i] != Again {
			w = l.last
		}
		if w != nil {
			q.unline(w)
			w.place = called
			w.signal.Set()
			return
		}
	}
	if q.n > 0 && from == Again {
		q.calls++
	}
}

// line puts w into its line, in the order of arrival. Called with mu held.
func (q *queue) line(w *Waiter) {
	l := &q.lines[w.class]
	w.place = inLine
	after := l.last
	for after != nil && after.number > w.number {
		after = after.prev
	}
	w.prev = after
	if after == nil {
		w.next, l.first = l.first, w
	} else {
		w.next, after.next = after.next, w
	}
	if w.next == nil {
		l.last = w
	} else {
		w.next.prev = w
	}
}

// unline takes w out of its line. Called with mu held.
func (q *queue) unline(w *Waiter) {
	l := &q.lines[w.class]
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.next, w.prev = nil, nil
}

// A QueueStatus is the bounds of a service, and the state of its queue, at one moment.
type QueueStatus struct {
	InFlight int               // attempts of the service
	Most     int               // of those; 0: any number
	Each     int               // at each endpoint, by the settings; 0: any number
	Found    bool              // there is a limit of each endpoint, by its latency
	Waiting  int               // requests
	Room     int               // for how many; 0: there is no queue
	Timeout  time.Duration     // for which a request waits at most
	Newest   bool              // the newest are served first
	Ends     [QueueEnds]uint64 // requests that found no place at once, by what became of them, since the service began
	Waited   record.Durations  // of those that were served
}

// Bounded reports whether there is, or was, anything to say.
func (q *QueueStatus) Bounded() bool {
	return q.Most > 0 || q.Each > 0 || q.Found || q.Room > 0 || q.Ends != [QueueEnds]uint64{}
}

// Queue reads the state of the queue. Any goroutine may call it.
func (s *Service) Queue() QueueStatus {
	s.mu.Lock()
	each, found := s.conf.set.Overload.EndpointInFlight, s.conf.set.Overload.Found.Max > 0
	s.mu.Unlock()
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	out := QueueStatus{
		InFlight: int(s.load.n.Load()), Each: each, Found: found,
		Waiting: int(q.n), Room: int(q.room.Load()), Timeout: q.timeout, Newest: q.flooded, Ends: q.ends,
	}
	if most := q.most.Load(); most < unbounded {
		out.Most = int(most)
	}
	out.Waited.Take(&q.waited)
	return out
}
