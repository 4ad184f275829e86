package exchange

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/rewrite"
	"github.com/poise-lb/poise/internal/route"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
)

// A Table is everything an exchange needs to know. It is never modified after it has
// been published; an exchange keeps the table it started with.
type Table struct {
	Tree    *route.Tree
	Routes  []Route // as the Tree numbers them
	Trusted []netip.Prefix
	Stall   time.Duration // longest wait without progress while content is relayed
	Interim int           // interim responses before a final one; 0: any number
	Tunnel  time.Duration // longest silence of a tunnel; zero: it may be silent for ever
	Logger  *slog.Logger
	Sink    *record.Sink // nil: no access log
	// Unmatched counts exchanges that find no route; nil: nothing is counted.
	Unmatched *record.Cells[record.RouteCell]

	InFlight  int                // exchanges at once, over all; 0: no limit
	Admission *admission.Control // counts them; may be nil without a limit
}

// A Route is where a match leads.
type Route struct {
	Index     int                             // in Config.Routes
	Name      string                          // as the configuration names it; empty: it does not
	Cells     *record.Cells[record.RouteCell] // counts its exchanges; never nil
	Service   *Service                        // nil if there is a Directory
	Directory Directory                       // has the service that the path names; nil: it is Service
	Segment   int                             // of the path that names it, from 0
	Rules     *rewrite.Rules
	Filters   *filter.Chain // nil: none
	Timeout   time.Duration // until the response head
	Whole     bool          // Timeout bounds the whole exchange, content included
	Stall     time.Duration // of the endpoint within content; zero: Table.Stall, event streams any
	Lenient   bool          // a backslash in a path is a character like others
}

// A Service is a set of endpoints, with what a table says of it. The *service.Service
// below is shared by all tables of a proxy.
type Service struct {
	*service.Service
	Name  string
	Key   *affinity.Key // nil: the policy needs none
	Retry Retry
	Uses  *Uses // nil: it is not forgotten
}

// Retry says when another attempt is made.
type Retry struct {
	Attempts int // in all; 0: two, and further ones at endpoints that look well
	Connect  bool
	Reset    bool
	Timeout  bool
	Statuses [600]bool // by status
	// SameAfter is the first pause before the same endpoint is tried again because there is
	// no other; the next ones double. 0: never.
	SameAfter time.Duration
}

// A Peer is what is known of a client's connection.
type Peer struct {
	Addr   netip.Addr // the zero Addr for a unix socket
	IP     []byte     // Addr as text; empty for a unix socket
	Scheme string     // "http" or "https"
	// Bonds are the connections to endpoints that belong to the client's connection; nil:
	// that connection is not known, or carries requests side by side.
	Bonds *upstream.Bonds
}

// trusts reports whether fields that name other peers are believed of this one.
func (t *Table) trusts(a netip.Addr) bool {
	a = a.WithZone("") // which a prefix never contains
	for _, p := range t.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// connections are those of an endpoint: what a service's Attach put there.
func connections(e *endpoint.Endpoint) upstream.Pool {
	return service.Of(e).Attached.(upstream.Pool)
}
