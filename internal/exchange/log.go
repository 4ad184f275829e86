package exchange

// The line of the access log. What it says of the request is that of the client: rules of the
// route may change the Request later, so begin keeps what they might change. Values of fields
// are copied only if the format asks for some; otherwise the log costs one copy into a ring.

import (
	"time"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/record"
)

// asked is what the client asked for, as received. The slices are those of the request.
type asked struct {
	host, path, query []byte
	heads             record.Heads // buffers for fields that the log asks for
}

// logRequest keeps what the log says of the request. begin calls it.
func (x *Exchange) logRequest() {
	x.asked.host, x.asked.path, x.asked.query = x.Request.Host, x.Request.Path, x.Request.Query
	if x.table.Sink.Captures() {
		x.asked.heads.Request(x.table.Sink, &x.Request)
	}
}

// logHead keeps what the log says of a response head, which is about to be sent.
func (x *Exchange) logHead(r *message.Response) {
	if x.table.Sink.Captures() {
		x.asked.heads.Response(r)
	}
}

// put writes the line of the exchange, which took so long. There is a Sink.
func (x *Exchange) put(took time.Duration) {
	sink := x.table.Sink
	line := record.Exchange{
		Client: x.peer.Addr, Protocol: x.client.Protocol(), Scheme: x.peer.Scheme, TLS: x.peer.TLS,
		Method: x.Request.Method, Host: x.asked.host, Path: x.asked.path, Query: x.asked.query,
		Duration: took, Generation: x.table.Generation,
		Trace: x.log,
	}
	if x.route != nil {
		line.Norm = x.forward.norm
	}
	if x.service != nil {
		line.Route, line.RouteName, line.Service = x.route.Index, x.route.Name, x.service.Name
	}
	if sink.Captures() {
		line.Heads = &x.asked.heads
	}
	if sink.Samples() {
		line.Rand = x.rt.Rand()
	}
	sink.Put(&line)
}
