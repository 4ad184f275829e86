package exchange

import (
	"errors"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// An attempt waits for the response head in await. It looks up from that once a second, and
// when the time for the request's content has come; whose fault a failure is, blame says.

// continueAfter is how long an endpoint may take to answer Expect: 100-continue before
// the content is sent anyway: many never answer it.
const continueAfter = time.Second

// lookEvery is how often an attempt that waits for a response head looks up from that: at
// the time of the request's content, and at what has become of the endpoint.
const lookEvery = time.Second

// await reads response heads until the final one, passing interim ones on. Most come before
// the first look, and cost no reading of the clock.
func (a *attempt) await() *Error {
	x := a.x
	look := a.began + lookEvery
	for interims := 0; ; {
		waits := a.upload.state == held
		if waits {
			look = x.rt.Now() + continueAfter
		}
		err := a.call.ReadHead(&a.response, x.Request.Method, min(x.deadline, look))
		switch {
		case err == nil && (a.response.Status >= 200 || a.response.Status == 101):
			return nil
		case errors.Is(err, engine.ErrTimeout) && waits && x.rt.Now() < x.deadline:
			err = a.goOn()
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

// lookUp decides whether an attempt goes on waiting for a response head, and until when it
// looks up again. The limit of the head counts from the end of the request's content: while
// that moves, each of its waits has a limit of its own.
func (a *attempt) lookUp(timeout error) (look time.Duration, fault *Error) {
	x := a.x
	now := x.rt.Now()
	look = now + lookEvery
	sent, over := a.began, true
	if a.upload.task != nil {
		sent, over = a.upload.sentAt()
	}
	switch {
	case now >= x.deadline:
		return 0, a.blame(timeout)
	case a.upload.fault.Load() != nil:
		return 0, a.upload.fault.Load()
	case !x.route.Whole && over:
		limit := max(sent, a.began) + x.route.Timeout
		if now >= limit {
			return 0, a.blame(timeout)
		}
		look = min(look, limit)
	}
	if a.race == nil && x.service.Ejected(a.endpoint) && x.mayRepeat(errEjected) {
		if a.next = x.another(errEjected); a.next != nil && a.secures() {
			return 0, errEjected
		}
	}
	return look, nil
}

// blame says whose fault it is that reading from the endpoint failed, by what was waited
// for. It prefers what the upload met: when a client breaks off its content, that is why
// the endpoint's stream failed. And an endpoint that gives up on a request whose content
// the client does not send has done nothing wrong.
func (a *attempt) blame(err error) *Error {
	if f := a.upload.fault.Load(); f != nil {
		return f
	}
	fault := endpointError(err)
	if fault.Side != ByEndpoint {
		return fault
	}
	since, starved := a.upload.starved(a.x.rt.Now())
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

// interim passes a 1xx response on; 100 is for the proxy as well.
func (a *attempt) interim() error {
	if a.response.Status == 100 {
		if a.upload.state == held {
			return a.goOn()
		}
		return nil
	}
	if a.race != nil {
		return nil // it is not known whose response the client gets
	}
	message.DropHopByHop(a.response.Fields)
	if err := a.x.client.Interim(&a.response); err != nil {
		return engine.ErrClientGone
	}
	return nil
}

// goOn lets a client that waits for it send its content.
func (a *attempt) goOn() error {
	if err := a.x.client.Continue(); err != nil {
		return engine.ErrClientGone
	}
	a.startUpload()
	return nil
}
