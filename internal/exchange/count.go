package exchange

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/service"
)

// What an exchange counts, for the metrics. The cells hang on the compiled route and on the
// member, so counting costs no lookup; see record.Cells. Each of these functions is called
// by the exchange's own task.

// begunOn counts the exchange as begun on these cells, its route's; nil counts nothing.
func (x *Exchange) begunOn(cells *record.Cells[record.RouteCell]) {
	if cells != nil {
		x.cell = cells.At(x.slot)
		x.cell.Begin()
	}
}

// ended counts the end of the exchange: of one that found no route as unmatched.
func (x *Exchange) ended(took time.Duration) {
	if x.cell == nil {
		x.begunOn(x.table.Unmatched)
	}
	if x.cell != nil {
		x.cell.End(&x.log, took, x.tries)
	}
}

// attempted counts an attempt at e that ended. headed is how long the response head took, 0:
// none came; failed: by the endpoint's fault.
func (x *Exchange) attempted(e *endpoint.Endpoint, a *record.Attempt, headed time.Duration, failed bool) {
	service.Of(e).Cells.At(x.slot).Attempt(a, headed, failed)
}
