package record

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/reason"
)

// What readers of cells get: sums over all slots, taken at about one moment. A counter only
// grows as long as its identity stays.

// RouteSums are the counters of one route.
type RouteSums struct {
	Name     string
	Service  string             // where the route leads, or led last: the name of a service or of an entry of discover
	Since    time.Duration      // instant from which they count
	Begun    uint64             // exchanges that found the route; less those that ended: in flight
	Codes    []CodeSum          // exchanges that ended, by status, in order
	Took     Durations          // first byte of the request's head to the end of the exchange; without upgrades
	BytesIn  uint64             // content received from clients
	BytesOut uint64             // content sent to clients
	Failures map[string]uint64  // exchanges that ended with a reason; nil: none did
	Retried  map[string]uint64  // attempts that were followed by another, by their reason
	NoRetry  [NoRetries]uint64  // attempts that failed and were not followed by another
	RPCs     [grpc.Codes]uint64 // calls of gRPC that ended, by status
}

// A CodeSum is how many exchanges had a status; 0: no response head was sent.
type CodeSum struct {
	Status int
	N      uint64
}

// Ended is how many exchanges have ended.
func (s *RouteSums) Ended() (n uint64) {
	for _, c := range s.Codes {
		n += c.N
	}
	return n
}

// addCode adds n exchanges with a status.
func (s *RouteSums) addCode(status int, n uint64) {
	i, found := slices.BinarySearchFunc(s.Codes, status, func(c CodeSum, status int) int { return c.Status - status })
	if !found {
		s.Codes = slices.Insert(s.Codes, i, CodeSum{Status: status})
	}
	s.Codes[i].N += n
}

// add adds the counters of one route to s.
func (s *RouteSums) add(cells *Cells[RouteCell]) {
	cells.Each(func(c *RouteCell) {
		c.codes.each(s.addCode) // before begun, which can only have grown since
		s.Begun += c.begun.Load()
		s.Took.Take(&c.took)
		s.BytesIn += c.bytesIn.Load()
		s.BytesOut += c.bytesOut.Load()
		c.failures.sum(&s.Failures)
		c.retried.sum(&s.Retried)
		if counts := c.refused.Load(); counts != nil {
			for i := range counts {
				s.NoRetry[i] += counts[i].Load()
			}
		}
		if counts := c.rpcs.Load(); counts != nil {
			for i := range counts {
				s.RPCs[i] += counts[i].Load()
			}
		}
	})
}

// Reasons count failures by reason.Index.
type Reasons [reason.Count + 1]uint64

// The counters of endpoints are added up one by one, since there are thousands of cells, and each
// family of metrics wants one counter of all of them.

// AddClasses adds the attempts by the first digit of the status; 0: no response head came.
func (c *EndpointCell) AddClasses(to *[6]uint64) {
	for i := range c.classes {
		to[i] += c.classes[i].Load()
	}
}

// AddHeaded adds the times from the begin of an attempt to its response head.
func (c *EndpointCell) AddHeaded(to *Durations) { to.Take(&c.headed) }

// AddFailures adds the attempts that failed by the endpoint's fault, and reports whether there were
// any.
func (c *EndpointCell) AddFailures(to *Reasons) bool {
	counts := c.failures.counts.Load()
	if counts == nil {
		return false
	}
	for i := range counts {
		to[i] += counts[i].Load()
	}
	return true
}

// Connections are how many new connections attempts used, and how many had been idle, were dead and
// were replaced.
func (c *EndpointCell) Connections() (opened, replaced uint64) {
	return c.opened.Load(), c.replaced.Load()
}

// Totals are the sums over all routes, and over exchanges that found none.
type Totals struct {
	Classes  [6]uint64 // exchanges by the first digit of the status; 0: no response head was sent
	BytesIn  uint64
	BytesOut uint64
}

func (t *Totals) add(s *RouteSums) {
	for _, c := range s.Codes {
		t.Classes[class(c.Status)] += c.N
	}
	t.BytesIn += s.BytesIn
	t.BytesOut += s.BytesOut
}

