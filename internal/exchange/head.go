package exchange

// Waiting for the response head, and which limit ends the wait. Reading the head has one
// deadline at a time; await sets it to the next instant at which it must look at something, once
// a second at most. A POST whose content takes 5 s, on a route without a timeout (limit of the
// head: 60 s):
//
//	 0 s      the attempt begins; the forked task sends content
//	 1..4 s   looks: content is under way, so the head has no limit yet. Each wait of the forked
//	          task has the stall limit of its side. Was the endpoint ejected meanwhile? Then
//	          the attempt ends with errEjected, if the request may be repeated elsewhere
//	 5 s      the content ended
//	65 s      no head: 504 endpoint-timeout, class Timeout; with retry.attempt_timeout: 1s, at 6 s
//
// A route with a timeout (Route.Whole) has one deadline for the exchange, counted from its
// beginning; it ends the wait whatever the content does. That of a call of gRPC counts from the end
// of the request, and without a timeout only grpc-timeout bounds the wait: a server may have
// nothing to say for long, and sends its head with the first message. With Expect: 100-continue:
//
//	 0 s      the head is sent, the content is held
//	 1 s      no answer: the client gets 100 from the proxy, and the content is sent

import (
	"errors"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// continueAfter is how long an endpoint may take to answer Expect: 100-continue before
// the content is sent anyway: many never answer it.
const continueAfter = time.Second

// LookEvery is the interval of lookUp during the wait for a response head.
const LookEvery = time.Second

// await reads response heads into a.response until the final one, and passes interim ones on;
// nil: the final head came. Most heads come before the first look, and cost no reading of the
// clock. While content is held, each interim head lets the second of continueAfter begin anew.
func (a *attempt) await() *Error {
	x := a.x
	look := a.began + LookEvery
	if t := x.service.Retry.AttemptTimeout; t > 0 {
		look = min(look, a.began+t)
	}
	if x.hedgeable {
		look = a.awaitHedge(look)
	}
	if a.upload.state == held {
		look = x.rt.Now() + continueAfter
	}
	for interims := 0; ; {
		err := a.call.ReadHead(&a.response, x.Request.Method, min(x.deadline, look))
		switch {
		case err == nil && (a.response.Status >= 200 || a.response.Status == 101):
			return nil
		case errors.Is(err, engine.ErrTimeout) && a.upload.state == held && x.rt.Now() < x.deadline:
			look, err = x.rt.Now()+LookEvery, a.goOn()
		case errors.Is(err, engine.ErrTimeout):
			var fault *Error
			if look, fault = a.lookUp(err); fault != nil {
				return fault
			}
			err = nil
		case err == nil:
			if interims++; x.table.Interim > 0 && interims > x.table.Interim {
				return errInterim
			}
			err = a.interim()
		}
		if err != nil {
			return a.blame(err)
		}
	}
}

// lookUp is called when a read of the head has expired with timeout. It returns the instant of
// the next look, or the fault that ends the attempt. The limit of the head counts from the end of
// the request's content.
func (a *attempt) lookUp(timeout error) (look time.Duration, fault *Error) {
	x := a.x
	now := x.rt.Now()
	look = now + LookEvery
	sent, over := a.began, true
	if a.upload.task != nil {
		sent, over = a.upload.sentAt()
	}
	if x.rpc.is && x.route.Whole && a.race == nil {
		x.deadline = x.rpcDeadline(now)
	}
	switch {
	case now >= x.deadline:
		return 0, a.blame(timeout)
	case a.upload.fault.Load() != nil:
		return 0, a.upload.fault.Load()
	case !x.route.Whole && over && !x.rpc.is:
		limit := max(sent, a.began) + x.route.Timeout
		if now >= limit {
			return 0, a.blame(timeout)
		}
		look = min(look, limit)
	}
	if t := x.service.Retry.AttemptTimeout; t > 0 && over {
		limit := max(sent, a.began) + t
		if now >= limit {
			return 0, a.blame(timeout)
		}
		look = min(look, limit)
	}
	if a.race == nil && x.hedgeAt != 0 {
		look = a.hedge(look, now, sent, over)
	}
	if a.race == nil && x.service.Ejected(a.endpoint) && x.mayRepeat(errEjected) && x.affords(errEjected) {
		if a.next = x.anotherNow(errEjected); a.next != nil && a.secures() {
			return 0, errEjected
		}
		x.spares(errEjected)
	}
	return look, nil
}

// blame makes an Error of err, with which reading from the endpoint has failed, and decides whose
// fault it is:
//
//	the upload's task met an error of the client     that error: it caused this one
//	the upload has waited for the client             the client's: 408, as the endpoint gave up
//	  for a second or more                           on a request that did not come
//	  for less                                       either may be at fault: none is blamed
//	otherwise                                        as endpointError says
func (a *attempt) blame(err error) *Error {
	if f := a.upload.fault.Load(); f != nil {
		return f
	}
	fault := endpointError(err)
	if fault.Side != ByEndpoint || a.x.rpc.is { // where it is usual to wait for the client's next message
		return fault
	}
	since, starved := a.upload.starved(a.x.rt.Now())
	switch {
	case !starved:
		return fault
	case since >= starvedAfter:
		return errStarved
	}
	f := *fault
	f.Side = ByClient
	return &f
}

// starvedAfter is how long an endpoint must have waited for content for blame to conclude that
// it has given up. Servers that limit the time of a request's content count in seconds; a
// client on a bad line pauses for less, and an endpoint may break down meanwhile.
const starvedAfter = time.Second

// interim passes a 1xx response on to the client, as a proxy must (RFC 9110 §15.2); in a race those of
// one attempt. A 100 starts content that is held; any other 100 is dropped.
func (a *attempt) interim() error {
	if a.response.Status == 100 {
		if a.upload.state == held {
			return a.goOn()
		}
		return nil
	}
	if r := a.race; r != nil {
		if !r.speaks(a) {
			return nil
		}
		defer r.spoke() // also when something panics
	}
	message.DropHopByHop(a.response.Fields)
	if err := a.x.client.Interim(&a.response); err != nil {
		return engine.ErrClientGone
	}
	return nil
}

// goOn sends 100 (Continue) to the client and starts the upload of the content that was held.
func (a *attempt) goOn() error {
	if err := a.x.client.Continue(); err != nil {
		return engine.ErrClientGone
	}
	a.startUpload()
	return nil
}
