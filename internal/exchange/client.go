package exchange

import (
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// A Client is the client's side of one exchange, whatever protocol it speaks: a
// h1.Conn, or net/http's ResponseWriter and Request. One forked task may call Content
// while the exchange's own task calls the rest.
type Client interface {
	// Content returns the next piece of the request's content, valid until the next
	// call, and io.EOF after the last. With wait false it returns nil, nil rather than
	// wait. It fails with engine.ErrClientGone, engine.ErrTimeout or *http1.Error.
	Content(wait bool) ([]byte, error)
	// ContentRead reports whether Content has returned, or would return, io.EOF.
	ContentRead() bool
	// Trailers are the request's trailer fields, after io.EOF.
	Trailers() []message.Field
	// Skip reads over content that has arrived and that nobody will ask for.
	Skip()
	// StopContent makes a Content that waits in another task return.
	StopContent()
	// Continue tells the client to send the content it holds back.
	Continue() error

	// Interim writes a 1xx response at once.
	Interim(r *message.Response) error
	// Head starts the final response; r.Body says how its content is delimited, which
	// the client's protocol may change. It may wait for Write, Flush or End.
	Head(r *message.Response) error
	Write(p []byte) error
	Flush() error
	// End ends the response.
	End(trailers []message.Field) error
	// Upgrade writes the 101 head and gives the connection away, with what the client
	// has sent already. The request's slices are not valid afterwards.
	Upgrade(r *message.Response) (engine.Stream, []byte, error)
	// Sent reports whether Head or Upgrade has been called.
	Sent() bool
	// Cut ends a response that cannot be completed so that the client can tell.
	Cut()

	// Watch has up interrupted with engine.ErrClientGone when the client leaves, until
	// Unwatch.
	Watch(up engine.Interrupter)
	Unwatch(up engine.Interrupter)
}
