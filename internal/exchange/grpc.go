package exchange

// gRPC is HTTP with a few rules more (docs/decisions/0021). An exchange finds out once whether its
// request is one of gRPC, and each rule asks for that; others pay a comparison.
//
//	own errors       200, trailers-only, grpc-status by the status    answerRPC, reply.go
//	a broken stream  trailers with grpc-status, instead of a cut      cutRPC
//	grpc-timeout     bounds the exchange; an attempt sends the rest   limitRPC, sendTimeout, overdue
//	timeout          from the end of the request to the head          rpcDeadline
//	silence          has no limit but those, on either side           deliver.go, upload.go
//	grpc-status      14 is to the breaker what 503 is                 attempt.go, retry.go
//
// What a client sees of a call with grpc-timeout: 1S, whose endpoint is silent:
//
//	 0 s     the endpoint is asked, with grpc-timeout: 1S
//	 0.3 s   it resets the stream, unprocessed; the next one is asked, with grpc-timeout: 700000u
//	 1 s     RST_STREAM(CANCEL) to the endpoint; grpc-status: 4, poise-reason: deadline-exceeded

import (
	"errors"
	"math"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// rpc is what an exchange knows of its call of gRPC. If is is false the rest means nothing.
type rpc struct {
	is    bool
	timed bool          // the client has set grpc-timeout
	by    time.Duration // instant at which that passes; never: it has set none
	// open: the client has a head whose response has content, and so may have trailers.
	open bool
	code grpc.Code // of the endpoint's response, if known
	// known: the endpoint's response has a status.
	known bool
	rest  []byte // buffer for the value of grpc-timeout
}

// isRPC reports whether q is a request of gRPC. All of them are POST, so that a GET costs nothing.
func isRPC(q *message.Request) bool {
	return string(q.Method) == "POST" && grpc.Asks(q.Fields)
}

// beginRPC makes x an exchange of gRPC, if its request is.
func (x *Exchange) beginRPC() {
	if isRPC(&x.Request) {
		x.rpc = rpc{is: true, by: never, rest: x.rpc.rest}
	}
}

// limitRPC sets the deadline that grpc-timeout asks for, if the route's own is not earlier. A
// value that is none is refused, and so are several: endpoints differ in which of them counts.
func (x *Exchange) limitRPC() *Error {
	r := &x.rpc
	for i := range x.Request.Fields {
		f := &x.Request.Fields[i]
		if !isTimeout(f) {
			continue
		}
		d, ok := grpc.ParseTimeout(f.Value)
		if !ok || r.timed {
			return errRPCTimeout
		}
		r.timed = true
		if d < math.MaxInt64-x.began {
			r.by = x.began + d
		}
	}
	x.deadline = min(x.deadline, r.by)
	return nil
}

// isTimeout reports whether f is grpc-timeout.
func isTimeout(f *message.Field) bool {
	return f.Kind == message.Other && len(f.Name) == len(grpc.Timeout) && !f.Drop && message.EqualFold(f.Name, grpc.Timeout)
}

// restAfter is how much of the client's time may pass before an attempt is told the rest of it
// instead of the value that came.
const restAfter = time.Millisecond

// sendTimeout writes into the request how much of grpc-timeout is left, so that an endpoint stops
// working on a call when the client has given up, however many attempts there were before.
func (a *attempt) sendTimeout() {
	x := a.x
	now := x.rt.Now()
	if a.race != nil || now-x.began < restAfter {
		return // in a race another attempt may be reading the fields: see request
	}
	for i := range x.Request.Fields {
		if f := &x.Request.Fields[i]; isTimeout(f) {
			x.rpc.rest = grpc.AppendTimeout(x.rpc.rest[:0], x.rpc.by-now)
			f.Value = x.rpc.rest
		}
	}
}

// resendTimeout is sendTimeout for an attempt in a race, whose fields are its own.
func resendTimeout(q *message.Request, left time.Duration) {
	for i := range q.Fields {
		if f := &q.Fields[i]; isTimeout(f) {
			f.Value = grpc.AppendTimeout(nil, left)
		}
	}
}

// goesOn reports whether the content may go on in another attempt that follows this one. A client of
// gRPC may wait for an answer before it sends more, so it must not be waited for: its protocol has
// to be able to end the wait.
func (a *attempt) goesOn() bool {
	p, x := &a.upload, a.x
	return !x.rpc.is || p.task == nil || p.ended.Load() || x.client.ContentRead() || pauser(x.client.RequestContent) != nil
}

// requestEnded notes that the client's content has ended: from then on the endpoint has the time
// that the route gives it. It is called by the task that takes the content.
func (x *Exchange) requestEnded() {
	if x.rpc.is {
		x.content.ended.CompareAndSwap(0, int64(x.rt.Now()))
	}
}

// waitsOn reports whether a wait for the client's content that has ended with err goes on: a client
// of gRPC may be silent for as long as it likes, where its protocol lets the wait go on.
func (x *Exchange) waitsOn(err error) bool {
	if !errors.Is(err, engine.ErrTimeout) {
		return false
	}
	c := pauser(x.client.RequestContent)
	return c != nil && c.Resumable()
}

// rpcDeadline is the deadline of a call on a route with a timeout, as it is known now. A client
// may send messages for an hour: the route's timeout counts from the end of the request.
func (x *Exchange) rpcDeadline(now time.Duration) time.Duration {
	from := now
	if at := x.content.ended.Load(); at != 0 {
		from = time.Duration(at)
	}
	return min(x.rpc.by, from+x.route.Timeout)
}

// blamedAfter is how long an endpoint must have been silent, before its head, to be at fault for
// a deadline of the client.
const blamedAfter = time.Second

// overdue returns fault, or errDeadline in place of a timeout that has come about because the
// time is over which the client has set. Clients may set a millisecond, and no endpoint is at fault
// that does not answer in it; but one that is silent for a second, up to the deadline of call after
// call, must not look well for the clients' impatience alone. Behind the head silence is no fault.
//
// The endpoint counts the same time, from a moment later on, and resets the call when it is over:
// where the machine is busy its reset may be seen before our own timer.
func (a *attempt) overdue(fault *Error) *Error {
	x := a.x
	silent := errors.Is(fault.Err, engine.ErrTimeout)
	reset := fault.Err != nil && (fault.Side == ByEndpoint || fault.Side == ByResource)
	if !x.rpc.timed || fault.Status == 408 || !silent && !reset || x.rt.Now() < x.rpc.by {
		return fault
	}
	if silent && a.headed == 0 && fault.Side == ByEndpoint && x.rt.Now()-a.began >= blamedAfter {
		return errDeadlineBlamed
	}
	return errDeadline
}

// sawStatus notes the status of the endpoint's response, if these fields have it: its trailers, or
// its head if that is all.
func (x *Exchange) sawStatus(fields []message.Field) {
	if code, ok := grpc.StatusOf(fields); ok {
		x.rpc.code, x.rpc.known = code, true
		x.log.RPC = code.Plus()
	}
}

// sawHead notes what the head of a response means to the call. The client is about to get it.
func (x *Exchange) sawHead(r *message.Response) {
	if x.rpc.open = r.Body == message.Chunked; empty(r) {
		x.sawStatus(r.Fields)
	}
}

// empty reports whether r has no content. In HTTP/1.1 a length of 0 says so.
func empty(r *message.Response) bool {
	return r.Body == message.NoBody || r.Body == message.Length && r.Length == 0
}

// unavailable reports whether the endpoint has said that it cannot serve: UNAVAILABLE, which is to
// gRPC what 503 is to HTTP.
func (r *rpc) unavailable() bool { return r.is && r.known && r.code == grpc.Unavailable }

// refusedRPC reports whether r, a response that the client has not got, has that status and
// nothing else: trailers-only, so that no message was sent.
func refusedRPC(r *message.Response) bool {
	if !empty(r) || r.Status != 200 {
		return false
	}
	code, ok := grpc.StatusOf(r.Fields)
	return ok && code == grpc.Unavailable
}

// answerRPC makes of r, the proxy's own refusal, what a client of gRPC understands: trailers-only,
// with the reason as the message. The content is left out; other fields stay.
func (x *Exchange) answerRPC(r *message.Reply) *message.Reply {
	code := grpc.OfHTTP(r.Status)
	if r.Reason == reason.BadGRPCTimeout {
		code = grpc.Internal // as servers of gRPC do
	}
	x.log.RPC = code.Plus()
	out := *r // r may be a filter's, which uses it again
	out.Status, out.Body = 200, nil
	out.Fields = []message.Field{message.NewField("Content-Type", grpc.ContentType)}
	out.Fields = append(out.Fields, x.statusFields(code, r.Status, r.Reason)...)
	for _, f := range r.Fields {
		if f.Kind != message.ContentType {
			out.Fields = append(out.Fields, f)
		}
	}
	return &out
}

// statusFields are grpc-status and grpc-message of a failure of the proxy's own.
func (x *Exchange) statusFields(code grpc.Code, status int, why string) []message.Field {
	text := why + ": " + TextOf(status, why)
	if x.traced && len(x.trace.id) > 0 {
		text += " (request id: " + string(x.trace.id) + ")"
	}
	return []message.Field{
		message.NewField(grpc.Status, grpc.AppendCode(nil, code)),
		message.NewField(grpc.Text, grpc.AppendMessage(nil, text)),
	}
}

// cutRPC ends a response that has failed behind its head, with err, by trailers that say so; false:
// it cannot. A client that is only cut off reports INTERNAL whatever has happened, which no
// client repeats. What was sent of a message is dropped by it.
func (x *Exchange) cutRPC(err *Error) bool {
	if !x.rpc.open || err.Status == 0 || err.Side == ByClient && err != errDeadline {
		return false
	}
	code := grpc.OfHTTP(err.Status)
	x.log.RPC = code.Plus()
	trailers := append(x.statusFields(code, err.Status, err.Reason), message.NewField(ReasonField, err.Reason))
	return x.client.End(trailers) == nil
}

// endRPC completes what the record says of a call that ended without a status: what its client
// reports.
func (x *Exchange) endRPC() {
	l := &x.log
	switch {
	case l.RPC != 0:
	case l.Reason == reason.ClientGone:
		l.RPC = grpc.Cancelled.Plus()
	case l.Reason == reason.EndpointRefused: // RST_STREAM(REFUSED_STREAM): see passesOn
		l.RPC = grpc.Unavailable.Plus()
	case l.Reason != "": // cut off: RST_STREAM(INTERNAL_ERROR)
		l.RPC = grpc.Internal.Plus()
	default:
		l.RPC = grpc.OfForeign(l.Status).Plus()
	}
}

// filterRPC looks once more whether the request is one of gRPC, behind filters that may have
// translated it.
func (x *Exchange) filterRPC() *message.Reply {
	if x.rpc.is {
		return nil
	}
	if x.beginRPC(); !x.rpc.is {
		return nil
	}
	if err := x.limitRPC(); err != nil {
		return x.replyTo(err)
	}
	return nil
}

// Errors of calls of gRPC.
var (
	// errRPCTimeout: grpc-timeout is none, or there are several.
	errRPCTimeout = &Error{Status: 400, Reason: reason.BadGRPCTimeout, Side: ByClient}
	// errDeadline: the client's own time is over; errDeadlineBlamed: and the endpoint is at fault.
	errDeadline       = &Error{Status: 504, Reason: reason.DeadlineExceeded, Side: ByClient}
	errDeadlineBlamed = &Error{Status: 504, Reason: reason.DeadlineExceeded, Side: ByEndpoint}
	// errUnavailable: the endpoint has answered UNAVAILABLE.
	errUnavailable = &Error{Status: 503, Reason: reason.GRPCUnavailable, Side: ByEndpoint, Class: Unavailable}
)
