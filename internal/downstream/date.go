package downstream

import (
	"time"

	"github.com/poise-lb/poise/internal/message"
)

// Dated dates responses that their sender has not dated (RFC 9110 §6.6.1). Nearly all are dated,
// so that nothing is kept from one response to the next but the room for the value.
type Dated [len(dateLayout)]byte

// dateLayout is IMF-fixdate (RFC 9110 §5.6.7).
const dateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

var nameDate = []byte("Date")

// Date adds the field Date to r if there is none: what clock says, or time.Now if it is nil. The
// value is valid until the next call.
func (d *Dated) Date(r *message.Response, clock func() time.Time) {
	if _, ok := message.GetKind(r.Fields, message.Date); ok {
		return
	}
	if clock == nil {
		clock = time.Now
	}
	now := clock().UTC().AppendFormat(d[:0], dateLayout)
	r.Fields = append(r.Fields, message.Field{Name: nameDate, Value: now, Kind: message.Date})
}