// routeKept is how long the cells of a route are kept after a configuration without it, so
// that one that is taken back counts on, and readers see the last numbers.
const routeKept = 5 * time.Minute

// Routes hold the cells of all routes, by name, and outlive configurations. Make them with
// NewRoutes; all methods may be called by any goroutine.
type Routes struct {
	workers   int
	unmatched *Cells[RouteCell]

	mu     sync.Mutex
	byName map[string]*routeEntry // by RouteName.key
	former RouteSums              // of routes that were dropped
}

type routeEntry struct {
	name  string
	cells *Cells[RouteCell]
	to    string        // where it leads
	since time.Duration // instant at which it was named first
	until time.Duration // when it may be dropped; 0: the configuration names it
}

// NewRoutes returns cells for exchanges of so many workers, worker 0 included.
func NewRoutes(workers int) *Routes {
	return &Routes{workers: workers, unmatched: NewCells[RouteCell](workers), byName: make(map[string]*routeEntry)}
}

// Unmatched are the cells of exchanges that found no route.
func (r *Routes) Unmatched() *Cells[RouteCell] { return r.unmatched }

// A RouteName is what is said of a route with its counters.
type RouteName struct {
	Name    string // its identity
	Service string // where it leads
	// Shared: several services share its requests, and this is one of them, with cells of its own.
	Shared bool
}

// key is that of its entry in Routes.
func (n *RouteName) key() string {
	if n.Shared {
		return n.Name + "\x00" + n.Service
	}
	return n.Name
}

// Name says which routes there are from now on, and returns the cells of each, by index. A
// route that was named before keeps its own; one that is not named any more is dropped after
// routeKept, when it has no exchange in flight.
func (r *Routes) Name(names []RouteName, now time.Duration) []*Cells[RouteCell] {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.byName {
		if e.until == 0 {
			e.until = now + routeKept
		}
	}
	out := make([]*Cells[RouteCell], len(names))
	for i, n := range names {
		e := r.byName[n.key()]
		if e == nil {
			e = &routeEntry{name: n.Name, cells: NewCells[RouteCell](r.workers), since: now}
			r.byName[n.key()] = e
		}
		e.to, e.until = n.Service, 0
		out[i] = e.cells
	}
	r.drop(now)
	return out
}

// drop forgets routes whose time is over; their sums stay in the totals. Called with mu held.
func (r *Routes) drop(now time.Duration) {
	for name, e := range r.byName {
		if e.until == 0 || now < e.until {
			continue
		}
		var s RouteSums
		if s.add(e.cells); s.Begun > s.Ended() {
			continue
		}
		r.former.add(e.cells)
		delete(r.byName, name)
	}
}

// UnmatchedSums are the counters of exchanges that found no route. Its Name is empty.
func (r *Routes) UnmatchedSums() (s RouteSums) {
	s.add(r.unmatched)
	return s
}

// Sums are the counters of every route that has not been dropped, by name, and of one whose services
// share it for each of them, by theirs.
func (r *Routes) Sums() []RouteSums {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.SortedFunc(maps.Values(r.byName), func(a, b *routeEntry) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.to, b.to), cmp.Compare(a.since, b.since))
	})
	out := make([]RouteSums, 0, len(all))
	for _, e := range all {
		// A route that has led to a service alone and shares it now counts on.
		if n := len(out); n == 0 || out[n-1].Name != e.name || out[n-1].Service != e.to {
			out = append(out, RouteSums{Name: e.name, Service: e.to, Since: e.since})
		}
		out[len(out)-1].add(e.cells)
	}
	return out
}

// Totals adds everything up, dropped routes included.
func (r *Routes) Totals() (t Totals) {
	var none RouteSums
	none.add(r.unmatched)
	t.add(&none)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.byName {
		var s RouteSums
		s.add(e.cells)
		t.add(&s)
	}
	t.add(&r.former)
	return t
}
