package exchange

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/message"
)

func TestRetryAfterOfAnEndpoint(t *testing.T) {
	const date = "Fri, 13 Nov 2026 10:00:00 GMT"
	for _, c := range []struct {
		status     int
		date, wait string
		named      bool // retry.on names 429
		want       time.Duration
	}{
		{503, "", "5", false, 5 * time.Second},
		{503, date, "Fri, 13 Nov 2026 10:00:07 GMT", false, 7 * time.Second},
		{503, date, "Fri, 13 Nov 2026 09:00:00 GMT", false, 0},
		{503, "", "Fri, 13 Nov 2026 10:00:07 GMT", false, 0},
		{503, "", "soon", false, 0},
		{503, "", "-5", false, 0},
		{503, "", "99999999999999999999", false, 0},
		{503, "", "", false, 0},
		{429, "", "5", false, 0},
		{429, "", "5", true, 5 * time.Second},
	} {
		s := &Service{}
		s.Retry.Statuses[429] = c.named
		a := &attempt{x: &Exchange{service: s}}
		a.response.Status = c.status
		if c.date != "" {
			a.response.Fields = append(a.response.Fields, message.NewField("Date", c.date))
		}
		if c.wait != "" {
			a.response.Fields = append(a.response.Fields, message.NewField("Retry-After", c.wait))
		}
		if got := a.asksToRest(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
