// Package admission bounds how much there may be at once: client connections, those of one
// client, connections to endpoints, and requests. The counts are here, once for a whole
// proxy; code that accepts a connection, dials or begins an exchange asks first.
//
// Client connections and connections to endpoints share the file descriptors of the
// process. Clients must not be able to use up all of them: probes, logs, reloads and clients
// of registries need some as well. So a part is reserved, and of the rest clients have
// half by default: a request needs a descriptor for its client and one for its endpoint.
//
// A request costs nothing here, unless requests are limited; a connection costs an atomic
// addition, and where connections per client are limited a lock that is held for a moment.
package admission

import (
	"net/netip"
	"sync/atomic"
)

// Limits are what a configuration says. Zero means none.
type Limits struct {
	Connections int            // of clients; zero: half of the descriptors there are for connections
	PerClient   int            // connections of one client address; of IPv6: of a /64
	Exempt      []netip.Prefix // from PerClient: proxies, whose connections are those of many
}

// A Control keeps the counts. Its methods may be called from any goroutine.
type Control struct {
	files  int64 // descriptors for connections; 0: not known
	limits atomic.Pointer[Limits]
	most   atomic.Int64 // client connections; 0: no limit

	// Crowded is called when a client connection has to wait, and may make room for it. It
	// must not wait itself. Set before the first Enter.
	Crowded func()

	_         [64]byte // the counts below are written by all workers
	clients   atomic.Int64
	_         [64]byte
	endpoints atomic.Int64
	_         [64]byte
	requests  atomic.Int64

	waits, refused, overloads, shortages atomic.Uint64

	addresses addresses
	listeners listeners
}

// Counts are what a Control has counted.
type Counts struct {
	Clients, Most int64 // connections of clients, and how many there may be; 0: no limit
	Endpoints     int64 // connections to endpoints, idle ones included
	Requests      int64 // under way; counted only while they are limited

	Waits     uint64 // accepts that were put off: there were as many connections as there may be
	Refused   uint64 // connections of clients that had too many
	Overloads uint64 // requests refused: there were as many as there may be
	Shortages uint64 // connections to endpoints not made, for want of descriptors
}

// New returns a Control for a process that may have so many descriptors open, of which some
// are in use by workers event loops; files 0: not known.
func New(files, workers int) *Control {
	c := &Control{files: forConnections(files, workers)}
	c.addresses.init()
	c.Configure(Limits{})
	return c
}

// Reserved descriptors: a fixed number for listeners, files and sources, some for each
// event loop, and a share of all.
const (
	reserveFixed     = 32
	reservePerWorker = 6
	reserveShare     = 16
	reserveShareMost = 512
	// reserveLeast is what connections have where so many cannot be reserved.
	reserveLeast = 8
)

func forConnections(files, workers int) int64 {
	if files <= 0 {
		return 0
	}
	reserve := reserveFixed + reservePerWorker*workers + min(files/reserveShare, reserveShareMost)
	return int64(max(files-reserve, reserveLeast))
}

// Configure puts l in force. Connections and requests that are more than it allows stay.
func (c *Control) Configure(l Limits) {
	most := int64(l.Connections)
	switch {
	case c.files == 0:
	case most == 0:
		most = c.files / 2
	default:
		most = min(most, c.files)
	}
	c.limits.Store(&l)
	c.most.Store(most)
}

// Capped is how many client connections there may be if that is fewer than the
// configuration says; else 0.
func (c *Control) Capped() int {
	if most := c.most.Load(); most < int64(c.limits.Load().Connections) {
		return int(most)
	}
	return 0
}

// enter counts a client connection, if there may be one more.
func (c *Control) enter() bool {
	n, most := c.clients.Add(1), c.most.Load()
	if (most == 0 || n <= most) && (c.files == 0 || n+c.endpoints.Load() <= c.files) {
		return true
	}
	c.clients.Add(-1)
	c.waits.Add(1)
	return false
}

// Connect counts a connection to an endpoint, and reports false if there is no descriptor
// for it.
func (c *Control) Connect() bool {
	n := c.endpoints.Add(1)
	if c.files == 0 || n+c.clients.Load() <= c.files {
		return true
	}
	c.endpoints.Add(-1)
	return false
}

// Short counts a connection to an endpoint that could not be made.
func (c *Control) Short() { c.shortages.Add(1) }

// Disconnect takes back n times Connect.
func (c *Control) Disconnect(n int) { c.endpoints.Add(-int64(n)) }

// Tight reports whether client connections wait only because those to endpoints take up
// the descriptors.
func (c *Control) Tight() bool {
	n := c.clients.Load()
	return c.files > 0 && n < c.most.Load() && n+c.endpoints.Load() >= c.files
}

// Begin counts a request where no more than most may be under way; false: there are that
// many.
func (c *Control) Begin(most int) bool {
	if c.requests.Add(1) <= int64(most) {
		return true
	}
	c.requests.Add(-1)
	c.overloads.Add(1)
	return false
}

// End takes back Begin.
func (c *Control) End() { c.requests.Add(-1) }

// Counts returns the counts.
func (c *Control) Counts() Counts {
	return Counts{
		Clients: c.clients.Load(), Most: c.most.Load(), Endpoints: c.endpoints.Load(), Requests: c.requests.Load(),
		Waits: c.waits.Load(), Refused: c.refused.Load(), Overloads: c.overloads.Load(), Shortages: c.shortages.Load(),
	}
}
