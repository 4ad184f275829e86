// Package record keeps what an exchange leaves behind: one line of the access log, and
// counters in the cells of its route and of the endpoints it tried (cells.go). At its end an
// exchange makes an Exchange and hands it to a Sink, which copies it into a bounded ring and
// returns; the owner of the log file calls Drain from a goroutine of its own. Nothing here
// waits: what does not fit is dropped and counted.
package record

import (
	"net/netip"
	"time"

	"github.com/poise-lb/poise/policy"
)

// Bounds of what one line keeps, in bytes; the rest is cut off and the line says so.
const (
	MethodBytesMax = 32
	HostBytesMax   = 255 // the longest name DNS allows
	PathBytesMax   = 1024
	QueryBytesMax  = 1024
	IDBytesMax     = 128 // of a request id
	StateBytesMax  = 512 // of tracestate: a longer one is left out as a whole
	AgentBytesMax  = 256 // of User-Agent, in spans
)

// An Exchange is the record of one exchange. The zero value is an empty record.
type Exchange struct {
	Client netip.Addr // the client's address; the zero Addr if it has none (a unix socket)

	// Slices are only read while Put runs, so they may be those of the buffer that holds the
	// head.
	Method []byte
	Host   []byte
	Path   []byte // as received
	Query  []byte // as received; nil: there was no question mark
	Norm   []byte // the path in normal form; nil: it has none
	ID     []byte // of the request, for $request_id; nil: none
	Heads  *Heads // what the format asks for of the heads; nil: nothing was copied

	Protocol string        // a constant such as "HTTP/1.1"
	Scheme   string        // "http" or "https"; "": not known
	TLS      uint16        // version, as crypto/tls numbers them; anything else: none
	Proved   *Identity     // by the client's certificate; nil: nothing
	TraceID  [16]byte      // zero: none
	Rand     uint64        // random, for a format that samples; else 0
	Duration time.Duration // from the first byte of the head to the end of the exchange
	Route    int           // index in Config.Routes; of no meaning while Service is ""
	Service  string        // "" if no route matched
	// RouteName is the route's name in the configuration; "" if it has none.
	RouteName string
	// Generation is that of the configuration that the exchange began with; 0: not known.
	Generation uint64
	Span       *Span // what only spans need; nil: none are made of it

	*Trace // nil: an empty one. Put reads it where it is, so a record costs no copy of it
}

// A Span is what spans say of an exchange beside what the access log says.
type Span struct {
	ID     [8]byte
	Parent [8]byte // the client's span; zero: none
	Flags  byte    // of traceparent, as endpoints were told

	State  []byte // value of tracestate
	Agent  []byte // User-Agent
	Client []byte // address of the client, as text
	Sent   []byte // path that endpoints were asked for; empty: that of the request

	Pattern string // of the route's path
	Policy  string // of the service
}

// An Identity is what a client has proved by its certificate. It is not modified.
type Identity struct {
	Subject string // as nginx writes it: CN=shop,O=Example
	Name    string // SPIFFE ID, or the first alternative name; "": there is none
}

// A Trace is the part of a record that gathers while an exchange runs. The zero value is
// empty. It is used by one task at a time.
type Trace struct {
	Status int    // as sent to the client; 0: the client got no response head
	Reason string // machine-readable reason of a failure; "" if there was none
	RPC    uint8  // status of gRPC as the client sees it: grpc.Code.Plus; 0: it is no call of gRPC

	BytesIn  int64 // content received from the client
	BytesOut int64 // content sent to the client

	Queued time.Duration // for which it waited in the queue of the service; 0: it did not

	n        int
	attempts [attemptsUsual]Attempt
	more     *[policy.AttemptsMax]Attempt // all of them, once there are more than usual
}

// An Attempt is the record of one try at one endpoint. Scheme and Address are kept apart
// because joining them would allocate on the hot path.
type Attempt struct {
	Scheme  string        // of the endpoint
	Address string        // of the endpoint
	Zone    string        // where its source says it is; "": it does not
	Status  int           // of the endpoint's response head; 0: none came
	Reason  string        // "": it went well; else as in docs/life-of-a-request.md, or reason.Status
	Start   time.Duration // since the start of the exchange
	Time    time.Duration // what the attempt took
	Head    time.Duration // from its start to the response head; 0: none came
	Span    [8]byte       // its id; zero: no spans are made
}

// Reset makes x empty again.
func (x *Trace) Reset() {
	clear(x.Attempts())
	x.Status, x.Reason, x.RPC = 0, "", 0
	x.BytesIn, x.BytesOut, x.Queued, x.n = 0, 0, 0, 0
}

// Add adds an attempt that is over. Beyond policy.AttemptsMax the last one is overwritten.
func (x *Trace) Add(a *Attempt) {
	if x.n < policy.AttemptsMax {
		x.n++
	}
	if x.n == len(x.attempts)+1 {
		if x.more == nil {
			x.more = new([policy.AttemptsMax]Attempt)
		}
		copy(x.more[:], x.attempts[:])
	}
	x.Attempts()[x.n-1] = *a
}

// attemptsUsual is how many attempts a trace has room for from the start: thousands of
// exchanges may wait, and few are repeated.
const attemptsUsual = 1

// Attempts returns the attempts added so far, in order. The slice is x's own.
func (x *Trace) Attempts() []Attempt {
	if x.n > len(x.attempts) {
		return x.more[:x.n]
	}
	return x.attempts[:x.n]
}
