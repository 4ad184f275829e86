package record

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// What readers of cells get: sums over all slots, taken at about one moment. A counter only
// grows as long as its identity stays.

// RouteSums are the counters of one route.
type RouteSums struct {
	Name     string
	Begun    uint64            // exchanges that found the route; less those that ended: in flight
	Classes  [6]uint64         // exchanges that ended, by the first digit of the status; 0: no response head was sent
	Took     Durations         // first byte of the request's head to the end of the exchange; without upgrades
	BytesIn  uint64            // content received from clients
	BytesOut uint64            // content sent to clients
	Retries  uint64            // attempts beyond the first of an exchange
	Failures map[string]uint64 // exchanges that ended with a reason
}

// Ended is how many exchanges have ended.
func (s *RouteSums) Ended() (n uint64) {
	for _, c := range s.Classes {
		n += c
	}
	return n
}

// add adds the counters of one route to s.
func (s *RouteSums) add(cells *Cells[RouteCell]) {
	if s.Failures == nil {
		s.Failures = make(map[string]uint64)
	}
	cells.each(func(c *RouteCell) {
		for i := range c.classes { // before begun, which can only have grown since
			s.Classes[i] += c.classes[i].Load()
		}
		s.Begun += c.begun.Load()
		s.Took.take(&c.took)
		s.BytesIn += c.bytesIn.Load()
		s.BytesOut += c.bytesOut.Load()
		s.Retries += c.retries.Load()
		c.failures.sum(s.Failures)
	})
}

// EndpointSums are the counters of one endpoint.
type EndpointSums struct {
	Classes  [6]uint64         // attempts by the first digit of the status; 0: no response head came
	Headed   Durations         // attempt begun to response head
	Failures map[string]uint64 // attempts that failed by the endpoint's fault
}

// SumEndpoint adds the cells of an endpoint up.
func SumEndpoint(cells *Cells[EndpointCell]) EndpointSums {
	s := EndpointSums{Failures: make(map[string]uint64)}
	cells.each(func(c *EndpointCell) {
		for i := range c.classes {
			s.Classes[i] += c.classes[i].Load()
		}
		s.Headed.take(&c.headed)
		c.failures.sum(s.Failures)
	})
	return s
}

// Totals are the sums over all routes, and over exchanges that found none.
type Totals struct {
	Classes  [6]uint64 // exchanges by the first digit of the status; 0: no response head was sent
	BytesIn  uint64
	BytesOut uint64
}

func (t *Totals) add(s *RouteSums) {
	for i, n := range s.Classes {
		t.Classes[i] += n
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
	byName map[string]*routeEntry
	former RouteSums // of routes that were dropped
}

type routeEntry struct {
	cells *Cells[RouteCell]
	until time.Duration // when it may be dropped; 0: the configuration names it
}

// NewRoutes returns cells for exchanges of so many workers, worker 0 included.
func NewRoutes(workers int) *Routes {
	return &Routes{workers: workers, unmatched: NewCells[RouteCell](workers), byName: make(map[string]*routeEntry)}
}

// Unmatched are the cells of exchanges that found no route.
func (r *Routes) Unmatched() *Cells[RouteCell] { return r.unmatched }

// Name says which routes there are from now on, and returns the cells of each, by index. A
// route that was named before keeps its own; one that is not named any more is dropped after
// routeKept, when it has no exchange in flight.
func (r *Routes) Name(names []string, now time.Duration) []*Cells[RouteCell] {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.byName {
		if e.until == 0 {
			e.until = now + routeKept
		}
	}
	out := make([]*Cells[RouteCell], len(names))
	for i, name := range names {
		e := r.byName[name]
		if e == nil {
			e = &routeEntry{cells: NewCells[RouteCell](r.workers)}
			r.byName[name] = e
		}
		e.until = 0
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

// Sums are the counters of every route that has not been dropped, by name.
func (r *Routes) Sums() []RouteSums {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]RouteSums, 0, len(r.byName))
	for name, e := range r.byName {
		s := RouteSums{Name: name}
		s.add(e.cells)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b RouteSums) int { return cmp.Compare(a.Name, b.Name) })
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
