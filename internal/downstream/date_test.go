package downstream

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/message"
)

// A response is dated once: by its sender, else by the clock that is given, in GMT.
func TestDate(t *testing.T) {
	clock := func() time.Time { return time.Date(2026, 3, 1, 0, 30, 9, 0, time.FixedZone("", 3600)) }
	var d Dated
	var r message.Response
	d.Date(&r, clock)
	d.Date(&r, nil)
	if len(r.Fields) != 1 || string(r.Fields[0].Value) != "Sat, 28 Feb 2026 23:30:09 GMT" {
		t.Errorf("got %v", r.Fields)
	}
	var now message.Response
	d.Date(&now, nil)
	if at, err := time.Parse(dateLayout, string(now.Fields[0].Value)); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("without a clock: %v, %v", at, err)
	}
}
