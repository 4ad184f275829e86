package exchange

// Max-Forwards (RFC 9110 §7.6.2): OPTIONS and TRACE can ask a proxy on the path rather than the
// endpoint. Each hop counts the field down, and the one that receives 0 answers:
//
//	OPTIONS, Max-Forwards: 2    goes on with Max-Forwards: 1
//	OPTIONS, Max-Forwards: 0    200 from this proxy
//	TRACE, Max-Forwards: 0      501: an echo would show fields that were added on the way
//	GET, Max-Forwards: 0        goes on unchanged: the field has no meaning for other methods

import (
	"strconv"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// The replies to requests that have no hop left.
var (
	errLastHop      = &Error{Status: 200, Reason: reason.LastHop, Side: ByClient}
	errLastHopTrace = &Error{Status: 501, Reason: reason.LastHop, Side: ByClient}
)

var nameMaxForwards = []byte("Max-Forwards")

// hop counts Max-Forwards of the request down; nil: the request goes on. The Error is the reply to
// a request that has no hop left. A value that is no number is left as it is.
func (x *Exchange) hop() *Error {
	q := &x.Request
	trace := string(q.Method) == "TRACE"
	if !trace && string(q.Method) != "OPTIONS" {
		return nil
	}
	v, ok := message.GetKind(q.Fields, message.MaxForwards)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(string(v), 10, 63)
	switch {
	case err != nil:
		return nil
	case n == 0 && trace:
		return errLastHopTrace
	case n == 0:
		return errLastHop
	}
	message.Drop(q.Fields, message.MaxForwards)
	q.Fields = append(q.Fields, message.Field{
		Name: nameMaxForwards, Value: strconv.AppendUint(nil, n-1, 10), Kind: message.MaxForwards,
	})
	return nil
}
