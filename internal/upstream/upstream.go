// Package upstream is the endpoint's side of an exchange, whatever its protocol: a Call
// is one request and its response on the way to and from an endpoint, a Pool opens calls.
// Each protocol is a folder below: h1 has a connection for each call and keeps idle ones; a
// protocol with streams has many calls on a connection. Here is what they have in common:
// the contract, the bounds of connections, connections that belong to one client, probes.
package upstream

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// What opening a call, and a call, may fail with beside the errors of engine and *http1.Error.
var (
	// ErrBusy says that an endpoint has as many connections as it may have.
	ErrBusy = errors.New("endpoint has no free connection")
	// ErrUnprocessed says that the endpoint itself has declined a request before it began
	// to work on it, as HTTP/2 can by REFUSED_STREAM and GOAWAY. It is not at fault, and
	// the request may be sent again, whatever its method.
	ErrUnprocessed = errors.New("endpoint has not processed the request")
	// ErrOther says that an endpoint whose version of HTTP is negotiated speaks the other
	// one. The pool of that version is to be asked.
	ErrOther = errors.New("endpoint speaks another version of HTTP")
	// ErrNoTunnel says that an endpoint speaks HTTP/2 and does not offer WebSockets on it.
	ErrNoTunnel = errors.New("endpoint does not offer extended CONNECT (SETTINGS_ENABLE_CONNECT_PROTOCOL of RFC 8441)")
)

// A Pool opens calls to one endpoint. It is safe for concurrent use.
type Pool interface {
	// Call opens a call for a task of rt, whose worker it belongs to. by bounds connecting,
	// together with the pool's own timeout; zero: that alone. fresh says that no connection
	// will do that was open before. mine are the connections that belong to the client's
	// connection: if one of them leads to the endpoint, it is taken; nil: there are none.
	Call(rt engine.Runtime, by time.Duration, fresh bool, mine *Bonds) (Call, error)
}

// An Announcer is a Pool whose endpoints learn by the PROXY protocol who the client is, if
// Settings.ProxyProtocol is set.
type Announcer interface {
	// CallFor is Call for a client with that address; the zero value: it is not known. The
	// connection then belongs to the client's connection, so only mine are reused; where mine is
	// nil the connection is closed behind the call.
	CallFor(rt engine.Runtime, by time.Duration, fresh bool, mine *Bonds, client netip.AddrPort) (Call, error)
}

// An Opener is a Pool whose endpoints may not take every request that opens a WebSocket.
type Opener interface {
	// CallTunnel is Call for a request that opens a WebSocket (message.WebSocketKey). It fails with
	// ErrNoTunnel if the endpoint has no way to open one.
	CallTunnel(rt engine.Runtime, by time.Duration, fresh bool, mine *Bonds) (Call, error)
}

// A Call is one request to an endpoint and its response. One task sends while the same or
// another receives. Instants are the runtime's; zero as a bound means none.
//
// After an error of sending the response may still come: an endpoint may answer early and
// stop reading. After an error of receiving only Unprocessed and Done are of use.
type Call interface {
	Sender
	Receiver
	engine.Interrupter // ends waits of both directions; the call cannot be completed then

	// Stale reports whether the call uses a connection that was open before, on which
	// nothing of this call's response has come: it may have died unnoticed.
	Stale() bool
	// Unprocessed reports, after a failure, whether the endpoint has certainly not begun to
	// work on the request: nothing of it has left, or the endpoint says so.
	Unprocessed() bool
	// Refusable reports whether Unprocessed may be true although content was sent: then
	// content is worth keeping whatever the method.
	Refusable() bool
	// Persists reports, after the final head, whether it is worth sending a request to its
	// end that was answered before: its connection can be used again only then.
	Persists() bool

	// Done ends the use of the call, whose methods must not be called any more. whole says
	// that the request was sent to its end and the response read to its end. The protocol
	// decides whether the connection is kept; that of a call without a head always may be.
	Done(whole bool)
}

// A Sender takes the request of a Call.
type Sender interface {
	// Head gathers the request head, which leaves with the first content or at Flush. q is
	// only read while Head runs.
	Head(q *message.Request)
	// Write sends content as the head has announced it. It may gather what is small.
	Write(p []byte) error
	// Flush sends what was gathered.
	Flush() error
	// End ends a request that has content.
	End(trailers []message.Field) error
}

// A Receiver gives the response of a Call.
type Receiver interface {
	// ReadHead reads a response head, interim or final, into r, whose slices are valid until
	// the next ReadHead or Content. method is the request's. It fails with
	// engine.ErrTimeout at by, and may be called again then.
	ReadHead(r *message.Response, method []byte, by time.Duration) error
	// Content returns the next piece of content, valid until the next call, and io.EOF after
	// the last. With wait false it returns nil, nil rather than wait. As ReadHead, it may be
	// called again after engine.ErrTimeout.
	Content(wait bool, by time.Duration) ([]byte, error)
	// Trailers are the response's trailer fields, after Content returned io.EOF.
	Trailers() []message.Field
}

// A Tunneler is a Call that can become a stream of bytes in both directions.
type Tunneler interface {
	// Tunnel gives the stream away after a head with status 101, and what has arrived behind
	// that head, whose slices are not valid any more. Only Done is called afterwards.
	Tunnel() (s engine.Stream, early []byte)
}

// A Binder is a Call whose connection can belong to one client's connection: see Bonds.
type Binder interface {
	// Bind makes the connection belong to the client's connection that owns b, for good.
	// owner is what Bonds.Endpoint finds it by: one of each is kept. b nil: the client's
	// connection is not known, so the connection is closed after this call.
	Bind(b *Bonds, owner any)
}

// A Version says which version of HTTP endpoints are spoken to with. Those whose scheme is
// h2c are spoken to with HTTP/2 whatever it says.
type Version uint8

// Versions.
const (
	HTTP1      Version = iota
	HTTP2              // https: negotiated by ALPN; http: without negotiation, as with h2c
	Negotiated         // https: what ALPN agrees on; http: HTTP/1.1
)

// Settings bound the connections to each endpoint of a service. They are not modified
// after being given to a Pool.
type Settings struct {
	ConnectTimeout time.Duration
	IdleTimeout    time.Duration
	StallTimeout   time.Duration // without progress while content moves
	Limits         limits.Head   // of response heads
	MaxIdle        int
	Max            int         // 0: no limit
	TLS            *tls.Config // for https endpoints; ServerName "": the endpoint's host

	Version Version
	// Of HTTP/2 only.
	Streams   int           // requests at once on a connection; the endpoint may allow less
	Requests  int           // that a connection carries in its life; 0: no limit
	MaxAge    time.Duration // of a connection, give or take a tenth; 0: no limit
	IdleHTTP2 time.Duration // in place of IdleTimeout; 0: that one
	// ProxyProtocol is the version of the PROXY protocol by which endpoints learn who the client
	// is: 1 or 2; 0: they do not.
	ProxyProtocol int
}

// Workers are the tasks' places: every connection belongs to the worker that made it, and
// only tasks of that worker touch its stream.
type Workers interface {
	// Count is how many there may be: Runtime.Worker is below it.
	Count() int
	// Run runs f as a task of worker i, now or soon. It does not wait where waiting could
	// delay others; what belongs to a worker that has stopped has been closed.
	Run(i int, f func())
	// Connect counts a connection to be made for that worker; false: there is no descriptor
	// for it. Disconnect takes back n of them.
	Connect(worker int) bool
	Disconnect(n int)
	// Shed closes some idle connections, to whatever endpoint, those of that worker last;
	// false: there are none.
	Shed(worker int) bool
}
