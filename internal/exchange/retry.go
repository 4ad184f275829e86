package exchange

import (
	"errors"
	"io"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/policy"
)

const (
	// attemptsSure is how many attempts are made by default, whatever is known of the
	// endpoints; further ones only at endpoints that look well.
	attemptsSure = 2
	// pausesMax is how often an exchange pauses and tries the same endpoints again. The
	// pauses double: 1.55 s in all by default.
	pausesMax = 5
	// triesMax bounds all attempts of an exchange, those that reach no endpoint included.
	triesMax = 64
)

// again decides whether the exchange makes another attempt after a has failed, and at which
// endpoint. Nothing is repeated that could be done twice: a failure to connect has sent
// nothing, what an endpoint has declined was not begun; all else needs an idempotent method (RFC 9110 §9.2.2) and content that is
// still at hand.
func (x *Exchange) again(a *attempt) bool {
	err := a.fault
	if err.Class == Status || err.Class == Ejected { // it was decided, and the content secured
		x.next = a.next
		return true
	}
	if !x.mayRepeat(err) {
		return false
	}
	if x.next = x.another(err); x.next == nil && x.pause(err) {
		x.choice.Tried = policy.Tried{}
		x.next = x.another(err)
	}
	return x.next != nil
}

// mayRepeat reports whether another attempt is allowed after err. Attempts that have
// reached no endpoint have cost nothing, and are bounded by time and triesMax only.
func (x *Exchange) mayRepeat(err *Error) bool {
	r := &x.service.Retry
	if x.client.Sent() || x.rt.Now() >= x.deadline || x.tries >= triesMax {
		return false
	}
	switch err.Class {
	case Connect:
		return r.Connect && !x.content.lost() && r.Attempts != 1
	case Busy, Refused:
		return !x.content.lost() && r.Attempts != 1
	}
	if x.attempts+x.counted(err) >= r.most() || !x.repeatable() {
		return false
	}
	switch err.Class {
	case Reset, Ejected:
		return r.Reset
	case Timeout:
		return r.Timeout
	case Status:
		return r.Statuses[err.Status]
	}
	return false
}

// counted is 1 while the attempt that failed with err is still under way and not counted.
func (x *Exchange) counted(err *Error) int {
	if err.Class == Status || err.Class == Ejected {
		return 1
	}
	return 0
}

// most is how many attempts may reach an endpoint.
func (r *Retry) most() int {
	if r.Attempts <= 0 {
		return policy.AttemptsMax
	}
	return min(r.Attempts, policy.AttemptsMax)
}

// another picks an endpoint that was not tried yet, one that answered its latest attempt
// if there is one; nil: there is none, or none that deserves it. Where the configuration
// does not say how many attempts there are, those after the second go to such endpoints
// only: so a request finds the one that works, and a service of which nothing works is not
// asked by each request as often as it has endpoints. The same holds once Tried is full:
// it forgets which further ones failed, but they are known to have failed themselves.
func (x *Exchange) another(err *Error) *endpoint.Endpoint {
	full := x.choice.Tried.Len() >= policy.AttemptsMax
	if full && err.Side != ByEndpoint {
		return nil // its attempt was not counted as failed, so that it could be picked again
	}
	x.choice.Rand = x.rt.Rand()
	x.choice.Now = x.rt.Now()
	sure := x.service.Retry.Attempts > 0 || err.Class.harmless()
	return x.service.PickAgain(&x.choice, full || !sure && x.attempts+x.counted(err) >= attemptsSure)
}

// pause waits before the same endpoints are tried again: where there is no other endpoint,
// the only one may be restarting. One that could not be connected to in time is not: its
// host refuses while it starts. It reports whether another attempt makes sense then.
func (x *Exchange) pause(err *Error) bool {
	r := &x.service.Retry
	if r.SameAfter <= 0 || x.pauses >= pausesMax || err.Class != Connect && err.Class != Reset && err.Class != Refused {
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

// repeatable reports whether the request may be sent once more.
func (x *Exchange) repeatable() bool {
	return idempotent(x.Request.Method) && !x.content.lost() && !x.client.Sent()
}

// unwanted returns a fault if the response's status is one that is retried and another
// endpoint is there to be asked; otherwise the client gets the response as it is.
func (a *attempt) unwanted() *Error {
	x, status := a.x, a.response.Status
	if status < 500 || status > 599 {
		return nil
	}
	fault := &Error{Status: status, Reason: reason.Status, Side: ByEndpoint, Class: Status}
	if !x.mayRepeat(fault) {
		return nil
	}
	if a.next = x.another(fault); a.next == nil || !a.secures() {
		return nil
	}
	return fault
}

// discard reads over a response that is not wanted, as far as it has arrived, so that its
// connection can be used again: not while the request is still being sent.
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

func idempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}
