package exchange

// The counters of an exchange, for metrics. An exchange holds a pointer to the cell of its
// route, and finds that of an endpoint by the endpoint's member, so counting costs neither a
// lookup nor a lock. Each worker has cells of its own, so workers do not write the same cache
// lines; x.slot is the index of this worker's. record.Cells sums them up for readers.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
)

// begunOn counts the exchange as begun in cells, those of its route; nil: it counts nothing.
func (x *Exchange) begunOn(cells *record.Cells[record.RouteCell]) {
	if cells != nil {
		x.cell = cells.At(x.slot)
		x.cell.Begin()
	}
}

// movedTo counts the exchange as begun in cells instead of those that it has begun on.
func (x *Exchange) movedTo(cells *record.Cells[record.RouteCell]) {
	if x.cell != nil && cells != nil {
		x.cell.TakeBack()
		x.begunOn(cells)
	}
}

// ended counts the end of the exchange, which took so long; if it found no route, as unmatched.
func (x *Exchange) ended(took time.Duration) {
	if x.cell == nil {
		x.begunOn(x.table.Unmatched)
	}
	if x.cell != nil {
		x.cell.End(&x.log, took)
	}
}

// attempted counts an attempt at e that has ended. headed is the time until its response head; 0:
// none came. failed: the endpoint is at fault.
func (x *Exchange) attempted(e *endpoint.Endpoint, a *record.Attempt, headed time.Duration, failed bool) {
	service.Of(e).Cells.At(x.slot).Attempt(a, headed, failed)
}

// opened counts the connection of a call at e: a new one, or one that had been idle.
func (x *Exchange) opened(e *endpoint.Endpoint, call upstream.Call) {
	if !call.Stale() {
		service.Of(e).Cells.At(x.slot).Open()
	}
}

// replaced counts a connection to e that had been idle, was dead and is replaced.
func (x *Exchange) replaced(e *endpoint.Endpoint) { service.Of(e).Cells.At(x.slot).Replace() }

// notRetried counts an attempt that failed with err and is not followed by another.
func (x *Exchange) notRetried(why record.NoRetry, err *Error) {
	if x.cell != nil && err.Class != Final {
		x.cell.NoRetry(why)
	}
}
