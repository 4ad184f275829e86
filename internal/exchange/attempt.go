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

// attempt tries e: nil if a response was delivered. It is the only caller of the pair
// Begin and Settle.
func (x *Exchange) attempt(e *endpoint.Endpoint) (err *Error) {
	s := x.service
	x.tries++
	x.choice.Tried.Add(e)
	x.response.Reset()
	try := try{began: x.rt.Now(), log: x.log.Attempt(), fault: errPanic}
	try.log.Scheme, try.log.Address, try.log.Start = e.ID().Scheme, e.ID().Address, try.began-x.began
	if x.table.Sink != nil {
		try.log.Zone = e.Spec().Zone
	}
	s.Begin(e, try.began)
	defer func() { x.settle(e, &try) }() // also when something panics
	try.fault = x.converse(e, &try)
	if err := try.fault; err == nil || err.Class != Connect && err.Class != Busy {
		x.attempts++
	}
	return try.fault
}

// try is what one attempt leaves behind.
type try struct {
	began  time.Duration
	headed time.Duration // when the response head came; 0: it did not
	log    *record.Attempt
	fault  *Error
}

// converse gets a connection and has the request answered on it. A connection that was
// idle may have died unnoticed: then, and only if the request can be sent a second time
// without harm, it is replaced by a fresh one, once. That is not a retry.
func (x *Exchange) converse(e *endpoint.Endpoint, t *try) *Error {
	for fresh := false; ; fresh = true {
		u, err := x.connect(e, x.deadline, fresh)
		if err != nil {
			return connectError(err)
		}
		fault := x.speak(u, e, t)
		if fault == nil || fault.Class != Reset || !u.Reused() || u.Received() || !x.repeatable() {
			return fault
		}
	}
}

// speak sends the request on u, waits for the response and delivers it.
func (x *Exchange) speak(u *upstream.Conn, e *endpoint.Endpoint, t *try) (fault *Error) {
	x.client.Watch(u.Stream)
	whole := false // the exchange is over on both sides and u may carry another one
	defer func() {
		x.client.Unwatch(u.Stream)
		u.Done(whole)
	}()
	defer func() { fault = x.endUpload(u, fault) }()

	x.forward.host(&x.Request, x.route.Rules, e)
	x.send(u)
	if fault := x.await(u, e, t); fault != nil {
		return x.unsent(u, fault)
	}
	if challenged(&x.response) {
		x.bind(u)
	}
	t.headed = x.rt.Now()
	t.log.Status = x.response.Status
	if fault := x.unwanted(); fault != nil {
		whole = x.discard(u)
		return fault
	}
	if fault := x.deliver(u); fault != nil {
		return fault
	}
	whole = x.finishUpload(u)
	return nil
}

// continueAfter is how long an endpoint may take to answer Expect: 100-continue before
// the content is sent anyway: many never answer it.
const continueAfter = time.Second

// lookEvery is how often an attempt that waits for a response head looks up from that: at
// the time of the request's content, and at what has become of the endpoint.
const lookEvery = time.Second

// await reads response heads until the final one, passing interim ones on. Most come before
// the first look, and cost no reading of the clock.
func (x *Exchange) await(u *upstream.Conn, e *endpoint.Endpoint, t *try) *Error {
	look := t.began + lookEvery
	for interims := 0; ; {
		waits := x.upload.state == held
		if waits {
			look = x.rt.Now() + continueAfter
		}
		err := u.ReadHead(&x.response, x.Request.Method, min(x.deadline, look))
		switch {
		case errors.Is(err, engine.ErrTimeout) && waits && x.rt.Now() < x.deadline:
			err = x.goOn(u)
		case errors.Is(err, engine.ErrTimeout):
			var fault *Error
			if look, fault = x.lookUp(e, t, err); fault != nil {
				return fault
			}
			err = nil
		case err == nil && x.response.Status >= 200, err == nil && x.response.Status == 101:
			return nil
		case err == nil:
			if interims++; x.table.Interim > 0 && interims > x.table.Interim {
				return errInterim
			}
			err = x.interim(u)
		}
		if err != nil {
			return x.blame(err)
		}
	}
}

