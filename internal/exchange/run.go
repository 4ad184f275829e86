// Package exchange is the request path: the whole life of one client request and its
// response in straight-line code, over the runtime of internal/engine. Exchange.Run is where
// to begin reading. Its steps, and the files that have them:
//
//	admit, match    is there room; the route and its service       run.go, directory.go
//	hop, prepare    Max-Forwards, fields, filters, rewriting       hops.go, forward.go, filters.go
//	  choose        the service, of those of a split               split.go
//	start           the endpoint of the first attempt              run.go, bound.go
//	  await         waits for one that has a place                 wait.go
//	try             one attempt at one endpoint                    attempt.go
//	  ask           open a call, send, wait for the response head  upload.go, head.go
//	  finish        deliver head and content, or tunnel bytes      deliver.go, tunnel.go
//	again           whether to attempt again, and where            retry.go
//	answer, fail    responses that the proxy makes itself          reply.go, error.go
//	record          access log, spans and counters                 log.go, tracing.go, count.go
//
// One task runs an exchange from start to end. An attempt may fork a second task that sends
// the request's content (upload.go), and a hedge asks in a task of its own (race.go).
// Functions are called by the exchange's own task unless their comment says otherwise.
//
// A time.Duration is either an instant on the runtime's clock (Runtime.Now) or a length of
// time; comments say which where the name does not.
package exchange

import (
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/route"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/policy"
)

// An Exchange is one client request and its response. The zero value is ready for use. An
// Exchange may be used for any number of requests, one after the other, and keeps its
// buffers from one to the next. It belongs to the task that called Run until Run returns.
type Exchange struct {
	Request message.Request // filled in before Run, as what Client returns

	rt     engine.Runtime
	table  *Table
	client downstream.Client
	peer   *Peer
	route  *Route
	// service is the service of the route; nil until match has found it. Of a split it is the first
	// one until choose.
	service *Service

	began    time.Duration // instant
	over     time.Duration // instant at which the response was delivered; 0: not delivered
	deadline time.Duration // instant; of the whole exchange if its route has a timeout, else never

	choice   policy.Attempt     // argument of Service.Pick; has the endpoints that were tried
	next     *endpoint.Endpoint // where the next attempt goes
	token    uint64             // of the cookie, if the service is sticky; see there
	stuck    *endpoint.Endpoint // which the cookie names and the first attempt went to; likewise
	waiter   *service.Waiter    // nil: the exchange is in no queue
	priority service.Priority   // in the queue
	attempts int                // attempts that may have reached an endpoint, for Retry.Attempts
	tries    int                // all attempts, for TriesMax
	pauses   int                // pauses so far: see pause
	hedgeAt  time.Duration      // instant at which a hedge is due; 0: none will be
	racing   *race              // nil: no hedge is under way
	// hedgeable: the attempt under way is the first, and may be hedged.
	hedgeable bool
	admitted  bool       // counted by table.Admission
	filters   *filtering // nil: no route of this exchange has had filters
	content   content
	own       attempt // the attempt under way; its buffers are worth keeping, too
	forward   forward
	asked     asked
	trace     *tracing // nil: no exchange of x has been traced
	traced    bool     // trace is of this exchange
	rpc       rpc
	log       record.Trace
	lane      record.Lane
	slot      int               // of the cells that count the exchange and its attempts
	cell      *record.RouteCell // of the route; nil before that is known
}

// Client is where the client's side of the next request is to be put.
func (x *Exchange) Client() *downstream.Client { return &x.client }

// Run answers x.Request, which came from peer by way of x.Client. It returns when the response
// is complete or the exchange has failed, and the client has been given a response, an
// upgrade, or a Cut by then. It waits for as long as the exchange takes. rt is the runtime of the
// calling task; t is the table in force, which the exchange keeps to its end.
func (x *Exchange) Run(rt engine.Runtime, t *Table, peer *Peer) {
	x.begin(rt, t, peer)
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
	if err := x.start(); err != nil {
		x.fail(err)
		return
	}
	if err := x.attempt(); err != nil {
		x.fail(err)
	}
}

