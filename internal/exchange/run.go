// Package exchange is the hallway: the whole life of one client request and its
// response in straight-line code, over the runtime of internal/engine. Run is where to
// begin reading.
package exchange

import (
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/route"
	"github.com/poise-lb/poise/policy"
)

// An Exchange is one client request and its response. The zero value is ready; it is
// used again for the next request of a connection, since its buffers are worth keeping.
type Exchange struct {
	Request message.Request // filled in before Run

	rt     engine.Runtime
	table  *Table
	client downstream.Client
	peer   *Peer
	route  *Route
	// service is the one the route leads to; nil before that is known.
	service *Service

	began    time.Duration
	over     time.Duration // when the response had been delivered; 0: it was not
	deadline time.Duration // of the whole exchange, as its route says; never, if it says nothing

	choice   policy.Attempt     // the question put to the service; knows which endpoints were tried
	next     *endpoint.Endpoint // the next attempt goes there
	attempts int                // of those that may have reached an endpoint
	tries    int                // all attempts
	pauses   int                // before the same endpoints were tried again
	admitted bool               // counted by table.Admission
	filters  *filtering         // nil: no route of this exchange has had filters
	content  content
	own      attempt // the attempt under way; its buffers are worth keeping, too
	forward  forward
	asked    struct{ host, path []byte } // as they came; rules may change the request's
	log      record.Trace
	lane     record.Lane
	slot     int               // of the cells that count the exchange and its attempts
	cell     *record.RouteCell // of the route; nil before that is known
}

// Run answers x.Request, which came from peer by way of client.
func (x *Exchange) Run(rt engine.Runtime, t *Table, peer *Peer, client downstream.Client) {
	x.begin(rt, t, peer, client)
	defer x.record()
	defer x.rescue()

	if !x.admit() {
		x.fail(errOverloaded)
		return
	}
	if err := x.match(); err != nil {
		x.fail(err)
		return
	}
	if err := x.hop(); err != nil {
		x.fail(err)
		return
	}
	if r := x.prepare(); r != nil {
		x.answer(r)
		return
	}
	if x.next = x.first(); x.next == nil {
		x.fail(x.unavailable())
		return
	}
	for {
		a := x.try(x.next)
		if a.fault == nil {
			return
		}
		if !x.again(a) {
			x.fail(a.fault)
			return
		}
	}
}

// admit reports whether there is room for the exchange among those under way. record gives
// the place back.
func (x *Exchange) admit() bool {
	most := x.table.InFlight
	x.admitted = most > 0 && x.table.Admission.Begin(most)
	return most == 0 || x.admitted
}

// Refuse answers a request whose head could not be read.
func (x *Exchange) Refuse(rt engine.Runtime, t *Table, peer *Peer, client downstream.Client, err error) {
	x.begin(rt, t, peer, client)
	defer x.record()
	defer x.rescue()
	x.fail(clientError(err))
}

func (x *Exchange) begin(rt engine.Runtime, t *Table, peer *Peer, client downstream.Client) {
	x.rt, x.table, x.peer, x.client = rt, t, peer, client
	x.route, x.service, x.next = nil, nil, nil
	x.attempts, x.tries, x.pauses = 0, 0, 0
	x.choice = policy.Attempt{}
	x.admitted = false
	x.content.reset()
	x.began, x.over = rt.Now(), 0
	x.slot, x.cell = x.lane.Slot(rt.Worker()), nil
	x.log.Reset()
	x.asked.host, x.asked.path = x.Request.Host, x.Request.Path
}

// never is the deadline of an exchange whose route has no timeout: each phase has a limit
// of its own.
const never = time.Duration(math.MaxInt64)

// match finds the route and its service. Matching is on the normalised path; what is forwarded stays raw
// unless the route rewrites it.
func (x *Exchange) match() *Error {
	q := &x.Request
	norm, bad := x.forward.normalize(q.Path)
	i, found := -1, route.NotFound
	if bad == nil || bad == route.Backslash {
		i, found = x.table.Tree.Match(q.Host, norm, q.Method)
	}
	if bad != nil && (i < 0 || !x.table.Routes[i].Lenient) {
		return &Error{Status: 400, Reason: reason.BadPath, Side: ByClient, Err: bad}
	}
	if i < 0 {
		return x.unmatched(found)
	}
	x.route = &x.table.Routes[i]
	x.begunOn(x.route.Cells)
	x.deadline = never
	if x.route.Whole {
		x.deadline = x.began + x.route.Timeout
	}
	return x.enter()
}

// rewrite computes the request's key and applies the rules of the route.
func (x *Exchange) rewrite(clientIP []byte) {
	q := &x.Request
	if k := x.service.Key; k != nil {
		if v, ok := k.Of(q, x.forward.norm, clientIP); ok {
			x.choice.Key = policy.Hash(v)
		}
	}
	x.forward.rules(q, x.route.Rules)
	q.KeepAlive = true // the connection to the endpoint is ours, whatever the client does with its own
}

// readyMax is how long a request may wait for a service that has only begun to know its
// endpoints.
const readyMax = 3 * time.Second

// first picks the endpoint of the first attempt: the one that the client is bound to, if
// there is one. A service that was started a moment ago is given the time to learn of its
// endpoints and to probe them.
func (x *Exchange) first() *endpoint.Endpoint {
	if e := x.bound(); e != nil {
		return e
	}
	x.choice.Seq = x.service.Seq() // one turn for the exchange: its retries take none
	e := x.pick()
	if e == nil && !x.service.Settled() {
		x.service.AwaitReady(x.rt, min(x.deadline, x.rt.Now()+readyMax))
		e = x.pick()
	}
	return e
}

// pick asks the service for an endpoint that was not tried yet; nil: there is none.
func (x *Exchange) pick() *endpoint.Endpoint {
	x.choice.Rand = x.rt.Rand()
	x.choice.Now = x.rt.Now()
	return x.service.Pick(&x.choice)
}

// record hands the exchange to the access log and to the counters, and lets go of the
// service.
func (x *Exchange) record() {
	x.leave()
	x.endFilters()
	if x.admitted {
		x.table.Admission.End()
	}
	x.log.BytesIn = x.content.bytes
	if x.over == 0 {
		x.over = x.rt.Now()
	}
	took := x.over - x.began
	x.ended(took)
	if x.table.Sink == nil {
		return
	}
	line := record.Exchange{
		Client: x.peer.Addr, Protocol: x.client.Protocol(),
		Method: x.Request.Method, Host: x.asked.host, Path: x.asked.path,
		Duration: took,
		Trace:    x.log,
	}
	if x.service != nil {
		line.Route, line.RouteName, line.Service = x.route.Index, x.route.Name, x.service.Name
	}
	x.table.Sink.Put(&line)
}

// rescue turns a panic of ours into a 500, or into a cut response if it is too late for
// that; the other exchanges go on.
func (x *Exchange) rescue() {
	p := recover()
	if p == nil {
		return
	}
	x.logPanic(p, x.runningFilter())
	x.unfilter()
	x.fail(errPanic)
}

// logPanic says that p was recovered, and from which filter; "": from none. It is called by
// the function that has recovered it, for the stack.
func (x *Exchange) logPanic(p any, name string) {
	text, stack, log := fmt.Sprint(p), string(debug.Stack()), x.table.Logger
	var more []any
	if name != "" {
		more = []any{"filter", name}
	}
	x.rt.Do(func() { log.Error("panic in an exchange", append(more, "panic", text, "stack", stack)...) }) // a log may block
}
