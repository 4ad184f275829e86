package exchange

import (
	"strconv"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// Answers to requests that may go no further.
var (
	errLastHop      = &Error{Status: 200, Reason: reason.LastHop, Side: ByClient}
	errLastHopTrace = &Error{Status: 501, Reason: reason.LastHop, Side: ByClient} // we reflect nothing
)

var nameMaxForwards = []byte("Max-Forwards")

// hop counts Max-Forwards down, and returns how to answer a request that has none left:
// OPTIONS and TRACE ask by it for somebody on their way, to other methods it means nothing
// (RFC 9110 §7.6.2). What is no number passes as it came.
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
