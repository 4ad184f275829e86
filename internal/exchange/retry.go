package exchange

import (
	"io"

	"github.com/poise-lb/poise/internal/upstream"
)

// again decides whether the exchange makes another attempt after err, and at which
// endpoint. Nothing is repeated that could be done twice: a failure to connect has sent
// nothing; all else needs an idempotent method (RFC 9110 §9.2.2) and content that is
// still at hand.
func (x *Exchange) again(err *Error) bool {
	if err.Class == Status {
		return true // unwanted has chosen x.next
	}
	if !x.mayRepeat(err) {
		return false
	}
	x.next = x.pick()
	return x.next != nil
}

func (x *Exchange) mayRepeat(err *Error) bool {
	r := &x.service.Retry
	if x.attempts >= r.Attempts || x.client.Sent() || x.rt.Now() >= x.deadline {
		return false
	}
	switch err.Class {
	case Connect:
		return r.Connect && !x.upload.begun
	case Busy:
		return !x.upload.begun
	case Reset:
		return r.Reset && x.repeatable()
	case Timeout:
		return r.Timeout && x.repeatable()
	case Status:
		return r.Statuses[err.Status] && x.repeatable()
	}
	return false
}

// repeatable reports whether the request may be sent once more.
func (x *Exchange) repeatable() bool {
	return idempotent(x.Request.Method) && !x.upload.lost && !x.client.Sent()
}

// unwanted returns a fault if the response's status is one that is retried and another
// endpoint is there to be asked; otherwise the client gets the response as it is.
func (x *Exchange) unwanted() *Error {
	status := x.response.Status
	if status < 500 || status > 599 {
		return nil
	}
	fault := &Error{Status: status, Reason: "status", Side: ByEndpoint, Class: Status}
	if !x.mayRepeat(fault) {
		return nil
	}
	next := x.pick()
	if next == nil {
		return nil
	}
	x.next = next
	return fault
}

// discard reads over a response that nobody wants, as far as it has arrived, so that its
// connection can be used again.
func (x *Exchange) discard(u *upstream.Conn) (whole bool) {
	for {
		data, err := u.Content(false, x.deadline)
		if err == io.EOF {
			return x.finishUpload(u)
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
