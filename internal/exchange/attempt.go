package exchange

import (
	"errors"
	"io"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/upstream"
)

// An attempt is one try of an exchange at one endpoint. What belongs to one endpoint only
// is here: the call, the response head, how far the content was sent, the line of the
// access log. What all attempts share is in the Exchange: the request, the content kept for
// another attempt, the endpoints that were tried, the client.
//
// An attempt has two parts. ask opens a call, sends the request and waits for the
// response head; nothing of it reaches the client but interim responses. finish looks at the
// head and delivers the response. So attempts can ask side by side while one alone delivers.
//
// The zero value is ready for begin, and may be used again after run.
type attempt struct {
	x        *Exchange
	endpoint *endpoint.Endpoint
	race     *race         // nil: no other attempt asks beside it
	call     upstream.Call // nil: none is open
	whole    bool          // the exchange is over on both sides and call's connection may carry another one

	response message.Response
	upload   upload
	named    *message.Request // the request with the endpoint's host; see request
	host     []byte           // room for that host

	began  time.Duration
	headed time.Duration // when the final response head came; 0: it did not
	next   *endpoint.Endpoint
	fault  *Error // nil: the response was delivered

	log     record.Attempt // complete when it is settled, as what follows
	latency time.Duration  // until the response head; 0: none came
	failed  bool           // by the endpoint's fault
}

// try makes an attempt at e, and returns it when it is over.
func (x *Exchange) try(e *endpoint.Endpoint) *attempt {
	a := &x.own
	a.begin(x, e)
	defer x.took(a) // also when something panics
	a.run()
	return a
}

// begin makes a new attempt of a, and counts it as in flight at e. It is the only caller of
// Service.Begin; settle must follow.
func (a *attempt) begin(x *Exchange, e *endpoint.Endpoint) {
	if a.began = x.choice.Now; x.tries > 0 || a.began == 0 {
		a.began = x.rt.Now() // much may have happened since the endpoint was picked
	}
	x.tries++
	x.choice.Tried.Add(e)
	a.x, a.endpoint, a.race, a.call, a.whole = x, e, nil, nil, false
	a.response.Reset()
	a.upload.reset()
	a.headed, a.next, a.fault = 0, nil, errPanic
	id := e.ID()
	a.log = record.Attempt{Scheme: id.Scheme, Address: id.Address, Start: a.began - x.began}
	if x.table.Sink != nil {
		a.log.Zone = e.Spec().Zone
	}
	x.service.Begin(e, a.began)
}

// run is the attempt from its connection to its settlement.
func (a *attempt) run() {
	defer a.end() // also when something panics
	fault := a.ask()
	if fault == nil {
		fault = a.finish()
	}
	a.fault = fault
}

// end ends the call and reports how the attempt went, whatever it came to.
func (a *attempt) end() {
	defer a.settle()
	a.fault = a.hangUp(a.fault)
}

// took enters an attempt that is over in the books of the exchange.
func (x *Exchange) took(a *attempt) {
	if f := a.fault; f == nil || !f.Class.harmless() {
		x.attempts++
	}
	x.log.Add(&a.log)
	x.attempted(a.endpoint, &a.log, a.latency, a.failed)
}

// ask opens a call and has the final response head come on it. A connection that was
// idle may have died unnoticed: then, and only if the request can be sent a second time
// without harm, it is replaced by a fresh one, once. That is not a retry.
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
			return nil
		}
		stale := a.call.Stale()
		fault = a.hangUp(fault)
		if !stale || !a.replaces(fault) {
			return fault
		}
	}
}

// replaces reports whether an attempt whose connection was stale and that failed with fault
// goes on with a fresh one.
func (a *attempt) replaces(fault *Error) bool {
	x := a.x
	if a.race != nil { // the request may be sent again, as mayRace found
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

// open opens a call to the endpoint.
func (a *attempt) open(fresh bool) error {
	x := a.x
	call, err := connections(a.endpoint).Call(x.rt, x.deadline, fresh, x.peer.Bonds)
	if err != nil {
		return err
	}
	a.call = call
	if x.forward.login {
		a.bind()
	}
	return nil
}

// speak sends the request and waits for the response head.
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

// finish delivers the response whose head has come, unless another endpoint is to be asked.
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

// hangUp ends the attempt's call, if it has one. It returns the fault of the attempt: if the client failed meanwhile, that one.
func (a *attempt) hangUp(fault *Error) *Error {
	if a.call == nil {
		return fault
	}
	defer func() { // also when something panics
		a.unwatch()
		a.call.Done(a.whole)
		a.call = nil
	}()
	return a.endUpload(fault)
}

// watch has the call interrupted when the client leaves, until unwatch. false: another
// attempt was faster, and the call is not needed.
func (a *attempt) watch() bool {
	if a.race != nil {
		return a.race.enter(a.call)
	}
	a.x.client.Watch(a.call)
	return true
}

func (a *attempt) unwatch() {
	if a.race != nil {
		a.race.leave(a.call)
		return
	}
	a.x.client.Unwatch(a.call)
}

// request is the request as the endpoint is to see it: with the endpoint's own host, where
// the route says so.
func (a *attempt) request() *message.Request {
	x := a.x
	if !x.route.Rules.HostOfEndpoint() {
		return &x.Request
	}
	if a.named == nil {
		a.named = new(message.Request)
	}
	a.host = append(a.host[:0], a.endpoint.Spec().Authority()...)
	*a.named = x.Request
	a.named.Host = a.host
	return a.named
}

// unprocessed is the fault of an attempt, made to be one of connecting if the endpoint has
// certainly not seen the request.
func (a *attempt) unprocessed(fault *Error) *Error {
	if fault.Class != Reset || !a.call.Unprocessed() || a.x.content.lost() {
		return fault
	}
	f := *fault
	f.Class = Connect
	return &f
}

// settle reports how the attempt went. It is the only caller of Service.Settle.
func (a *attempt) settle() {
	now := a.x.rt.Now()
	if a.fault == nil {
		a.x.over = now
	}
	o := endpoint.Outcome{Now: now, Began: a.began}
	if a.headed != 0 {
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
	}
	a.log.Time = now - a.began
	a.latency, a.failed = o.Latency, o.Failed
	a.x.service.Settle(a.endpoint, o, counts)
}

// failing reports whether an endpoint that answers so is taken to be unable to serve. 500
// is not among them: it is more often one request's fault than the endpoint's.
func failing(status int) bool { return status >= 502 && status <= 504 }
