// Package filter is what may look at an exchange, and change it, besides the exchange itself:
// a Filter stands in a Slot, a route has a Chain of them. Filters run on every engine, so they
// wait by the Runtime only: Sleep, Dial, and Do for what blocks.
//
// A filter that counts the bytes of requests and says so in the response:
//
//	filter.Filter{
//		Name: "count", Slot: filter.BodyLimit,
//		RequestContent: func(x *filter.Exchange) filter.Transform {
//			n := new(counter)
//			x.SetState(n)
//			return n
//		},
//		Response: func(x *filter.Exchange, r *message.Response) {
//			if n, ok := x.State().(*counter); ok {
//				r.Fields = append(r.Fields, message.NewField("X-Request-Bytes", n.String()))
//			}
//		},
//	}
//
// A filter that panics breaks off its exchange, with 500 and the reason internal-error; the
// endpoint is not blamed.
package filter

import (
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// A Filter is one filter of one route. Its functions may be nil: then it has no part in that.
// They are called by tasks of several workers at the same time; what belongs to one exchange is
// kept by Exchange.SetState.
type Filter struct {
	Name string // for the log
	Slot Slot

	// Request is called once, before an endpoint is picked. It may change x.Request and may
	// wait. A reply ends the exchange: no further filter sees the request, and no endpoint.
	Request func(x *Exchange) *message.Reply
	// Response is called with the head of the final response, before it is sent: that of the
	// endpoint, or of the proxy's own reply if the request has come as far as this filter. It
	// may change r, except for how the content is delimited.
	Response func(x *Exchange, r *message.Response)
	// RequestContent is called for a request that has content, after all of the Requests. Nil:
	// it is not looked at. The Transform may be used by another task than the exchange's, but
	// by one at a time.
	RequestContent func(x *Exchange) Transform
	// ResponseContent is called for a response of the endpoint that has content, after all of
	// the Responses. Nil: it is not looked at.
	ResponseContent func(x *Exchange, r *message.Response) Transform
	// Reframes says that its Transforms may change how much content there is, or add trailers:
	// then content is sent in chunks, or as the protocol does it where nothing is known of its
	// length.
	Reframes bool
}

// A Transform sees the content of one message. Content that is looked at passes through this
// program: it is never spliced.
type Transform interface {
	// Piece returns what goes on in place of p, which is never empty: p itself, other bytes
	// that are valid until the next call, or nothing. p is valid during the call only and must
	// not be written to. An error ends the exchange: an *http1.Error with its status and reason,
	// if the response has not begun, any other with 500.
	Piece(p []byte) ([]byte, error)
	// End is called behind the last piece. It returns further content, and the trailers that are
	// to be sent.
	End(trailers []message.Field) ([]byte, []message.Field, error)
}

// A Flusher is a Transform that may hold bytes back until there are more of them, as a compressor
// does.
type Flusher interface {
	Transform
	// Flush is called when all that has arrived went through Piece and nothing more is there: what
	// it returns leaves before the next wait, so that no message waits for the one behind it. As
	// with Piece the result is valid until the next call; it may be empty.
	Flush() ([]byte, error)
}

// An Exchange is what filters see of one.
type Exchange struct {
	Runtime engine.Runtime
	// Request is the head as it will be forwarded so far. Slices that a filter puts there must
	// stay as they are until the exchange ends.
	Request *message.Request
	// ClientIP is the client's address as text: behind trusted proxies the one they tell. Empty
	// for a unix socket.
	ClientIP []byte
	// Deadline is when the exchange must be over, on the Runtime's clock. 0: it has none, so that
	// a filter that waits sets its own.
	Deadline time.Duration

	running int // index of the filter that is called; -1: none
	states  []any
}

// State is what this filter has set in this exchange; nil: nothing.
func (x *Exchange) State() any { return x.states[x.running] }

// SetState keeps v for the filter's further calls in this exchange. It must not be called by a
// Transform.
func (x *Exchange) SetState(v any) { x.states[x.running] = v }
