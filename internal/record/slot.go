package record

// What the ring keeps of one exchange. Slots are many, so a slot is small and holds its texts in
// one array:
//
//	text    GET api.example.com /a/b x=1 <normal form> <id> <values of fields>
//	ends       ^               ^    ^   ^             ^    ^

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/trace"
)

// A slot is one place of the ring. seq says whose it is: its position when free for the
// producer that claims it, one more when filled (the bounded queue of D. Vyukov).
type slot struct {
	seq        atomic.Uint64
	at         time.Duration // end of the exchange, since Sink.began
	client     netip.Addr
	protocol   string
	reason     string
	service    string
	routeName  string
	bytesIn    int64
	bytesOut   int64
	duration   time.Duration
	queued     time.Duration
	status     int
	route      int
	generation uint64
	proved     *Identity // nil: nothing
	traceID    [16]byte
	tls        uint16
	scheme     scheme
	rpc        uint8 // Trace.RPC
	cut        bool
	hasQuery   bool
	// ends are where method, host, path, query, normal form and id end in text, in this order.
	ends     [6]uint16
	text     []byte   // those, and behind them the values of fields
	heads    *copied  // nil: the format has never asked for any
	span     *spanned // nil: no span has been made of what was here
	attempts []Attempt
}

// fill copies x, within bounds, as far as f has use for it. It allocates only while the text of l
// grows.
func (l *slot) fill(x *Exchange, f *Format) {
	t := x.trace()
	l.client, l.protocol, l.status, l.reason = x.Client, x.Protocol, t.Status, t.Reason
	l.bytesIn, l.bytesOut, l.duration = t.BytesIn, t.BytesOut, x.Duration
	l.queued = t.Queued
	l.route, l.service, l.routeName = x.Route, x.Service, x.RouteName
	l.scheme, l.tls, l.generation, l.traceID = schemeOf(x.Scheme), x.TLS, x.Generation, x.TraceID
	l.proved, l.rpc = x.Proved, t.RPC
	method := x.Method[:min(len(x.Method), MethodBytesMax)]
	host := x.Host[:min(len(x.Host), HostBytesMax)]
	path := x.Path[:min(len(x.Path), PathBytesMax)]
	l.cut = len(method)+len(host)+len(path) != len(x.Method)+len(x.Host)+len(x.Path)
	text := append(append(append(l.text[:0], method...), host...), path...)
	end := uint16(len(text))
	l.ends = [6]uint16{uint16(len(method)), uint16(len(method) + len(host)), end, end, end, end}
	if l.hasQuery = x.Query != nil && f.query != dropQuery; l.hasQuery {
		query := x.Query[:min(len(x.Query), QueryBytesMax)]
		l.cut = l.cut || len(query) != len(x.Query)
		text = append(text, query...)
		end = uint16(len(text))
		l.ends[3], l.ends[4], l.ends[5] = end, end, end
	}
	if f.norm {
		text = append(text, x.Norm[:min(len(x.Norm), PathBytesMax)]...)
		end = uint16(len(text))
		l.ends[4], l.ends[5] = end, end
	}
	if len(x.ID) > 0 {
		text = append(text, x.ID[:min(len(x.ID), IDBytesMax)]...)
		l.ends[5] = uint16(len(text))
	}
	l.text = text
	if f.captures {
		l.copyHeads(x.Heads, f)
	}
	if f.spans && x.Span != nil {
		l.copySpan(x)
	}
	if t.n == 1 && cap(l.attempts) > 0 { // as hardly any is not
		l.attempts = l.attempts[:1]
		l.attempts[0] = t.attempts[0]
		return
	}
	l.attempts = append(l.attempts[:0], t.Attempts()...)
}

// untried is the Trace of a record that has none.
var untried Trace

func (x *Exchange) trace() *Trace {
	if x.Trace == nil {
		return &untried
	}
	return x.Trace
}

// grpcStatus is the name of the status of gRPC; "": it was no call of gRPC.
func (l *slot) grpcStatus() string {
	if l.rpc == 0 {
		return ""
	}
	return grpc.Minus(l.rpc).String()
}

// failed reports whether the exchange is an error of the server's side.
func (x *Trace) failed() bool {
	if x.RPC != 0 {
		return trace.FailedGRPC(int(grpc.Minus(x.RPC)))
	}
	return trace.Failed(x.Status, x.Reason)
}

// A scheme is that of a request, in a byte, since slots are many.
type scheme uint8

var schemes = [...]string{"", "http", "https"}

func schemeOf(text string) scheme {
	switch len(text) {
	case len("http"):
		return 1
	case len("https"):
		return 2
	}
	return 0
}

func (s scheme) String() string { return schemes[s] }

func (l *slot) method() []byte    { return l.text[:l.ends[0]] }
func (l *slot) host() []byte      { return l.text[l.ends[0]:l.ends[1]] }
func (l *slot) path() []byte      { return l.text[l.ends[1]:l.ends[2]] }
func (l *slot) query() []byte     { return l.text[l.ends[2]:l.ends[3]] }
func (l *slot) norm() []byte      { return l.text[l.ends[3]:l.ends[4]] }
func (l *slot) requestID() []byte { return l.text[l.ends[4]:l.ends[5]] }
