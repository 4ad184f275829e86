package exchange

// Whether a failed exchange makes another attempt, and at which endpoint. The rule: nothing is
// repeated that could be done twice (RFC 9110 §9.2.2; docs/decisions/0004).
//
//	class            method      needs in Retry    counts as an attempt
//	Connect          any         Connect           no
//	Busy, Refused    any         -                 no
//	Reset, Ejected   idempotent  Reset             yes
//	Timeout          idempotent  Timeout           yes
//	Status           idempotent  Statuses[status]  yes
//	Unavailable      any         Unavailable       yes
//	Final            never repeated
//
// Every row also needs: no response head sent to the client, all content taken so far still kept,
// time left until the deadline, Attempts other than 1, and fewer than TriesMax tries; and every row
// that counts as an attempt needs room in the budget of the service (affords).
//
// A GET by the defaults (Attempts 0, on connect, reset, timeout, 502, 503, 504) at a service of A,
// B, C and D:
//
//	A   connection refused    Connect: attempts 0, any endpoint may follow
//	B   reset before a head   Reset: attempts 1, any endpoint may follow
//	C   503                   Status: attempts 2, so only an endpoint whose latest attempt did
//	                          not fail may follow. D is one: it is asked. If D had failed
//	                          lately, the client would get the 503 of C as it is.
//
// A POST stops at B with 502 endpoint-reset: B may have begun to work on it.
//
// Where there is no other endpoint, the same ones are tried again after a pause: the only one
// may be restarting. With SameAfter 50 ms and an endpoint that refuses connections:
//
//	at 0, 50, 150, 350, 750 and 1550 ms an attempt, then 502 connect-failed

import (
	"errors"
	"io"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/policy"
)

// Bounds of what an exchange does after a failure. Package simulate keeps them, too.
const (
	// AttemptsSure is how many attempts may be made at any endpoint if Retry.Attempts is 0;
	// further ones only at endpoints whose latest attempt did not fail.
	AttemptsSure = 2
	// PausesMax is how often an exchange pauses and tries the same endpoints again. The
	// pauses double: 1.55 s in all by default.
	PausesMax = 5
	// TriesMax bounds all attempts of an exchange, those that reach no endpoint included.
	TriesMax = 64
)

// again reports whether the exchange makes another attempt after a has failed, and sets x.next
// to its endpoint. It may wait: see pause.
func (x *Exchange) again(a *attempt) bool {
	err := a.fault
	if err.Class.decided() { // while a was under way: see secures
		x.next = a.next
		return !x.content.lost() // it was secured, but the client may have failed since
	}
	if !x.mayRepeat(err) {
		x.notRetried(x.whyNot(err), err)
		return false
	}
	if !x.affords(err) {
		return false
	}
	if x.next = x.another(err); x.next == nil && x.pause(err) {
		x.choice.Tried = policy.Tried{}
		x.next = x.another(err)
	}
	if x.next == policy.Wait {
		if why := x.await(err); why != nil {
			x.next = nil
			if why.Status == 0 { // the client has left
				a.fault = why
			}
		}
	}
	if x.next == nil {
		x.spares(err)
		x.notRetried(record.NoOtherLeft, err)
	}
	return x.next != nil
}

// affords takes another attempt after err out of the budget of the service; false: there is none
// left, which it counts. An attempt that has reached no endpoint has cost none anything, so the
// one that follows it is no extra one.
func (x *Exchange) affords(err *Error) bool {
	if err.Class.harmless() || x.service.TakeExtra(x.rt.Now(), extra.Retry, x.service.Retry.Extra) {
		return true
	}
	x.notRetried(record.OverBudget, err)
	return false
}

// spares gives back what affords has taken: there is no endpoint for it.
func (x *Exchange) spares(err *Error) {
	if !err.Class.harmless() {
		x.service.ReturnExtra(extra.Retry)
	}
}

// mayRepeat reports whether another attempt is allowed after err, by the table above. It does
// not ask whether there is an endpoint for it. Attempts that have reached no endpoint are
// bounded by the deadline and by TriesMax only.
func (x *Exchange) mayRepeat(err *Error) bool {
	r := &x.service.Retry
	if x.client.Sent() || x.rt.Now() >= x.deadline || x.tries >= TriesMax {
		return false
	}
	switch {
	case !r.Names(err.Class, err.Status):
		return false
	case err.Class.harmless():
		return !x.content.lost() && r.Attempts != 1
	case x.attempts+x.counted(err) >= r.most():
		return false
	case err.Class == Unavailable:
		return !x.content.lost()
	}
	return x.repeatable()
}

// Names reports whether the configuration has failures of a class repeated; status is that of the
// class Status. Whether one of them may be depends on the request, too: see the table above.
func (r *Retry) Names(c Class, status int) bool {
	switch c {
	case Connect:
		return r.Connect
	case Busy, Refused:
		return true
	case Reset, Ejected:
		return r.Reset
	case Timeout:
		return r.Timeout
	case Status:
		return r.Statuses[status]
	case Unavailable:
		return r.Unavailable
	}
	return false
}

