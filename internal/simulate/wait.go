package simulate

// Waiting in the queue of a service, as internal/exchange does it (wait.go there). The queue is the
// shipped one, in which tasks wait. A request is no task, so one is lent to it for as long as it
// waits; tasks that are not needed any more are kept for the next ones.
//
//	arrive   Pick: policy.Wait    Join    a task: Await, begin, Leave
//
// Whose turn it is, and that a retry comes before all others, is said by package service alone. A retry
// waits if its attempt is over; a hedge never does.

import (
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/service"
)

// A stand is a task that waits for requests, one after the other.
type stand struct {
	wake   engine.Signal
	n      int32           // the request; its waiter is nil while there is none
	waiter *service.Waiter // in the queue
}

// wait has request n wait for a place, for its first attempt or for the one after a failure; false:
// no request more may wait.
func (w *world) wait(n int32, again bool) bool {
	r := &w.requests.all[n]
	waiter := r.proxy.service.Join(w.tasks, r.rank().After(again))
	if waiter == nil {
		r.proxy.service.Refuse()
		return false
	}
	if r.arrived >= w.from && !r.waited {
		w.report.Waited++
		if c := w.report.class(r.class); c != nil {
			c.Waited++
		}
	}
	r.waited, r.again, r.joined = true, again, w.now
	var s *stand
	if last := len(w.stands) - 1; last >= 0 {
		s, w.stands = w.stands[last], w.stands[:last]
	} else {
		s = &stand{wake: w.tasks.NewSignal()}
		w.tasks.start(func() { w.serveAt(s) })
	}
	s.n, s.waiter = n, waiter
	s.wake.Set()
	return true
}

// rank is the priority of a request at its service, which may tell none apart.
func (r *request) rank() service.Priority {
	if r.proxy.ranks {
		return r.class
	}
	return service.Normal
}

// serveAt is the task of a stand.
func (w *world) serveAt(s *stand) {
	for s.wake.Wait(0) {
		w.await(s.n, s.waiter)
		s.waiter = nil
		w.stands = append(w.stands, s)
	}
}

// await waits until request n has a place, and begins its attempt, or ends it.
func (w *world) await(n int32, waiter *service.Waiter) {
	svc, deadline := w.requests.all[n].proxy.service, w.requests.all[n].deadline
	for {
		e, end := svc.Await(waiter, deadline, func() *endpoint.Endpoint { return w.choose(n) })
		r := &w.requests.all[n]
		if e != nil {
			i, ok := w.start(n, e)
			if !ok {
				continue
			}
			r = &w.requests.all[n]
			r.queued += w.now - r.joined
			svc.Leave(waiter, service.QueueServed)
			if r.tries == 1 {
				w.awaitHedge(i)
			}
			return
		}
		again := r.again
		svc.Leave(waiter, end)
		switch {
		case again:
			w.spares(r, r.why)
			w.finish(n, Failed, nil)
		case end == service.QueueNoEndpoint:
			w.finish(n, Unavailable, nil)
		case end == service.QueueTimeout && w.now >= deadline:
			w.finish(n, TimedOut, nil)
		default:
			w.finish(n, Dropped, nil)
		}
		return
	}
}

// choose picks for request n, whose turn it is.
func (w *world) choose(n int32) *endpoint.Endpoint {
	r := &w.requests.all[n]
	if r.again {
		return w.another(r, r.why, 0)
	}
	r.choice.Rand, r.choice.Now = w.tasks.Rand(), w.now
	return r.proxy.service.PickQueued(&r.choice)
}
