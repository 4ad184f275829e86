package service

// The queue of a service: requests that wait because no endpoint has a place for them. With
// max_in_flight: 1 and queue: 2, whose requests take 100 ms each:
//
//	  0 ms   A is served
//	 10 ms   B waits;  20 ms  C waits
//	 30 ms   D finds the queue full: 503 at once. From here on the newest is served first
//	100 ms   A has ended: C is served, though B came before it
//	200 ms   C has ended: B is served, and the queue is empty: it is calm again
//
// As long as the queue is calm it serves in the order of arrival. If it has had to refuse a request,
// or one has waited for too long, more comes than can be served, and then the oldest are those whose
// clients give up next: to serve them first would be to serve each of them too late. So the newest
// come first until nothing waits any more ("Fail at Scale", Maurer, ACM Queue 2015). In the order of
// service retries stand before all others, since work was done for them already, then come the
// priorities. When the queue is full the request is refused that would be served last: the newcomer,
// or one of lower priority, in whose place it comes.
//
// How a request waits:
//
//	Join      it is counted. Pick sends all newcomers to the queue from now on
//	Await     until it is its turn, and then until it finds a place; or its time is over
//	Leave     when it has begun its attempt or has given up
//
// Each end of an attempt (Settle) calls one request, whose task then picks for itself. It is counted
// until it has begun, so that no newcomer takes its place in between. A call that comes while all are
// called is kept for the next one. A request that was called and does not need the place passes the
// call on. So a place is never free while a request waits that was not called for it.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/policy"
)

// A Priority is the class of a request in the queue.
type Priority uint8

// Priorities, and the class of retries.
const (
	Normal Priority = iota
	High
	Low
	Again // a request that has failed at an endpoint, whatever its priority

	classes = iota
)

// String is the value of a label in metrics.
func (p Priority) String() string { return [...]string{"normal", "high", "low", "retry"}[p] }

// After is the class of a request with priority p, which has failed at an endpoint or not been at one.
// A retry comes before all others: work was done for it, and its client has waited longest.
func (p Priority) After(failed bool) Priority {
	if failed {
		return Again
	}
	return p
}

// byTurn are the classes in the order of service.
var byTurn = [classes]Priority{Again, High, Normal, Low}

// A QueueEnd is what has become of a request in the queue.
type QueueEnd uint8

// Ends of requests in the queue.
const (
	QueueServed     QueueEnd = iota // it has found a place
	QueueFull                       // it was not let in
	QueueDisplaced                  // it had to make room for one of a higher priority
	QueueTimeout                    // it has waited for too long
	QueueLeft                       // its client has left, or the proxy stops
	QueueNoEndpoint                 // while it waited all endpoints became unusable

	QueueEnds = int(iota) // how many there are
)

// String is the value of a label in metrics.
func (e QueueEnd) String() string {
	return [...]string{"served", "full", "displaced", "timeout", "left", "no-endpoint"}[e]
}

// askEvery is how often a request asks again to which the policy has said that it should wait: it
// may be for another reason than attempts in flight.
const askEvery = 50 * time.Millisecond

// queue is what waits. The zero value is empty and full.
type queue struct {
	most atomic.Int64 // attempts in flight of the service
	room atomic.Int64 // requests that may wait
	asks atomic.Bool  // the policy is custom, so it may have requests wait

	mu      sync.Mutex // guards what follows; held for some instructions. Taken after Service.mu
	timeout time.Duration
	lines   [classes]line
	n       int64  // requests that have joined and not left
	joined  uint64 // number of the next one
	calls   int    // that came while all were called
	several bool   // there may be several places: each that is served calls the next one
	flooded bool   // the newest come first
	ends    [QueueEnds]uint64
	waited  record.Histogram // of requests that were served
}

// A Waiter is one request in the queue.
type Waiter struct {
	rt     engine.Runtime
	signal engine.Signal
	gone   atomic.Bool   // its client has left
	at     time.Duration // instant at which it joined
	class  Priority

	// Guarded by queue.mu.
	place      place
	number     uint64
	next, prev *Waiter
}

// A place is where a Waiter is.
type place uint8

const (
	outside place = iota // it has left
	inLine
	called
	displaced
)

// Interrupt implements engine.Interrupter, for the watch of the client: it ends the wait.
func (w *Waiter) Interrupt(error) {
	w.gone.Store(true)
	w.signal.Set()
}

// Gone reports whether Interrupt was called.
func (w *Waiter) Gone() bool { return w.gone.Load() }

// adopt takes over what the settings say: most is the bound of the service.
func (q *queue) adopt(s *Service, most int64, o Overload) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.most.Store(most)
	q.room.Store(int64(o.Queue))
	q.asks.Store(s.conf.set.Custom)
	q.timeout = o.QueueTimeout
	s.count(0)
	q.invite()
}