// attempt makes attempts, beginning with one at x.next, until the response of one is delivered, or
// none follows any more: then it returns the fault of the last one.
func (x *Exchange) attempt() *Error {
	var failed *Error // the attempt before
	for {
		a := x.try(x.next)
		if a == nil { // another request has taken its place since it was picked
			err := x.await(failed)
			if err != nil && err.Status != 0 && failed != nil {
				return failed // which says more than that there was no place for a retry
			}
			if err != nil {
				return err
			}
			continue
		}
		if failed = a.fault; failed == nil {
			return nil
		}
		if !x.again(a) {
			return a.fault
		}
	}
}

// admit reports whether limits.in_flight leaves room for the exchange, and counts it if a
// limit is set. record takes it off the count.
func (x *Exchange) admit() bool {
	most := x.table.InFlight
	x.admitted = most > 0 && x.table.Admission.Begin(most)
	return most == 0 || x.admitted
}

// Refuse answers a request whose head was not accepted because of err, which is or wraps an
// *http1.Error. Otherwise it is as Run.
func (x *Exchange) Refuse(rt engine.Runtime, t *Table, peer *Peer, err error) {
	x.begin(rt, t, peer)
	defer x.record()
	defer x.rescue()
	x.fail(clientError(err))
}

// begin resets everything that an earlier request has left in x, except buffers.
func (x *Exchange) begin(rt engine.Runtime, t *Table, peer *Peer) {
	x.rt, x.table, x.peer = rt, t, peer
	x.route, x.service, x.next = nil, nil, nil
	x.attempts, x.tries, x.pauses = 0, 0, 0
	x.hedgeAt, x.racing, x.hedgeable = 0, nil, false
	x.choice, x.priority = policy.Attempt{}, service.Normal
	x.admitted = false
	x.content.reset()
	x.began, x.over = rt.Now(), 0
	x.slot, x.cell = x.lane.Slot(rt.Worker()), nil
	x.rpc.is = false
	x.beginRPC()
	x.log.Reset()
	x.logRequest()
	if x.traced = t.Tracing != nil; x.traced {
		x.beginTrace()
	}
}

// never is the deadline of an exchange whose route has no timeout: each phase has a limit
// of its own.
const never = time.Duration(math.MaxInt64)

// match finds the route and its service, and sets the exchange's deadline.
func (x *Exchange) match() *Error {
	if err := x.find(); err != nil {
		return err
	}
	x.begunOn(x.route.Cells)
	x.deadline = never
	if x.route.Whole {
		x.deadline = x.began + x.route.Timeout
	}
	if x.rpc.is {
		if err := x.limitRPC(); err != nil {
			return err
		}
	}
	return x.enter()
}

// find finds the route and changes nothing else. It matches the path in normal form, but the
// endpoint gets the path as it came, unless the route rewrites it:
//
//	received      matched        sent to the endpoint
//	/a/%62//c     /a/b/c         /a/%62//c
//	/a/../b       /b             /a/../b
//	/a/%00        400 bad-path
//	/a\b          400 bad-path, unless the route is Lenient
func (x *Exchange) find() *Error {
	q := &x.Request
	norm, bad := x.forward.normalize(q.Path)
	i, found := -1, route.NotFound
	if bad == nil || bad == route.Backslash {
		i, found = x.routeFor(norm, q.Method)
	}
	if x.table.Preflights && (bad == nil || bad == route.Backslash) {
		i = x.preflight(norm, i)
	}
	if bad != nil && (i < 0 || !x.table.Routes[i].Lenient) {
		return &Error{Status: 400, Reason: reason.BadPath, Side: ByClient, Err: bad}
	}
	if i < 0 {
		return x.unmatched(found)
	}
	x.route = &x.table.Routes[i]
	return nil
}

// routeFor is the index of the route of the request, if it had that method.
func (x *Exchange) routeFor(norm, method []byte) (i int, found route.MethodState) {
	q, tree := &x.Request, x.table.Tree
	if tree.GRPC() && route.CallsGRPC(q) {
		return tree.MatchGRPC(x.peer.Listener, q.Host, norm, method)
	}
	return tree.MatchAt(x.peer.Listener, q.Host, norm, method)
}