// lookUp decides whether an attempt goes on waiting for a response head, and until when it
// looks up again. The limit of the head counts from the end of the request's content: while
// that moves, each of its waits has a limit of its own.
func (x *Exchange) lookUp(e *endpoint.Endpoint, t *try, timeout error) (look time.Duration, fault *Error) {
	now := x.rt.Now()
	look = now + lookEvery
	sent, over := t.began, true
	if x.upload.task != nil {
		sent, over = x.upload.sentAt()
	}
	switch {
	case now >= x.deadline:
		return 0, x.blame(timeout)
	case x.upload.fault.Load() != nil:
		return 0, x.upload.fault.Load()
	case !x.route.Whole && over:
		limit := max(sent, t.began) + x.route.Timeout
		if now >= limit {
			return 0, x.blame(timeout)
		}
		look = min(look, limit)
	}
	if x.service.Ejected(e) && x.mayRepeat(errEjected) {
		if next := x.another(errEjected); next != nil {
			x.next = next
			return 0, errEjected
		}
	}
	return look, nil
}

// unsent is the fault of an attempt, made to be one of connecting if not a byte of the
// request left the proxy: then nothing could have been done by it.
func (x *Exchange) unsent(u *upstream.Conn, fault *Error) *Error {
	if fault.Class != Reset || u.Wrote() || x.upload.lost.Load() {
		return fault
	}
	f := *fault
	f.Class = Connect
	return &f
}

// blame says whose fault it is that reading from the endpoint failed, by what was waited
// for. It prefers what the upload met: when a client breaks off its content, that is why
// the endpoint's stream failed. And an endpoint that gives up on a request whose content
// the client does not send has done nothing wrong.
func (x *Exchange) blame(err error) *Error {
	if f := x.upload.fault.Load(); f != nil {
		return f
	}
	fault := endpointError(err)
	if fault.Side != ByEndpoint {
		return fault
	}
	since, starved := x.upload.starved(x.rt.Now())
	switch {
	case !starved:
		return fault
	case since >= starvedAfter:
		return errStarved
	}
	f := *fault // either of them may be at fault: none is blamed
	f.Side = ByClient
	return &f
}

// starvedAfter is how long an endpoint must have waited for content for its end of the
// connection to be taken for giving up.
const starvedAfter = 100 * time.Millisecond

// interim passes a 1xx response on; 100 is for us as well.
func (x *Exchange) interim(u *upstream.Conn) error {
	if x.response.Status == 100 {
		if x.upload.state == held {
			return x.goOn(u)
		}
		return nil
	}
	message.DropHopByHop(x.response.Fields)
	if err := x.client.Interim(&x.response); err != nil {
		return engine.ErrClientGone
	}
	return nil
}

// goOn lets a client that waits for it send its content.
func (x *Exchange) goOn(u *upstream.Conn) error {
	if err := x.client.Continue(); err != nil {
		return engine.ErrClientGone
	}
	x.startUpload(u)
	return nil
}

// settle reports how the attempt went.
func (x *Exchange) settle(e *endpoint.Endpoint, t *try) {
	now := x.rt.Now()
	o := endpoint.Outcome{Now: now, Began: t.began}
	if t.headed != 0 {
		o.Latency = t.headed - t.began
	}
	counts := true
	if f := t.fault; f != nil {
		t.log.Reason = f.Reason
		o.Failed = f.Side == ByEndpoint && !(t.headed != 0 && errors.Is(f.Err, io.ErrUnexpectedEOF))
		o.Unreached = f.Class == Connect
		o.Refused = errors.Is(f.Err, engine.ErrRefused)
		counts = o.Failed
	} else if failing(x.response.Status) {
		t.log.Reason, o.Failed = reason.Status, true
	}
	t.log.Time = now - t.began
	x.attempted(e, t.log, o.Latency, o.Failed)
	x.service.Settle(e, o, counts)
}

// failing reports whether an endpoint that answers so is taken to be unable to serve. 500
// is not among them: it is more often one request's fault than the endpoint's.
func failing(status int) bool { return status >= 502 && status <= 504 }