// count adds d to the number of requests in the queue and shuts or opens the way of newcomers.
// Called with queue.mu held.
func (s *Service) count(d int64) {
	q := &s.queue
	if q.n += d; q.n == 0 {
		q.calls, q.several, q.flooded = 0, false, false
	}
	s.load.waiting.Store(q.n)
	if q.n > 0 {
		s.load.open.Store(0)
	} else {
		s.load.open.Store(q.most.Load())
	}
}

// Join puts the calling task, one of rt, into the queue, in the class p (see After); nil: it is full, or there is
// none, and Refuse follows if the request is refused for that. Otherwise Await follows, and then Leave.
func (s *Service) Join(rt engine.Runtime, p Priority) *Waiter {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n >= q.room.Load() && !s.makeRoom(p) {
		q.flooded = q.n > 0
		return nil
	}
	w := &Waiter{rt: rt, signal: rt.NewSignal(), class: p, at: rt.Now(), number: q.joined}
	q.joined++
	s.count(1)
	switch {
	case q.n == 1: // an attempt may have ended since its Pick, and called no request
		w.place = called
	case q.calls > 0:
		q.calls--
		w.place = called
	default:
		q.line(w)
	}
	return w
}

// Refuse counts a request that was not let in.
func (s *Service) Refuse() {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.ends[QueueFull]++
}

// Await waits until choose finds an endpoint for w, and returns it; nil: end says why there is none.
// choose is called by the calling task, when it is the turn of w or it is worth asking, and the service has
// room for an attempt; it returns policy.Wait where no endpoint has a place. by is the instant at which the request itself has to end. If
// Begin refuses the endpoint, Await is called once more.
func (s *Service) Await(w *Waiter, by time.Duration, choose func() *endpoint.Endpoint) (e *endpoint.Endpoint, end QueueEnd) {
	s.queue.mu.Lock()
	by = min(by, w.at+s.queue.timeout)
	turn := w.place == called
	s.queue.mu.Unlock()
	for {
		if turn {
			if e = policy.Wait; s.HasRoom() {
				e = choose()
			}
			switch e {
			case policy.Wait:
				if turn = s.back(w); turn {
					continue
				}
			case nil:
				return nil, QueueNoEndpoint
			default:
				return s.chose(w, e)
			}
		}
		until := by
		if s.queue.asks.Load() {
			until = min(by, w.rt.Now()+askEvery)
		}
		set := w.signal.Wait(until)
		now := w.rt.Now()
		switch {
		case s.isDisplaced(w):
			return nil, QueueDisplaced
		case w.gone.Load(), !set && now < until-time.Millisecond: // or the runtime stops
			return nil, QueueLeft
		case now >= by:
			return nil, QueueTimeout
		}
		turn = true
	}
}

// chose takes w out of its line, since it has found e. It stays counted until Leave.
func (s *Service) chose(w *Waiter, e *endpoint.Endpoint) (*endpoint.Endpoint, QueueEnd) {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	switch w.place {
	case displaced:
		return nil, QueueDisplaced
	case inLine:
		q.unline(w)
		w.place = called
	}
	return e, QueueServed
}

// back puts w, which was called and has found no place, into its line again. It returns true if a
// call has come meanwhile, so that w looks once more instead.
func (s *Service) back(w *Waiter) bool {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.place != called {
		return false
	}
	if q.calls > 0 {
		q.calls--
		return true
	}
	if w.class == Again { // which may not want the endpoint that has a place
		q.call(High)
	} else {
		q.several = false
	}
	q.line(w)
	return false
}

// isDisplaced reports whether another request has taken the room of w.
func (s *Service) isDisplaced(w *Waiter) bool {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return w.place == displaced
}

// Leave takes w out of the queue: it has begun its attempt (QueueServed), or has given up. It does
// nothing if w is not in the queue. It returns for how long w was there.
func (s *Service) Leave(w *Waiter, end QueueEnd) time.Duration {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	waited := w.rt.Now() - w.at
	switch w.place {
	case outside:
		return 0
	case displaced: // counted already
		w.place = outside
		return waited
	case inLine:
		q.unline(w)
	case called:
		if end != QueueServed {
			q.call(Again)
		}
	}
	w.place = outside
	q.ends[end]++
	if end == QueueServed {
		if q.waited.Add(waited); q.several {
			q.call(Again)
		}
	}
	q.flooded = q.flooded || end == QueueTimeout
	s.count(-1)
	return waited
}

// PickQueued is Pick for a request in the queue, of a service that has room.
func (s *Service) PickQueued(a *policy.Attempt) *endpoint.Endpoint {
	a.Load = s.load.n.Load()
	return s.pickNow(a)
}

// HasRoom reports whether fewer attempts are in flight than the bound of the service allows.
func (s *Service) HasRoom() bool { return s.load.n.Load() < s.queue.most.Load() }

// Crowded reports whether requests wait in the queue.
func (s *Service) Crowded() bool { return s.load.waiting.Load() > 0 }

// Bounded reports whether the settings bound the attempts in flight.
func (s *Service) Bounded() bool { return s.load.bounded.Load() }
