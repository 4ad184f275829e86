package service

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/record"
)

// The counters of an endpoint hang on its identity: they outlive every Update that names it,
// every Configure, and a while in which nothing names it, so that one that comes and goes is
// one series for readers.

const (
	// cellsKept is how long the counters of an endpoint that is gone are kept.
	cellsKept = 5 * time.Minute
	// cellsMax bounds how many endpoints that are gone a service keeps counters of.
	cellsMax = 1024
)

// formerCells are the counters of endpoints that are gone, by identity. The zero value is
// empty. It is guarded by Service.mu.
type formerCells map[endpoint.ID]formerCell

type formerCell struct {
	cells *record.Cells[record.EndpointCell]
	until time.Duration
}

// keep keeps the counters of an endpoint that is gone, unless there are too many.
func (f *formerCells) keep(id endpoint.ID, cells *record.Cells[record.EndpointCell], now time.Duration) {
	f.drop(now)
	if *f == nil {
		*f = make(formerCells)
	}
	if len(*f) < cellsMax {
		(*f)[id] = formerCell{cells, now + cellsKept}
	}
}

// take gives back the counters of an endpoint that is named again; nil: there are none.
func (f formerCells) take(id endpoint.ID, now time.Duration) *record.Cells[record.EndpointCell] {
	one, ok := f[id]
	delete(f, id)
	if !ok || now >= one.until {
		return nil
	}
	return one.cells
}

// drop forgets what was kept for long enough.
func (f formerCells) drop(now time.Duration) {
	for id, one := range f {
		if now >= one.until {
			delete(f, id)
		}
	}
}

// EndpointCounts are the counters of one endpoint, summed up over all workers.
type EndpointCounts struct {
	ID   endpoint.ID
	Gone bool // the endpoint is not a member any more, and has drained
	record.EndpointSums
}

// Counts lists the counters of all endpoints, those included that were gone less than a few
// minutes ago, in the order of their IDs. Any goroutine may call it.
func (s *Service) Counts() []EndpointCounts {
	now := s.rt.Now()
	type found struct {
		id    endpoint.ID
		gone  bool
		cells *record.Cells[record.EndpointCell]
	}
	var all []found
	s.mu.Lock()
	for id, m := range s.byID {
		all = append(all, found{id, false, m.Cells})
	}
	s.former.drop(now)
	for id, one := range s.former {
		all = append(all, found{id, true, one.cells})
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b found) int { return a.id.Compare(b.id) })
	out := make([]EndpointCounts, len(all))
	for i, one := range all { // without the lock: thousands of cells take milliseconds
		out[i] = EndpointCounts{one.id, one.gone, record.SumEndpoint(one.cells)}
	}
	return out
}
