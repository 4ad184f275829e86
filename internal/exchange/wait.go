package exchange

// Waiting for a place. A service whose attempts are bounded (service.Overload) may have no place for
// a request: then it waits in the queue of the service, or is answered 503 at once. With
// max_in_flight: 1 and queue: 1:
//
//	A   begins, and is answered after 80 ms
//	B   first: Wait. await: joins the queue; A's end calls it; it picks and begins
//	C   first: Wait. await: the queue is full: 503 service-full
//
// What waits holds no endpoint and no connection, and nothing of the request's content has been
// read. The client is watched meanwhile: one that leaves takes its request along.
//
// A retry waits as well, before all others (service.Priority.After). It waits only after its attempt has ended, so it holds no place. A retry that is decided while the
// attempt is under way (classes Status, Ejected, Unavailable) does not wait: the client gets the
// response that there is. A hedge never waits: it is of use at once or not at all.

import (
	"fmt"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/policy"
)

// Errors of requests that got no place.
var (
	// errFull: as many attempts are under way as the service may have, and no request more may wait.
	errFull = &Error{Status: 503, Reason: reason.ServiceFull, Side: BySelf}
	// errQueueTimeout: the request has waited for a place for as long as it may.
	errQueueTimeout = &Error{Status: 503, Reason: reason.QueueTimeout, Side: BySelf}
)

// Priorities say which requests come first in the queue of a service.
type Priorities struct {
	By      *affinity.Key
	Classes map[string]service.Priority // by value of By; others are Normal
	// Anyone: every client is believed that its request is High; otherwise trusted proxies alone.
	Anyone bool
}

// of is the priority of a request from a peer that is a trusted proxy or not.
func (p *Priorities) of(q *message.Request, norm, clientIP []byte, trusted bool) service.Priority {
	v, ok := p.By.Of(q, norm, clientIP)
	if !ok {
		return service.Normal
	}
	class := p.Classes[string(v)]
	if class == service.High && !trusted && !p.Anyone {
		return service.Normal
	}
	return class
}

// start finds the endpoint of the first attempt, which is then x.next. It waits for it if need be.
func (x *Exchange) start() *Error {
	x.next = x.first()
	switch x.next {
	case nil:
		return x.unavailable()
	case policy.Wait:
		return x.await(nil)
	}
	return nil
}

// await waits in the queue of the service until there is an endpoint with a place for the next
// attempt, which is then x.next. failed is the fault of the attempt before; nil: there was none. The
// place is taken by attempt.begin; if another task comes first there, await is called once more.
func (x *Exchange) await(failed *Error) *Error {
	s, choose := x.service, x.pickInQueue
	if failed != nil {
		choose = func() *endpoint.Endpoint { return x.another(failed) }
	}
	if x.waiter == nil {
		if x.waiter = s.Join(x.rt, x.priority.After(failed != nil)); x.waiter == nil {
			return x.lookAgain(choose)
		}
	}
	w := x.waiter
	x.client.Watch(w)
	e, end := s.Await(w, x.deadline, choose)
	x.client.Unwatch(w)
	if e != nil {
		x.next = e
		return nil
	}
	x.unqueue(end)
	switch end {
	case service.QueueNoEndpoint:
		return x.unavailable()
	case service.QueueDisplaced:
		return errFull
	case service.QueueLeft:
		if w.Gone() {
			return clientError(engine.ErrClientGone)
		}
		return ErrStopping
	}
	if x.rpc.is && x.rpc.timed && x.rt.Now() >= x.rpc.by {
		return errDeadline
	}
	return errQueueTimeout
}

// lookAgain is for a request that the queue does not take: it looks once more for a place, since a reload
// may have taken away the bounds, and the queue with them, since it looked. Where there are bounds it
// does not overtake those that wait.
func (x *Exchange) lookAgain(choose func() *endpoint.Endpoint) *Error {
	e := policy.Wait
	if x.service.HasRoom() && (!x.service.Bounded() || !x.service.Crowded()) {
		e = choose()
	}
	switch e {
	case policy.Wait:
		x.service.Refuse()
		return errFull
	case nil:
		return x.unavailable()
	}
	x.next = e
	return nil
}

// unqueue takes the exchange out of the queue of the service.
func (x *Exchange) unqueue(end service.QueueEnd) {
	x.log.Queued += x.service.Leave(x.waiter, end)
	x.waiter = nil
}

// pickInQueue picks the endpoint of the first attempt of an exchange in the queue, when the service has
// room; policy.Wait: no endpoint has a place.
func (x *Exchange) pickInQueue() *endpoint.Endpoint {
	x.choice.Rand = x.rt.Rand()
	x.choice.Now = x.rt.Now()
	e := x.bound()
	if e == nil && x.service.Sticky != nil {
		e = x.stuckTo()
	}
	if e != nil {
		return e
	}
	return x.service.PickQueued(&x.choice)
}

// fullText and fullJSON are the replies to requests that find a service full, made once: where more
// comes than can be served, refusing must cost little.
var (
	fullText = refusal(errFull, "text/plain; charset=utf-8", "%d %s: %s\n")
	fullJSON = refusal(errFull, "application/json", "{\"status\":%d,\"reason\":%q,\"message\":%q}\n")
)

// refusal makes the reply to err whose content has this type and form.
func refusal(err *Error, kind, form string) *message.Reply {
	return &message.Reply{
		Status: err.Status, Reason: err.Reason,
		Fields: []message.Field{message.NewField("Content-Type", kind), message.NewField("Retry-After", "1")},
		Body:   fmt.Appendf(nil, form, err.Status, err.Reason, TextOf(err.Status, err.Reason)),
	}
}

// fullReply is the reply that the client's Accept asks for.
func (x *Exchange) fullReply() *message.Reply {
	if accept, ok := message.GetKind(x.Request.Fields, message.Accept); ok && prefersJSON(accept) {
		return fullJSON
	}
	return fullText
}
