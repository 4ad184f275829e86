package exchange

// The Table is what an exchange knows of the configuration. core.Proxy.Apply makes a new one and
// publishes it with one atomic store; exchanges under way keep the old one:
//
//	Apply(1)    table 1: /a -> service x
//	request     starts with table 1
//	Apply(2)    table 2: /a -> service y
//	            the request, its retries included, still goes to x; the next request goes to y
//
// Tables share services, so the health of x's endpoints is the same in both.

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/rewrite"
	"github.com/poise-lb/poise/internal/route"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
)

// A Table is the configuration as exchanges read it. It is never modified after it has been
// published, so any task may read it without a lock.
type Table struct {
	Tree    *route.Tree
	Routes  []Route // as the Tree numbers them
	Trusted []netip.Prefix
	Stall   time.Duration // longest wait without progress while content is relayed; not 0
	Interim int           // most interim (1xx) responses of an attempt; 0: any number
	Tunnel  time.Duration // longest silence of a tunnel; 0: no limit
	Logger  *slog.Logger
	Sink    *record.Sink // nil: no access log
	Tracing *Tracing     // nil: fields of traces pass as they came, and requests have no ids
	// Generation numbers the configurations in force, from 1.
	Generation uint64
	// Unmatched counts exchanges that find no route; nil: nothing is counted.
	Unmatched *record.Cells[record.RouteCell]

	Preflights bool // a route has CORS

	InFlight  int                // exchanges at once, over all; 0: no limit
	Admission *admission.Control // counts them; may be nil without a limit
}

// A Route is what the Tree's match leads to: a service, directly or by a name in the path, and
// what happens to requests on the way.
type Route struct {
	Index     int                             // in Config.Routes
	Name      string                          // as the configuration names it; empty: it does not
	Pattern   string                          // of the path, as the configuration has it; empty: any path
	Cells     *record.Cells[record.RouteCell] // counts its exchanges; never nil
	Service   *Service                        // nil if there is a Directory; the first one of a Split
	Split     *Split                          // nil: Service, or what Directory finds, gets all requests
	Directory Directory                       // finds the service that the path names; nil: Service
	Segment   int                             // index of the segment that names it, from 0
	Lane      uint64                          // of its labels, in place of the lanes of its service; 0: it has none
	Rules     *rewrite.Rules                  // nil: no changes
	Filters   *filter.Chain                   // nil: none
	Timeout   time.Duration                   // from the end of the request to the response head
	Whole     bool                            // Timeout bounds the whole exchange, from its beginning; see grpc.go for gRPC
	Stall     time.Duration                   // longest silence of the endpoint; 0: see patience
	Lenient   bool                            // a backslash in a path is an ordinary character
	Hedge     HedgeMethods                    // which of its requests may be hedged, if the service has hedges
	CORS      bool                            // one of Filters answers preflights of CORS
}

// A Service is a service with its settings in one table. All tables of a proxy share the
// *service.Service, which has the endpoints and their state.
type Service struct {
	*service.Service
	Name   string
	Policy string        // as the configuration names it
	Key    *affinity.Key // nil: the policy needs none
	Lanes  *affinity.Key // finds the lane of a request; nil: the service has none
	Sticky *Sticky       // nil: clients are not bound to endpoints by a cookie
	Retry  Retry
	Hedge  *Hedge // nil: no attempt is hedged
	// Priorities are of requests in the queue; nil: all are alike.
	Priorities *Priorities
	Uses       *Uses // counts exchanges of a service of a Directory; nil for others
	// Announces: its endpoints learn by the PROXY protocol who the client is.
	Announces bool
	// Reports: what its endpoints say of their load is read, see report.go.
	Reports bool
}

// Retry is the configuration of retries: see again. Connect, Reset and Timeout are the classes
// of failures that may be repeated.
type Retry struct {
	Attempts int // most attempts in all, 1: no retry; 0: see AttemptsSure
	Connect  bool
	Reset    bool
	Timeout  bool
	Statuses [600]bool // index: the status
	// Unavailable: gRPC's status of that name, where the response has nothing else.
	Unavailable bool
	// AttemptTimeout is the limit of one attempt: from its beginning, or the end of the request's content if that is
	// later, to its response head. 0: only the route has a limit.
	AttemptTimeout time.Duration
	// Extra bounds retries, and hedges, of all requests of the service together.
	Extra extra.Limits
	// SameAfter is the first pause before the same endpoints are tried again because there is
	// no other; see pause. 0: never.
	SameAfter time.Duration
}

// A Peer is what an exchange knows of the client's connection. Exchanges only read it.
type Peer struct {
	Addr   netip.Addr // the zero Addr for a unix socket
	IP     []byte     // Addr as text; empty for a unix socket
	Port   uint16     // of Addr; 0: not known
	Scheme string     // "http" or "https"
	// Listener is the name of the one by which the client came, for routes; empty: it has none.
	Listener string
	TLS      uint16 // version, as crypto/tls numbers them; anything else: none, or not known
	// Cert is the client's certificate; nil: the client was not asked for one.
	Cert *ClientCert
	// Bonds are the connections to endpoints that are bound to the client's connection: see
	// bound.go. nil: that connection is not known, or carries several requests at once.
	Bonds *upstream.Bonds
	// Ended is called when an exchange is over, with what its line of the access log is made of:
	// the service, nil if none was reached, the route, nil likewise, and the attempts, which are
	// only valid until it returns. nil: nothing asks for it.
	Ended func(s *Service, r *Route, t *record.Trace)
}

// A ClientCert is what a client has proved by its TLS certificate. It is not modified, and many
// requests may use it at once. The zero value is a client that was asked and has none.
type ClientCert struct {
	// Leaf and Chain are the values of Client-Cert and Client-Cert-Chain (RFC 9440 §2), whose
	// certificates are Byte Sequences of structured fields, without the authority's own; empty:
	// there is none.
	Leaf, Chain []byte
	Proved      *record.Identity // for the access log; nil: nothing
}

// trusts reports whether a is a trusted proxy, whose X-Forwarded fields are believed. The zero
// Addr, of a unix socket, is not trusted.
func (t *Table) trusts(a netip.Addr) bool {
	a = a.WithZone("") // which a prefix never contains
	for _, p := range t.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// connections is the pool of connections to e, which Settings.Attach of its service has made.
func connections(e *endpoint.Endpoint) upstream.Pool {
	return service.Of(e).Attached.(upstream.Pool)
}
