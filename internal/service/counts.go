package service

// The counters of endpoints, for metrics. They belong to the identity of an endpoint and survive
// every Update that names it, every Configure, and five minutes in which nothing names it, so
// that an endpoint that comes and goes is one series:
//
//	0 s      a is named      counters from 0
//	60 s     a is removed    drains, gone; Readings lists it as Gone
//	120 s    a is back       goes on from the same counters
//	200 s    a is removed    for more than five minutes: forgotten; later it begins from 0

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/record"
)

const (
	// cellsKept is how long the counters of an endpoint that is gone are kept.
	cellsKept = 5 * time.Minute
	// cellsMax bounds how many endpoints that are gone a service keeps counters of.
	cellsMax = 1024
)

// formerCells has the counters of endpoints that are gone, by identity. The zero value is empty. It
// is guarded by Service.mu.
type formerCells map[endpoint.ID]formerCell

type formerCell struct {
	cells   *record.Cells[record.EndpointCell]
	history *History
	until   time.Duration // instant at which they are forgotten
}

// keep adds the counters of an endpoint that is gone at the instant now. If there are cellsMax
// already it drops them.
func (f *formerCells) keep(m *Member, now time.Duration) {
	f.drop(now)
	if *f == nil {
		*f = make(formerCells)
	}
	if len(*f) < cellsMax {
		(*f)[m.endpoint.ID()] = formerCell{m.Cells, m.history, now + cellsKept}
	}
}

// take removes and returns the counters of an endpoint that is named again; nil: there are none.
func (f formerCells) take(id endpoint.ID, now time.Duration) (*record.Cells[record.EndpointCell], *History) {
	one, ok := f[id]
	delete(f, id)
	if !ok || now >= one.until {
		return nil, nil
	}
	return one.cells, one.history
}

// drop removes the counters that were kept until the instant now.
func (f formerCells) drop(now time.Duration) {
	for id, one := range f {
		if now >= one.until {
			delete(f, id)
		}
	}
}
