// Package trace is what the proxy knows of exchanges that are traced, for those who make spans of
// it: an Exporter gets them in batches, after they have ended. Package poise/tracing, a module of
// its own, makes spans for OpenTelemetry of them.
//
//	Exchange             the server's span, child of the client's
//	  Attempts[0]        a client's span for each try at an endpoint
//	  Attempts[1]
package trace

import (
	"context"
	"net/netip"
	"time"
)

// An Exporter takes exchanges somewhere. If it is an io.Closer it is closed after its last call.
type Exporter interface {
	// Export sends what batch holds. It is called by one goroutine at a time, which may wait in
	// it; what comes meanwhile waits in a bounded queue. ctx ends when the proxy does not wait any
	// longer. batch and what it holds may be kept. lost is how many spans, as Exchange.Spans counts them,
	// the receiver did not take; the error says why.
	Export(ctx context.Context, batch []Exchange) (lost int, err error)
}

// An Exchange is one client request and its response. Texts are cut at the bounds of the access
// log.
type Exchange struct {
	TraceID [16]byte
	SpanID  [8]byte // of the exchange
	Parent  [8]byte // the client's span; zero: the trace begins here
	// Flags are those of traceparent, as endpoints were told: bit 0 is sampled. An exchange that a
	// rule has kept after its end may be not sampled.
	Flags     byte
	State     string // value of tracestate, as received
	RequestID string // empty: it has none

	Began    time.Time
	Duration time.Duration // from the first byte of the head to the end of the exchange

	Peer     netip.Addr // of the connection; the zero Addr if it has none (a unix socket)
	Client   string     // address of the client, behind trusted proxies as they tell; empty: not known
	Protocol string     // HTTP/1.1, HTTP/2.0
	Scheme   string     // http or https
	Method   string
	Host     string
	Path     string // as received
	Query    string // as received, by tracing.query; empty: there is none, too
	Agent    string // User-Agent

	Status int    // as sent to the client; 0: it got no response head
	Reason string // why it failed; empty: it did not. See docs/life-of-a-request.md
	GRPC   *int   // status of gRPC as the client sees it; nil: it is no call of gRPC

	BytesIn    int64 // content received
	BytesOut   int64 // content sent
	Generation uint64

	Service   string // empty: no route was found
	Policy    string // of the service
	RouteName string // empty: it has none
	Pattern   string // path of the route, as the configuration has it; empty: any
	// Sent is the path that endpoints were asked for, if the route has changed it, else empty.
	Sent string

	Attempts []Attempt // in their order
}

// An Attempt is one try at one endpoint.
type Attempt struct {
	SpanID   [8]byte // zero: it ended before it had one
	Scheme   string  // http, https or unix
	Address  string  // host:port, or a path
	Zone     string
	Status   int           // of the response head; 0: none came
	Reason   string        // empty: it went well
	Start    time.Duration // since Began
	Duration time.Duration
	Head     time.Duration // from its start to the response head; 0: none came
}

// Spans is how many spans x makes.
func (x *Exchange) Spans() int { return 1 + len(x.Attempts) }

// Failed reports whether the span of x is an error; see Failed.
func (x *Exchange) Failed() bool {
	if x.GRPC != nil {
		return FailedGRPC(*x.GRPC)
	}
	return Failed(x.Status, x.Reason)
}

// FailedGRPC reports whether a status of gRPC is an error of the server's side, as the semantic
// conventions of OpenTelemetry have it: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL,
// UNAVAILABLE and DATA_LOSS. The others are the client's, or an answer.
func FailedGRPC(status int) bool {
	switch status {
	case 2, 4, 12, 13, 14, 15:
		return true
	}
	return false
}

// Failed reports whether an exchange is an error of the server's side: it was answered with 5xx, or
// not at all, or its response was cut. The client's own mistakes (4xx) are none, and neither is a
// tunnel that ended for want of traffic.
func Failed(status int, reason string) bool {
	return status >= 500 || reason != "" && status < 400 && status != 101
}
