package exchange

// One attempt: a try of the exchange at one endpoint, from opening a call to reporting the
// outcome. The steps in the order of time, with the outcome that each failure leads to:
//
//	begin      Service.Begin: the attempt is in flight
//	ask        open         no connection                     Connect, Busy
//	           send, await  broke, timed out, declined        Reset, Timeout, Refused
//	finish     unwanted     a status of retry.on              Status, Unavailable
//	           deliver      the head is out: nothing is repeated any more
//	end        hangUp       ends the upload, returns the connection to its pool
//	           settle       Service.Settle: latency, failed or not
//
// Every begin is followed by exactly one settle, also if something panics in between.

import (
	"errors"
	"io"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
)

// An attempt is one try of an exchange at one endpoint. It has what belongs to one endpoint
// only: the call, the response head, how far the content was sent, the line of the access log.
// The Exchange has what all its attempts share: the request, the content kept for another
// attempt, the endpoints that were tried, the client.
//
// An attempt has two parts. ask opens a call, sends the request and waits for the response
// head; only interim responses reach the client meanwhile. finish looks at the head and
// delivers the response. So two attempts can ask side by side, and one of them delivers.
//
// The zero value is ready for begin, and may be used again after run.
type attempt struct {
	x        *Exchange
	endpoint *endpoint.Endpoint
	race     *race         // nil: no other attempt asks beside it
	call     upstream.Call // nil: none is open
	whole    bool          // request and response are complete: the connection may be used again

	response message.Response
	upload   upload
	named    *message.Request // the request with the endpoint's host; see request
	host     []byte           // buffer for that host

	began  time.Duration      // instant
	headed time.Duration      // instant of the final response head; 0: none came
	rest   time.Duration      // that the endpoint has asked for; 0: none
	next   *endpoint.Endpoint // for the next attempt, after a fault whose class is decided
	fault  *Error             // nil: the response was delivered

	// Set by settle.
	log     record.Attempt
	latency time.Duration // from began to the response head; 0: none came
	failed  bool          // the endpoint is at fault
}

// try makes an attempt at e, and returns it when it is over; nil: e has no place for it any more. The
// result is x.own, valid until the next attempt.
func (x *Exchange) try(e *endpoint.Endpoint) *attempt {
	a := &x.own
	x.hedgeAt, x.hedgeable = 0, x.service.Hedge != nil && x.mayHedge()
	if !a.begin(x, e) {
		return nil
	}
	defer x.ends(a) // also when something panics
	a.run()
	return a
}

// ends adds the exchange's own attempt, and a hedge beside it, to the exchange's counts and to its
// log line, where the one whose response was delivered comes last.
func (x *Exchange) ends(a *attempt) {
	if x.hedgeable {
		x.timed(a)
	}
	r := x.racing
	if r == nil {
		x.took(a)
		return
	}
	x.racing = nil // the hedge may still be asking
	if r.decidedFor(a) {
		r.end(a)
		x.took(a)
		return
	}
	x.took(a)
	r.end(a)
}

// begin resets a for a new attempt, and counts it as in flight at e; false: e, or the service, has no
// place for it, and a is as before. No other function calls Service.Begin. The caller must make sure
// that settle follows.
func (a *attempt) begin(x *Exchange, e *endpoint.Endpoint) bool {
	began := x.choice.Now
	if x.tries > 0 || began == 0 {
		began = x.rt.Now() // much may have happened since the endpoint was picked
	}
	if !x.service.Begin(e, began) {
		return false
	}
	if x.waiter != nil {
		x.unqueue(service.QueueServed)
	}
	a.began = began
	x.tries++
	x.choice.Tried.Add(e)
	a.x, a.endpoint, a.race, a.call, a.whole = x, e, nil, nil, false
	a.response.Reset()
	a.upload.reset()
	a.headed, a.rest, a.next, a.fault = 0, 0, nil, errPanic
	id := e.ID()
	a.log = record.Attempt{Scheme: id.Scheme, Address: id.Address, Start: a.began - x.began}
	if x.table.Sink != nil || x.traced {
		a.log.Zone = e.Spec().Zone
	}
	x.attemptSpan(&a.log)
	return true
}

// run makes the attempt that begin has prepared, and leaves its outcome in a.fault.
func (a *attempt) run() {
	defer a.end() // also when something panics
	fault := a.ask()
	if a.race != nil {
		fault = a.race.firstAsked(a, fault)
	}
	if fault == nil {
		fault = a.finish()
	}
	if fault != nil && a.x.rpc.is {
		fault = a.overdue(fault)
	}
	a.fault = fault
}

// end closes or returns the call's connection and settles the attempt, whatever its outcome.
func (a *attempt) end() {
	defer a.settle()
	a.fault = a.hangUp(a.fault)
}

// took adds a finished attempt to the exchange's counts and to its log line. Attempts that
// have certainly reached no endpoint do not count towards Retry.Attempts.
func (x *Exchange) took(a *attempt) {
	if f := a.fault; f == nil || !f.Class.harmless() {
		x.attempts++
	}
	x.log.Add(&a.log)
	x.attempted(a.endpoint, &a.log, a.latency, a.failed)
}

