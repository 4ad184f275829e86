package exchange

import (
	"errors"
	"io"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/upstream"
)

// A Side is whose fault something is. Only ByEndpoint counts against an endpoint: see
// blame for who was waited for.
type Side uint8

// The sides of an exchange.
const (
	ByClient Side = iota
	ByEndpoint
	BySelf
	// ByResource: the answer of the endpoint cannot be used, which says nothing about what
	// it would answer to another request.
	ByResource
)

// A Class is what kind of failure an attempt met, as Retry.on names it.
type Class uint8

// Classes of failures.
const (
	Final   Class = iota // never repeated
	Connect              // nothing was sent
	Reset                // the connection broke before a response head
	Timeout              // no response head in time
	Status               // a response head with a status that is retried
	Busy                 // the endpoint has no free connection; nothing was sent
	Ejected              // the endpoint was ejected while its response head was waited for
	Refused              // the endpoint has declined the request before it began to work on it
)

// harmless reports whether the endpoint has certainly not begun to work on the request, so
// that another attempt cannot do anything twice.
func (c Class) harmless() bool { return c == Connect || c == Busy || c == Refused }

// An Error is how an exchange failed: what to answer, whose fault it is and whether
// another attempt could help.
type Error struct {
	Status int    // for the client; 0: nobody is left to answer
	Reason string // machine-readable, kebab-case
	Side   Side
	Class  Class
	Err    error // may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errors without a cause of their own.
var (
	errNoRoute = &Error{Status: 404, Reason: reason.NoRoute, Side: ByClient}
	errMethod  = &Error{Status: 405, Reason: reason.MethodNotAllowed, Side: ByClient}
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

// connectError says why no connection to the endpoint could be had.
func connectError(err error) *Error {
	switch {
	case errors.Is(err, upstream.ErrBusy):
		return &Error{Status: 503, Reason: reason.EndpointBusy, Side: BySelf, Class: Busy, Err: err}
	case engine.Exhausted(err):
		return &Error{Status: 503, Reason: reason.Exhausted, Side: BySelf, Class: Busy, Err: err}
	case errors.Is(err, engine.ErrTimeout):
		return &Error{Status: 504, Reason: reason.ConnectTimeout, Side: ByEndpoint, Class: Connect, Err: err}
	case errors.Is(err, engine.ErrStopping):
		return &Error{Status: 503, Reason: reason.Stopping, Side: BySelf, Err: err}
	}
	return &Error{Status: 502, Reason: reason.ConnectFailed, Side: ByEndpoint, Class: Connect, Err: err}
}

// endpointError says what went wrong on the endpoint's connection. It is also where a
// client that left is noticed: the watch interrupts the endpoint's stream.
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

// sideOf is whose fault a response is that cannot be read: one resource's, unless it is no
// HTTP at all.
func sideOf(bad *http1.Error) Side {
	switch bad.Reason {
	case reason.BadStatusLine, reason.BadVersion, reason.VersionNotSupported:
		return ByEndpoint
	}
	return ByResource
}

// clientError says what went wrong on the client's side.
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
