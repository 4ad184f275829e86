package exchange

// How an exchange or an attempt fails. An Error has three independent answers: what the client
// gets (Status, Reason), whose fault it is (Side: does it count against the endpoint?), and whether
// another attempt is allowed (Class: see retry.go).
//
//	what happened                    status  reason            side        class
//	nothing listens at the endpoint  502     connect-failed    ByEndpoint  Connect
//	connections.max is reached       503     endpoint-busy     BySelf      Busy
//	the endpoint closes without head 502     endpoint-closed   ByEndpoint  Reset
//	no head within the limit         504     endpoint-timeout  ByEndpoint  Timeout
//	a head that cannot be parsed     502     by its mistake    ByResource  Final
//	the client leaves                -       client-gone       ByClient    Final
//
// docs/life-of-a-request.md lists every reason.

import (
	"errors"
	"io"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/upstream"
)

// A Side is the party at fault. Only ByEndpoint counts against an endpoint. Where a failed read
// could be the fault of either party, blame decides.
type Side uint8

// The sides of an exchange.
const (
	ByClient   Side = iota
	ByEndpoint      // the endpoint cannot serve, or not in time
	BySelf          // the proxy: a limit, a shortage, the end of the process, a panic
	// ByResource: this response cannot be used, but the endpoint may well answer other
	// requests, so it is not blamed.
	ByResource
)

// A Class is the kind of failure of an attempt, which decides whether it may be repeated. The
// words of the configuration key retry.on name some of them.
type Class uint8

// Classes of failures.
const (
	Final       Class = iota // never repeated
	Connect                  // nothing was sent
	Reset                    // the connection broke before a response head
	Timeout                  // no response head in time
	Status                   // a response head with a status of retry.on
	Busy                     // no connection that will do, or no descriptor; nothing was sent
	Ejected                  // the endpoint was ejected during the wait for its response head
	Refused                  // the endpoint declined the request before it began to work on it
	Unavailable              // a response of gRPC that is UNAVAILABLE and nothing else
)

// decided reports whether it is decided while an attempt is under way that another one follows its
// failure of class c, and where: see attempt.next.
func (c Class) decided() bool { return c == Status || c == Ejected || c == Unavailable }

// harmless reports whether the endpoint has certainly not begun to work on the request, so
// that another attempt cannot do anything twice.
func (c Class) harmless() bool { return c == Connect || c == Busy || c == Refused }

// An Error says how an exchange or an attempt failed. Errors are shared between exchanges and
// must not be modified: a function that wants another Side or Class makes a copy.
type Error struct {
	Status int    // of the response to the client; 0: the client is gone
	Reason string // a constant of internal/reason
	Side   Side
	Class  Class
	Err    error // may be nil
}

// Error implements error: the reason, and the cause if there is one.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause; it may be nil.
func (e *Error) Unwrap() error { return e.Err }

// Errors without a cause of their own.
var (
	errNoRoute = &Error{Status: 404, Reason: reason.NoRoute, Side: ByClient}
	errMethod  = &Error{Status: 405, Reason: reason.MethodNotAllowed, Side: ByClient}
	// errUnasked: 101 although the client asked for no protocol, or for another one.
	errUnasked = &Error{Status: 502, Reason: reason.UnexpectedUpgrade, Side: ByResource}
	errInterim = &Error{Status: 502, Reason: reason.TooManyInterimResponses, Side: ByResource}
	errEjected = &Error{Status: 504, Reason: reason.EndpointEjected, Side: ByEndpoint, Class: Ejected}
	// errStarved: the endpoint gave up waiting for content that the client did not send.
	errStarved = &Error{Status: 408, Reason: reason.ClientTimeout, Side: ByClient, Class: Reset}
	errIdle    = &Error{Status: 101, Reason: reason.TunnelIdle, Side: ByClient} // in the log only
	// errOverloaded: as many requests are under way as limits.in_flight allows.
	errOverloaded = &Error{Status: 503, Reason: reason.Overloaded, Side: BySelf}
	errPanic      = &Error{Status: 500, Reason: reason.InternalError, Side: BySelf}
)

// connectError makes an Error of err, which Pool.Call has returned. Only errors of the
// endpoint's host have class Connect; a shortage of this machine is Busy and blames none.
func connectError(err error) *Error {
	switch {
	case errors.Is(err, upstream.ErrBusy):
		return &Error{Status: 503, Reason: reason.EndpointBusy, Side: BySelf, Class: Busy, Err: err}
	case errors.Is(err, upstream.ErrNoTunnel): // another endpoint may offer it
		return &Error{Status: 502, Reason: reason.NoTunnel, Side: ByResource, Class: Busy, Err: err}
	case engine.Exhausted(err):
		return &Error{Status: 503, Reason: reason.Exhausted, Side: BySelf, Class: Busy, Err: err}
	case errors.Is(err, engine.ErrTimeout):
		return &Error{Status: 504, Reason: reason.ConnectTimeout, Side: ByEndpoint, Class: Connect, Err: err}
	case errors.Is(err, engine.ErrStopping):
		return &Error{Status: 503, Reason: reason.Stopping, Side: BySelf, Err: err}
	}
	return &Error{Status: 502, Reason: reason.ConnectFailed, Side: ByEndpoint, Class: Connect, Err: err}
}

// endpointError makes an Error of err, which came from a call under way. A client that leaves
// is noticed here too: its watch interrupts the call with engine.ErrClientGone.
func endpointError(err error) *Error {
	var bad *http1.Error
	switch {
	case errors.Is(err, engine.ErrClientGone):
		return clientError(err)
	case errors.Is(err, engine.ErrStopping):
		return &Error{Status: 503, Reason: reason.Stopping, Side: BySelf, Err: err}
	case errors.As(err, &bad):
		return &Error{Status: 502, Reason: bad.Reason, Side: sideOf(bad), Err: err}
	case errors.Is(err, upstream.ErrUnprocessed): // which says nothing about the next request
		return &Error{Status: 503, Reason: reason.EndpointRefused, Side: ByResource, Class: Refused, Err: err}
	case engine.Exhausted(err):
		return &Error{Status: 503, Reason: reason.Exhausted, Side: BySelf, Class: Reset, Err: err}
	case errors.Is(err, engine.ErrTimeout):
		return &Error{Status: 504, Reason: reason.EndpointTimeout, Side: ByEndpoint, Class: Timeout, Err: err}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Status: 502, Reason: reason.EndpointClosed, Side: ByEndpoint, Class: Reset, Err: err}
	}
	return &Error{Status: 502, Reason: reason.EndpointReset, Side: ByEndpoint, Class: Reset, Err: err}
}

// sideOf is the party at fault for a response that cannot be parsed. What is no HTTP at all is
// the endpoint's fault; a mistake within HTTP is the fault of one resource.
func sideOf(bad *http1.Error) Side {
	switch bad.Reason {
	case reason.BadStatusLine, reason.BadVersion, reason.VersionNotSupported:
		return ByEndpoint
	}
	return ByResource
}

// clientError makes an Error of err, which came from reading from or writing to the client.
// Status 0 means that the client cannot be answered any more.
func clientError(err error) *Error {
	var bad *http1.Error
	switch {
	case errors.As(err, &bad):
		return &Error{Status: bad.Status, Reason: bad.Reason, Side: ByClient, Err: err}
	case errors.Is(err, engine.ErrTimeout):
		return &Error{Status: 408, Reason: reason.ClientTimeout, Side: ByClient, Err: err}
	}
	return &Error{Reason: reason.ClientGone, Side: ByClient, Err: err}
}