// ask opens a call, sends the request and waits for the final response head, which is then in
// a.response; nil: it came. A connection that was idle in its pool may be dead without a
// sign of it. If the request can be sent a second time without harm, ask replaces such a
// connection by a fresh one, once. That is not a retry:
//
//	GET on a pooled connection    the endpoint has closed it: Reset, stale
//	GET on a fresh connection     200: one attempt in the log, the endpoint not blamed
func (a *attempt) ask() *Error {
	x := a.x
	for fresh := false; ; fresh = true {
		if err := a.open(fresh); err != nil {
			return connectError(err)
		}
		fault := a.speak()
		if fault == nil {
			a.headed = x.rt.Now()
			a.log.Status = a.response.Status
			if x.service.Reports {
				a.takeReport(a.response.Fields)
			}
			if a.log.Status == 503 || a.log.Status == 429 {
				a.rest = a.asksToRest()
			}
			return nil
		}
		stale := a.call.Stale()
		fault = a.hangUp(fault)
		if !stale || !a.replaces(fault) {
			return fault
		}
		x.replaced(a.endpoint)
	}
}

// replaces reports whether an attempt that failed with fault on a stale connection goes on
// with a fresh one.
func (a *attempt) replaces(fault *Error) bool {
	x := a.x
	if a.race != nil { // the request may be sent again, as mayHedge and replayable found
		return (fault.Class == Reset || fault.Class == Refused) && !a.race.decided()
	}
	switch fault.Class {
	case Reset:
		return x.repeatable()
	case Refused:
		return !x.content.lost() && !x.client.Sent()
	}
	return false
}

// speak sends the request on a.call and waits for the response head. The client is watched from
// here until hangUp.
func (a *attempt) speak() *Error {
	if !a.watch() {
		return errOvertaken // before anything was sent
	}
	a.send()
	if fault := a.await(); fault != nil {
		return a.unprocessed(fault)
	}
	return nil
}

// finish delivers the response whose head ask has read, unless its status calls for another
// attempt: then it discards the response and returns a fault of class Status.
func (a *attempt) finish() *Error {
	if challenged(&a.response) {
		a.bind()
	}
	if fault := a.unwanted(); fault != nil {
		a.whole = a.discard()
		return fault
	}
	if fault := a.deliver(); fault != nil {
		return fault
	}
	a.whole = a.finishUpload()
	return nil
}

// hangUp ends the attempt's call, if it has one: it waits for the task that sends content, and
// returns the connection to its pool or closes it. It returns the fault of the attempt, which is
// the client's if the client failed meanwhile, and else the argument.
func (a *attempt) hangUp(fault *Error) *Error {
	if a.call == nil {
		return fault
	}
	if a.upload.task == nil {
		a.done()
		return fault
	}
	defer a.done() // also when something panics
	return a.endUpload(fault)
}

// done ends the use of the call.
func (a *attempt) done() {
	a.unwatch()
	a.call.Done(a.whole)
	a.call = nil
}

// unprocessed returns fault, with class Connect in place of Reset if the endpoint has certainly
// not seen the request: then it may be repeated whatever its method.
func (a *attempt) unprocessed(fault *Error) *Error {
	if fault.Class != Reset || !a.call.Unprocessed() || a.x.content.lost() {
		return fault
	}
	f := *fault
	f.Class = Connect
	return &f
}

// settle reports the outcome of the attempt to the service. No other function calls
// Service.Settle. What counts against the endpoint:
//
//	delivered, status 502, 503 or 504      failed
//	delivered, any other status            succeeded, 500 included, and all of gRPC but UNAVAILABLE
//	Side ByEndpoint                        failed, but a response cut short after its head is not
//	any other side                         does not count
func (a *attempt) settle() {
	now := a.x.rt.Now()
	if a.fault == nil {
		a.x.over = now
	}
	o := endpoint.Outcome{Now: now, Began: a.began, Rest: a.rest}
	if a.headed != 0 && a.fault != errOvertaken {
		o.Latency = a.headed - a.began
	}
	counts := true
	if f := a.fault; f != nil {
		a.log.Reason = f.Reason
		o.Failed = f.Side == ByEndpoint && !(a.headed != 0 && errors.Is(f.Err, io.ErrUnexpectedEOF))
		o.Unreached = f.Class == Connect
		o.Refused = errors.Is(f.Err, engine.ErrRefused)
		counts = o.Failed
	} else if failing(a.response.Status) {
		a.log.Reason, o.Failed = reason.Status, true
	} else if a.x.rpc.unavailable() {
		a.log.Reason, o.Failed = reason.GRPCUnavailable, true
	}
	a.log.Time = now - a.began
	a.latency, a.failed, a.log.Head = o.Latency, o.Failed, o.Latency
	a.x.service.Settle(a.endpoint, o, counts)
}

// failing reports whether a response with this status counts as a failure of the endpoint. 500
// does not: it is more often the fault of one request.
func failing(status int) bool { return status >= 502 && status <= 504 }
