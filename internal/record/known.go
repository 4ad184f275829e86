package record

// Text that many lines have in common: of a route, and of an attempt at an endpoint. Both are made
// once and found again by a small table, because escaping and joining them takes longer than all
// the rest of a line:
//
//	,"route":3,"route_name":"cart","service":"shop"
//	{"endpoint":"http://10.0.0.1:80","zone":"a","status":200,"reason":"","start_ms":

import (
	"strconv"

	"github.com/poise-lb/poise/internal/reason"
)

// known has the texts that were used last. Two that share a place displace each other. It belongs
// to the task that writes the lines, as the pen does.
type known struct {
	routes   [64]knownRoute
	attempts [256]knownAttempt
}

type knownRoute struct {
	index         int
	name, service string
	text          []byte // nil: none
}

type knownAttempt struct {
	scheme, address, zone, reason string
	status                        int
	text                          []byte // nil: none
}

// route is what lines say of the route and the service of l, which has one. The text is good until
// the next call.
func (k *known) route(l *slot) []byte {
	e := &k.routes[uint(l.route)%uint(len(k.routes))]
	if e.text != nil && e.index == l.route && same(e.service, l.service) && same(e.name, l.routeName) {
		return e.text
	}
	e.index, e.name, e.service = l.route, l.routeName, l.service
	t := strconv.AppendInt(append(e.text[:0], `,"route":`...), int64(l.route), 10)
	if l.routeName != "" {
		t = append(appendEscaped(append(t, `,"route_name":"`...), l.routeName), '"')
	}
	e.text = append(appendEscaped(append(t, `,"service":"`...), l.service), '"')
	return e.text
}

// attempt is what lines say of an attempt, up to its times. The text is good until the next call.
func (k *known) attempt(a *Attempt) []byte {
	at := uint(a.Status) + uint(len(a.Reason))*31
	if n := len(a.Address); n > 7 { // the digits by which endpoints differ: 10.0.1.17:8080
		at += uint(a.Address[n-1])*3 + uint(a.Address[n-2])*5 + uint(a.Address[n-4])*7 + uint(a.Address[n-6])*11 + uint(a.Address[n-7])*13
	}
	e := &k.attempts[at%uint(len(k.attempts))]
	if e.text != nil && e.status == a.Status && same(e.address, a.Address) && same(e.scheme, a.Scheme) && same(e.zone, a.Zone) && same(e.reason, a.Reason) {
		return e.text
	}
	e.scheme, e.address, e.zone, e.status, e.reason = a.Scheme, a.Address, a.Zone, a.Status, a.Reason
	e.text = append(a.appendTo(e.text[:0]), `,"start_ms":`...)
	return e.text
}

// same is a == b, which calls a function even for two that are empty, as most zones and reasons are.
func same(a, b string) bool { return len(a) == len(b) && (len(a) == 0 || a == b) }

// appendTo writes a as a JSON object without its times and its end.
func (a *Attempt) appendTo(b []byte) []byte {
	b = append(b, `{"endpoint":"`...)
	b = appendEscaped(b, a.Scheme)
	b = append(b, "://"...)
	b = appendEscaped(b, a.Address)
	b = append(b, '"')
	if a.Zone != "" {
		b = append(b, `,"zone":"`...)
		b = appendEscaped(b, a.Zone)
		b = append(b, '"')
	}
	if a.Status != 0 {
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(a.Status), 10)
	}
	b = append(b, `,"reason":"`...)
	b = appendEscaped(b, a.Reason)
	if a.Reason == reason.Status && a.Status != 0 {
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(a.Status), 10)
	}
	return append(b, '"')
}

// digits are the numbers from 0 to 99 with two digits each.
const digits = "0001020304050607080910111213141516171819" +
	"2021222324252627282930313233343536373839" +
	"4041424344454647484950515253545556575859" +
	"6061626364656667686970717273747576777879" +
	"8081828384858687888990919293949596979899"

// appendNumber writes n in decimal digits. Most numbers of a line are small.
func appendNumber(b []byte, n int64) []byte {
	switch {
	case uint64(n) < 10:
		return append(b, byte('0'+n))
	case uint64(n) < 1000:
		x := uint(n) % 100 * 2
		if n < 100 {
			return append(b, digits[x], digits[x+1])
		}
		return append(b, byte('0'+n/100), digits[x], digits[x+1])
	}
	return strconv.AppendInt(b, n, 10)
}
