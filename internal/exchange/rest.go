package exchange

// Retry-After of an endpoint (RFC 9110 §10.2.3): the endpoint rests for as long as it asks, and
// requests go to others meanwhile (Service.Settle).
//
//	503, Retry-After: 5                                        5 s
//	503, Retry-After: Fri, 13 Nov 2026 10:00:07 GMT            7 s
//	     Date: Fri, 13 Nov 2026 10:00:00 GMT
//	429, Retry-After: 5       where retry.on names 429         5 s
//	429, Retry-After: 5       else                             none: it is about this client
//
// An instant counts from the Date of the same response, so no clock has to agree with another.

import (
	"strconv"
	"time"

	"github.com/poise-lb/poise/internal/message"
)

// asksToRest is how long the endpoint asks to be left alone, by a response head that has just come;
// 0: it does not.
func (a *attempt) asksToRest() time.Duration {
	r := &a.response
	if r.Status == 429 && !a.x.service.Retry.Statuses[429] {
		return 0
	}
	v, ok := message.GetKind(r.Fields, message.RetryAfter)
	if !ok {
		return 0
	}
	if seconds, err := strconv.ParseUint(string(v), 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	date, _ := message.GetKind(r.Fields, message.Date)
	from, err1 := time.Parse(httpDate, string(date))
	until, err2 := time.Parse(httpDate, string(v))
	if err1 != nil || err2 != nil {
		return 0
	}
	return max(until.Sub(from), 0)
}

// httpDate is the format of dates (RFC 9110 §5.6.7).
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"