// preflight is the index of the route that a preflight of CORS asks about, which is that of the
// request to come; i, that of its own method, if it is none or that route has no CORS.
func (x *Exchange) preflight(norm []byte, i int) int {
	method, ok := filter.IsPreflight(&x.Request)
	if !ok {
		return i
	}
	if asked, _ := x.routeFor(norm, method); asked >= 0 && x.table.Routes[asked].CORS {
		return asked
	}
	return i
}

// rewrite computes the key for consistent hashing, the lane and the priority, and then applies the rules of the
// route, so both come from what the client sent. clientIP is the client's address as text; empty: it
// has none.
func (x *Exchange) rewrite(clientIP []byte) {
	q := &x.Request
	if k := x.service.Key; k != nil {
		if v, ok := k.Of(q, x.forward.norm, clientIP); ok {
			x.choice.Key = policy.Hash(v)
		}
	}
	if x.route.Lane != 0 || x.service.Lanes != nil {
		x.choice.Lane, _ = x.wants(clientIP)
	}
	if s := x.service.Sticky; s != nil {
		x.token, x.stuck = s.token(q), nil
	}
	if p := x.service.Priorities; p != nil {
		x.priority = p.of(q, x.forward.norm, clientIP, x.table.trusts(x.peer.Addr))
	}
	x.forward.rules(q, x.route.Rules)
	q.KeepAlive = true // the connection to the endpoint is ours, whatever the client does with its own
}

// readyMax is how long a request may wait for a service that has only begun to know its
// endpoints.
const readyMax = 3 * time.Second

// first picks the endpoint of the first attempt: the one that the client's connection is bound
// to, or that its cookie names, or else the policy's choice; nil: there is none; policy.Wait: none has
// a place. If the service has just started, it waits until the endpoints of the first set have been
// probed, at most for readyMax.
func (x *Exchange) first() *endpoint.Endpoint {
	if e := x.bound(); e != nil {
		return e
	}
	x.choice.Seq = x.service.Seq() // one turn for the exchange: its retries take none
	if x.service.Sticky != nil {
		if x.token != 0 && !x.service.Settled() { // its endpoint may only lack a verdict
			x.service.AwaitReady(x.rt, min(x.deadline, x.rt.Now()+readyMax))
		}
		if e := x.stuckTo(); e != nil { // or policy.Wait: its client has a session there
			return e
		}
	}
	e := x.pick()
	if e == nil && !x.service.Settled() {
		x.service.AwaitReady(x.rt, min(x.deadline, x.rt.Now()+readyMax))
		e = x.pick()
	}
	return e
}

// pick asks the service for an endpoint that was not tried yet; nil: there is none; policy.Wait: none
// has a place. The caller
// must make an attempt at it, since the service may have counted it as a trial.
func (x *Exchange) pick() *endpoint.Endpoint {
	x.choice.Rand = x.rt.Rand()
	x.choice.Now = x.rt.Now()
	return x.service.Pick(&x.choice)
}

// record ends the exchange whatever its outcome: it releases the service, the filters and the
// place that admit took, and writes the counters and the line of the access log. It does not
// wait: the log is a ring that drops lines when it is full.
func (x *Exchange) record() {
	if x.waiter != nil { // something has panicked
		x.unqueue(service.QueueLeft)
	}
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
	if x.rpc.is {
		x.endRPC()
	}
	x.ended(took)
	if x.peer.Ended != nil {
		x.peer.Ended(x.service, x.route, &x.log)
	}
	if x.table.Sink != nil || x.leavesSpans(took) {
		x.put(took)
	}
}

// rescue is deferred by Run. It turns a panic into a 500, or into a cut response if the client
// has the head already. Other exchanges are not affected.
func (x *Exchange) rescue() {
	p := recover()
	if p == nil {
		return
	}
	x.logPanic(p, x.runningFilter())
	x.unfilter()
	x.fail(errPanic)
}

// logPanic logs the recovered panic p with its stack, and the name of the filter that
// panicked; "": none did. The deferred function that recovered p must call it directly, so that
// the stack is the one of the panic.
func (x *Exchange) logPanic(p any, name string) {
	text, stack, log := fmt.Sprint(p), string(debug.Stack()), x.table.Logger
	var more []any
	if name != "" {
		more = []any{"filter", name}
	}
	x.rt.Do(func() { log.Error("panic in an exchange", append(more, "panic", text, "stack", stack)...) }) // a log may block
}
