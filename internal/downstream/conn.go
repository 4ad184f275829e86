package downstream

import (
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
)

// A Protocol is what clients of a listener speak. There is one value for each protocol, a
// package variable such as h1.Protocol, which is never modified.
//
// A sequential protocol (HTTP/1.1) carries one request after the other: the task of the
// connection serves them, and its Conn is the client of each. Between two requests there may
// be no Conn at all: it is released, and opened again on the same stream when bytes come, so
// that an idle connection costs little.
//
// A concurrent protocol (HTTP/2) carries several requests at once. The task of the
// connection only reads, and each request is served by a task of its own. The Conn lives as
// long as the connection: it has state of its own.
type Protocol struct {
	// Concurrent says that Next may be called while earlier requests are being served.
	Concurrent bool
	// Open returns a Conn that owns o.Stream until Release. A sequential protocol may open
	// spare, which is one of its own that was released; nil: there is none.
	Open func(o Opening, spare Conn) Conn
	// Prior is what a connection speaks instead if its first request is a Preface: prior
	// knowledge, RFC 9113 §3.3. It speaks After if not, which has the Conns of both. Nil: there
	// is no such choice.
	Prior, After *Protocol
}

// Or returns p as what a connection speaks that does not begin with the preface of prior.
func (p *Protocol) Or(prior *Protocol) *Protocol {
	return &Protocol{Concurrent: p.Concurrent, Open: p.Open, Prior: prior, After: p}
}

// A Drainer is a Conn of a concurrent protocol that can tell its client to send no further
// request (GOAWAY of HTTP/2).
type Drainer interface {
	// Drain is called when the Proxy begins to close, by another task of the connection's
	// worker, and may be called after Close and Release. It does not wait. The connection is ended by core
	// once no exchange is under way, and nothing is left to be sent.
	Drain()
	// Sending reports whether something is left to be sent. It may be called as Drain is.
	Sending() bool
}

// A Finisher is the Connection of a Client of a concurrent protocol that is to be told when the
// exchange is over, and that knows whether the client has given the request up. One that was given
// up before its exchange has begun is not served: to begin requests and reset them at once costs a
// client next to nothing, and a connection to an endpoint for each of them would be dear
// (CVE-2023-44487).
type Finisher interface {
	// Left is called before the exchange begins.
	Left() bool
	// Finish is called by the task of the exchange, or by the connection's if Left is true, after
	// which nothing uses the Client or the slices of its request. What is not complete by then never
	// will be.
	Finish()
}

// A Pacer is a Conn of a concurrent protocol that knows whether its client costs more than it asks for.
type Pacer interface {
	// Pace is for how long nothing more is to be read of the connection; 0: it goes on. The
	// connection's task calls it once for some dozens of requests.
	Pace() time.Duration
}

// A Refuser is the Connection of a Client whose protocol can say that a request was certainly not
// processed (REFUSED_STREAM of HTTP/2), so that the client may send it again whatever its method.
type Refuser interface {
	// Refuse ends the exchange by saying that; false: something of a response was sent, so that it
	// cannot be said any more.
	Refuse() bool
}

// A Preface is the error of Next of a Conn that may be opened with another protocol instead: what
// has come is that protocol's beginning.
type Preface struct{ Err error }

// Error and Unwrap are those of the refusal that stands where no other protocol is spoken.
func (p *Preface) Error() string { return p.Err.Error() }

// Unwrap returns the refusal.
func (p *Preface) Unwrap() error { return p.Err }

// A Taker is a Conn whose Next may fail with a Preface.
type Taker interface {
	// Take returns what was read and not used, valid until Release, which must follow.
	Take() []byte
}

// An Opening is what a Conn is opened with.
type Opening struct {
	Runtime  engine.Runtime
	Stream   engine.Stream
	Settings *Settings // until Configure
	// Latest is where newer Settings are found, by a Conn whose Await reads heads. Nil: there are none.
	Latest *atomic.Pointer[Settings]
	Early  []byte // has been read from Stream already; it is copied
	// Age is that of the connection; nil: nothing bounds it.
	Age *Age
	// Draining is set when connections are to end: each response that begins from then on is
	// the last of its connection. Nil: never.
	Draining *atomic.Bool
}

// A Conn is one client connection as core serves it. All methods are called by the task that
// serves the connection; of a concurrent protocol the Clients that Next returns are used by
// other tasks of the same worker at the same time.
//
//	for {
//		ready, err := c.Await(resumed) // err: no further request
//		err := c.Next(&q, &client)      // the exchange runs here, or in a task of its own
//		if c.Last() { break }
//		if c.Rest() { … }              // wait for bytes without a task, then Await(true)
//	}
//	c.Close()
//	c.Release()
type Conn interface {
	// Configure has requests that have not begun held to other settings.
	Configure(s *Settings)
	// Await waits until a request begins. resumed says that the wait began with a Rest that
	// returned true, and that bytes have come, or the wait has ended in another way. ready
	// false, without an error, is for those bytes that began no request: the connection may
	// rest again. io.EOF says that the connection ended in good order, or was idle for too
	// long.
	Await(resumed bool) (ready bool, err error)
	// Next reads the head of the request that Await has found into q, and sets its client.
	// q's slices are valid until the next Await; of a concurrent protocol, until the exchange
	// ends. An *http1.Error refuses this request: client answers with its Status. Any other
	// error ends the connection.
	Next(q *message.Request, client *Client) error
	// Last reports whether the connection takes no further request.
	Last() bool
	// Rest begins the wait for the next request. It holds no buffer then. It returns false,
	// and does nothing, if bytes of that request have been read already.
	Rest() bool
	// Close ends the connection; no exchange runs any more. lingers says that the client is
	// still sending: then only the sending side was closed, and the caller is to read what
	// comes for a while (see Linger) before it closes the stream.
	Close() (lingers bool)
	// Release lets go of the stream, which rests or was closed. The Conn is not used any more,
	// unless it is opened once more.
	Release()
}
