package exchange

// Responses that the proxy makes itself: to requests that failed, or that a filter answers. A
// failure looks like this; the client's Accept decides between text and JSON:
//
//	HTTP/1.1 503 Service Unavailable
//	Content-Type: text/plain; charset=utf-8
//	Retry-After: 3
//	Poise-Reason: no-endpoint
//	Content-Length: 57
//
//	503 no-endpoint: no endpoint of the service is available
//
// A client of gRPC gets the same as grpc-status and grpc-message (grpc.go).
// Where HTTP/2 of the endpoint has declined the request, and that of the client can say so, it is
// RST_STREAM(REFUSED_STREAM) instead: see passesOn.
//
// If the client has a response head already, the response is cut, so that the client can tell that
// it is incomplete.

import (
	"fmt"
	"strconv"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/route"
)

// ReasonField is the response field with the reason, a constant of internal/reason, of a
// response that the proxy has made itself.
const ReasonField = "Poise-Reason"

// fail ends the exchange with err: by a reply, or by cutting the response if the client has a
// response head already, or is gone.
func (x *Exchange) fail(err *Error) {
	x.log.Reason = err.Reason
	if err.Status == 0 || x.client.Sent() {
		if !x.rpc.is || !x.cutRPC(err) {
			x.client.Cut()
		}
		return
	}
	if err.Class == Refused && x.passesOn() {
		return
	}
	if err == errFull && !x.traced && !x.rpc.is {
		x.answer(x.fullReply())
		return
	}
	x.answer(x.replyTo(err))
}

// passesOn tells the client, if its protocol can, that no endpoint has begun with the request. A
// client of gRPC, or one that still has the content, sends it again, which a 503 does not allow.
func (x *Exchange) passesOn() bool {
	r, ok := x.client.Connection.(downstream.Refuser)
	return ok && r.Refuse()
}

// answer sends r as the response of the exchange. No attempt may be under way.
func (x *Exchange) answer(r *message.Reply) {
	if x.rpc.is && r.Reason != "" {
		r = x.answerRPC(r)
	}
	x.log.Status, x.log.Reason = r.Status, r.Reason
	if r.Reason != "" && r.Body == nil && !x.rpc.is {
		full := *r // r may be a filter's, which uses it again
		body, kind := x.explain(r.Status, r.Reason)
		full.Body, full.Fields = body, append([]message.Field{message.NewField("Content-Type", kind)}, r.Fields...)
		r = &full
	}
	if x.respond(r) != nil {
		x.client.Cut()
	}
}

// respond writes r, through the filters, to the client. It discards the request's content that has
// arrived; the client's side decides what becomes of the rest.
func (x *Exchange) respond(r *message.Reply) error {
	x.client.Skip()
	if r.Close {
		x.client.CloseAfter()
	}
	h := &x.own.response
	h.Reset()
	h.Status, h.Reason = r.Status, []byte(statusText(r.Status))
	h.Fields = append(h.Fields, r.Fields...)
	if r.Reason != "" {
		h.Fields = append(h.Fields, message.NewField(ReasonField, r.Reason))
	}
	if r.Status != 204 && r.Status != 304 && (!x.rpc.is || r.Body != nil) {
		h.Body, h.Length = message.Length, int64(len(r.Body))
	}
	x.answerID(h)
	x.filterReply(h)
	x.logHead(h)
	if err := x.client.Head(h); err != nil {
		return err
	}
	if h.Body == message.Length && len(r.Body) > 0 && string(x.Request.Method) != "HEAD" {
		x.log.BytesOut += int64(len(r.Body))
		if err := x.client.Write(r.Body); err != nil {
			return err
		}
	}
	return x.client.End(nil)
}

// replyTo makes the reply to a request that failed with err, whose Status is not 0. Its words are
// left to answer.
func (x *Exchange) replyTo(err *Error) *message.Reply {
	r := &message.Reply{Status: err.Status, Reason: err.Reason}
	switch err.Status {
	case 503:
		r.Fields = append(r.Fields, message.NewField("Retry-After", x.retryAfter()))
	case 405:
		allow := x.table.Tree.AllowedAt(nil, x.peer.Listener, x.Request.Host, x.forward.norm)
		r.Fields = append(r.Fields, message.NewField("Allow", string(allow)))
	}
	return r
}

