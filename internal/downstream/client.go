package downstream

import (
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// A Client is the client's side of one exchange, in three parts. A protocol may implement
// them by one type, as h1.Conn does, or by three. Since they are values apart, a part can be
// replaced for one exchange: filters put themselves in front of the content that way.
//
// The task that runs the exchange calls all of it, except that one forked task may call
// RequestContent meanwhile, see there.
type Client struct {
	RequestContent
	ResponseWriter
	Connection
}

// RequestContent is the content of a request, read in pieces. One task at a time calls
// Content; ContentRead and StopContent may be called by another task meanwhile.
type RequestContent interface {
	// Content returns the next piece of the content, valid until the next call, and io.EOF
	// after the last. If wait is false it returns nil, nil rather than wait. It fails with
	// engine.ErrClientGone, engine.ErrTimeout or *http1.Error.
	Content(wait bool) ([]byte, error)
	// ContentRead reports whether Content has returned io.EOF, or would return it at once.
	ContentRead() bool
	// Trailers returns the request's trailer fields. It is valid after io.EOF.
	Trailers() []message.Field
	// Skip reads and discards the content that has arrived. It does not wait.
	Skip()
	// StopContent makes a Content that waits in another task return.
	StopContent()
	// Continue tells a client that expects it (100-continue) to send the content.
	Continue() error
}

// A Pauser is a RequestContent whose wait can be ended without losing the place: Content may be
// called again, and goes on where it was.
type Pauser interface {
	// Pause makes a Content that waits in another task, and later ones that would, return
	// engine.ErrTimeout, until Pause(false). Any task of the worker may call it.
	Pause(on bool)
	// Resumable reports, after engine.ErrTimeout, whether that was the end of a wait only, so
	// that Content may be called again; false: the client's connection has failed.
	Resumable() bool
}

// ResponseWriter writes the response of one exchange: any number of Interim, then Head,
// Write as often as there is content, and End.
type ResponseWriter interface {
	// Interim writes a 1xx response at once.
	Interim(r *message.Response) error
	// Head starts the final response. r.Body says how its content is delimited; the protocol
	// may change that. Head may be buffered until Write, Flush or End.
	Head(r *message.Response) error
	// Write writes a piece of content. It may buffer p's bytes, but does not keep p.
	Write(p []byte) error
	// Flush sends what is buffered.
	Flush() error
	// End completes the response and flushes it. trailers may be nil.
	End(trailers []message.Field) error
	// Sent reports whether the final response has begun: Head or Upgrade was called.
	Sent() bool
	// Cut ends a response that cannot be completed in a way the client can detect.
	Cut()
}

// Connection is what an exchange may ask of the connection that carries it.
type Connection interface {
	// Protocol is what the client speaks, as the access log shows it: a constant such as
	// "HTTP/1.1".
	Protocol() string
	// CloseAfter has the connection take no further request after this exchange. Called
	// before Head it is announced to the client. A protocol whose connections carry several
	// requests at once ignores it.
	CloseAfter()
	// Upgrade writes the 101 head and gives the connection's stream to the caller, with the
	// bytes that the client has sent already. The request's slices are not valid afterwards.
	Upgrade(r *message.Response) (engine.Stream, []byte, error)
	// Watch has up interrupted with engine.ErrClientGone when the client leaves, until
	// Unwatch is called with the same up.
	Watch(up engine.Interrupter)
	Unwatch(up engine.Interrupter)
}