// whyNot says for the counters why mayRepeat has refused another attempt after err.
func (x *Exchange) whyNot(err *Error) record.NoRetry {
	switch {
	case x.rt.Now() >= x.deadline:
		return record.NoTimeLeft
	case x.client.Sent(), x.content.lost(), !err.Class.harmless() && err.Class != Unavailable && !x.repeatable():
		return record.NotRepeatable
	}
	return record.AttemptsUsedUp
}

// counted is what has to be added to x.attempts while the attempt that failed with err is still
// under way, which took has not counted yet, and else 0.
func (x *Exchange) counted(err *Error) int {
	switch {
	case !err.Class.decided():
		return 0
	case x.racing != nil:
		return 2 // and the hedge beside it
	}
	return 1
}

// most is how many attempts of an exchange may reach an endpoint, from 1 to
// policy.AttemptsMax (8).
func (r *Retry) most() int {
	if r.Attempts <= 0 {
		return policy.AttemptsMax
	}
	return min(r.Attempts, policy.AttemptsMax)
}

// another picks an endpoint that was not tried yet, preferably one whose latest attempt did not
// fail; nil: there is none; policy.Wait: there is one, without a place. If Retry.Attempts is 0, attempts after the second go to such
// endpoints only. So a request finds the one endpoint that works, and a service of which nothing
// works does not get eight attempts for each request. The same holds once Tried is full
// (policy.AttemptsMax): it cannot name further endpoints, but their own latest failure does.
func (x *Exchange) another(err *Error) *endpoint.Endpoint {
	full := x.choice.Tried.Len() >= policy.AttemptsMax
	if full && err.Side != ByEndpoint {
		return nil // its attempt was not counted as failed, so that it could be picked again
	}
	x.choice.Rand = x.rt.Rand()
	x.choice.Now = x.rt.Now()
	sure := x.service.Retry.Attempts > 0 || err.Class.harmless()
	return x.service.PickAgain(&x.choice, full || !sure && x.attempts+x.counted(err) >= AttemptsSure)
}

// anotherNow is another while the attempt that has failed is under way, and so has its place still:
// nil in place of policy.Wait.
func (x *Exchange) anotherNow(err *Error) *endpoint.Endpoint {
	if e := x.another(err); e != policy.Wait {
		return e
	}
	return nil
}

// pause waits before the same endpoints are tried again, and reports whether another attempt
// makes sense then. The n-th pause, from 0, takes SameAfter << n. After a timeout of
// connecting there is no pause: a host whose program restarts refuses connections at once.
func (x *Exchange) pause(err *Error) bool {
	r := &x.service.Retry
	if r.SameAfter <= 0 || x.pauses >= PausesMax || err.Class != Connect && err.Class != Reset && err.Class != Refused {
		return false
	}
	if errors.Is(err.Err, engine.ErrTimeout) {
		return false
	}
	until := x.rt.Now() + r.SameAfter<<x.pauses
	if until >= x.deadline {
		return false
	}
	x.pauses++
	return x.rt.Sleep(until) == nil
}

// repeatable reports whether the request may be sent again although an endpoint may have begun
// to work on it.
func (x *Exchange) repeatable() bool {
	return idempotent(x.Request.Method) && !x.content.lost() && !x.client.Sent()
}

// unwanted returns a fault if the response's status is to be retried and there is an endpoint
// for it, which is then a.next; nil: the client gets the response as it is.
func (a *attempt) unwanted() *Error {
	x := a.x
	fault, asked := a.failure()
	if fault == nil {
		return nil
	}
	if !x.mayRepeat(fault) {
		if asked {
			x.notRetried(x.whyNot(fault), fault)
		}
		return nil
	}
	if !x.affords(fault) {
		return nil
	}
	if a.next = x.anotherNow(fault); a.next == nil || !a.secures() {
		x.spares(fault)
		x.notRetried(record.NoOtherLeft, fault)
		return nil
	}
	return fault
}

// failure is what the response's head says of a failure that other endpoints may not have; nil:
// it says nothing of that sort. asked: the configuration has it retried.
func (a *attempt) failure() (fault *Error, asked bool) {
	r, status := &a.x.service.Retry, a.response.Status
	switch {
	case status >= 500 && status <= 599:
		return &Error{Status: status, Reason: reason.Status, Side: ByEndpoint, Class: Status}, r.Statuses[status]
	case status >= 400 && status <= 499 && r.Statuses[status]: // which says nothing of the next request
		return &Error{Status: status, Reason: reason.Status, Side: ByResource, Class: Status}, true
	case a.x.rpc.is && refusedRPC(&a.response):
		return errUnavailable, r.Unavailable
	}
	return nil, false
}

// discard reads and drops what has arrived of a response that is not delivered, and reports
// whether that was all, so that its connection can be used again. It does not wait for the
// endpoint. While the request is still being sent it does nothing.
func (a *attempt) discard() (whole bool) {
	if a.upload.task != nil && !a.upload.ended.Load() {
		return false
	}
	for {
		data, err := a.call.Content(false, 0)
		if err == io.EOF {
			return a.finishUpload()
		}
		if err != nil || data == nil {
			return false
		}
	}
}

// idempotent reports whether a method may be repeated (RFC 9110 §9.2.2). Methods are
// case-sensitive, and unknown ones are not idempotent.
func idempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}