// explain makes the body of a reply and its content type. The body contains neither addresses nor
// causes, which are for the operator only: they are in the access log, where the id of the request
// finds them.
func (x *Exchange) explain(status int, why string) (body []byte, kind string) {
	text := TextOf(status, why)
	var id []byte // nothing in it needs to be escaped: see safeID
	if x.traced {
		id = x.trace.id
	}
	if accept, ok := message.GetKind(x.Request.Fields, message.Accept); ok && prefersJSON(accept) {
		body = fmt.Appendf(nil, "{\"status\":%d,\"reason\":%q,\"message\":%q", status, why, text)
		if len(id) > 0 {
			body = fmt.Appendf(body, ",\"request_id\":%q", id)
		}
		return append(body, "}\n"...), "application/json"
	}
	body = fmt.Appendf(nil, "%d %s: %s\n", status, why, text)
	if len(id) > 0 {
		body = fmt.Appendf(body, "request id: %s\n", id)
	}
	return body, "text/plain; charset=utf-8"
}

// prefersJSON reports whether an Accept field names JSON before text or */*. It ignores
// quality values.
func prefersJSON(accept []byte) bool {
	for t, rest := message.NextToken(accept); t != nil; t, rest = message.NextToken(rest) {
		switch {
		case hasPrefix(t, "application/json"), hasPrefix(t, "application/problem+json"):
			return true
		case hasPrefix(t, "text/"), hasPrefix(t, "*/*"):
			return false
		}
	}
	return false
}

// hasPrefix reports whether b begins with s, in any case.
func hasPrefix(b []byte, s string) bool {
	return len(b) >= len(s) && message.EqualFold(b[:len(s)], s)
}

// retryAfter is the value of Retry-After: when an endpoint may be usable again, in whole seconds,
// rounded up; 1 where no service is known.
func (x *Exchange) retryAfter() string {
	wait := time.Second
	if x.service != nil {
		wait = x.service.RetryAfter(x.rt.Now())
	}
	return strconv.Itoa(int((wait + time.Second - 1) / time.Second))
}

// unmatched is the error of a request that no route has taken: 405 if a route would take another
// method, else 404.
func (x *Exchange) unmatched(found route.MethodState) *Error {
	if found == route.NotAllowed {
		return errMethod
	}
	return errNoRoute
}

// explanations are the texts for people, by reason. A reason without one gets its status's text.
var explanations = map[string]string{
	reason.NoRoute:                 "no route matches this request",
	reason.MethodNotAllowed:        "no route takes this method here",
	reason.BadPath:                 "the path cannot be understood safely",
	reason.OriginNotAllowed:        "pages of this origin may not read what this route answers",
	reason.LastHop:                 "the request was to go no further (Max-Forwards: 0)",
	reason.NoEndpoint:              "no endpoint of the service is available",
	reason.UnknownService:          "there is no service of that name",
	reason.TooManyServices:         "no further service can be watched now",
	reason.EndpointRefused:         "the endpoint has declined the request before it began with it",
	reason.EndpointBusy:            "the endpoint has as many connections as it may have",
	reason.Overloaded:              "the proxy has as many requests under way as it may have",
	reason.ServiceFull:             "the service has as many requests under way, and waiting, as it may have",
	reason.QueueTimeout:            "the service had no place for the request in time",
	reason.Exhausted:               "the proxy lacks file descriptors, memory or ports at the moment",
	reason.ConnectFailed:           "the endpoint could not be reached",
	reason.ConnectTimeout:          "the endpoint could not be reached in time",
	reason.EndpointTimeout:         "the endpoint did not answer in time",
	reason.EndpointEjected:         "the endpoint was taken out of rotation before it answered",
	reason.EndpointClosed:          "the endpoint closed the connection without an answer",
	reason.EndpointReset:           "the connection to the endpoint broke",
	reason.UnexpectedUpgrade:       "the endpoint switched protocols without being asked",
	reason.NoTunnel:                "the endpoint speaks HTTP/2 and offers no WebSockets there (RFC 8441)",
	reason.TooManyInterimResponses: "the endpoint sent too many interim responses",
	reason.InternalError:           "the proxy failed",
	reason.Stopping:                "the proxy is stopping",
	reason.HeadTooLarge:            "the request's head is too large",
	reason.HeadTimeout:             "the request's head did not arrive in time",
	reason.ClientTimeout:           "the request's content did not arrive in time",
	reason.GRPCUnavailable:         "the endpoint has answered that it is unavailable",
	reason.DeadlineExceeded:        "the time is over that the client has set",
	reason.BadGRPCTimeout:          "grpc-timeout cannot be understood",
}

// statusText is the reason phrase of a status of the proxy's own responses and those of filters.
func statusText(status int) string {
	switch status {
	case 200:
		return "OK"
	case 204:
		return "No Content"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Found"
	case 303:
		return "See Other"
	case 304:
		return "Not Modified"
	case 307:
		return "Temporary Redirect"
	case 308:
		return "Permanent Redirect"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 505:
		return "HTTP Version Not Supported"
	}
	if status < 400 {
		return "OK"
	}
	return "Error"
}
