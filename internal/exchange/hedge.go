package exchange

// Hedging: a request whose response head takes long is sent to a second endpoint as well, and the
// first response that comes is the client's ("The Tail at Scale", Dean and Barroso, CACM 2013). With
// hedge: {after: p95} at a service that answers 95 % of its requests within 12 ms:
//
//	 0 ms   A is asked
//	12 ms   no head: within the budget, B is asked too
//	15 ms   B answers: the client gets that. A is interrupted, and not blamed
//
// What may be sent twice is a matter of the method and of the route (Route.Hedge), and the content
// must be at hand: all of it has come and was kept. One hedge at most belongs to an exchange, to its
// first attempt; what fails is repeated as without it (retry.go).
//
// An exchange of a service without Hedge pays one comparison with nil.

import (
	"time"

	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/service"
)

// A Hedge is the configuration of hedges of a service. How many there may be is in Retry.Extra.
type Hedge struct {
	// After is how long the response head may take before a hedge is due. 0: Service.HedgeDue, the
	// live percentile; as long as that is not known there are none.
	After time.Duration
}

// Wait is how long the response head may take before a hedge is due; live is Service.HedgeDue. 0: it
// is not known.
func (h *Hedge) Wait(live time.Duration) time.Duration {
	if h.After > 0 {
		live = h.After
	}
	if live == 0 {
		return 0
	}
	return max(live, hedgeLeast)
}

// HedgeMethods says which requests of a route may be hedged.
type HedgeMethods uint8

// Which requests may be hedged.
const (
	HedgeSafe       HedgeMethods = iota // GET, HEAD, OPTIONS, TRACE
	HedgeNone                           // none
	HedgeIdempotent                     // also PUT and DELETE
	HedgeAll                            // every method: the operator says that endpoints do not mind
)

// Covers reports whether a method may be hedged.
func (h HedgeMethods) Covers(method []byte) bool {
	switch h {
	case HedgeSafe:
		switch string(method) {
		case "GET", "HEAD", "OPTIONS", "TRACE":
			return true
		}
		return false
	case HedgeIdempotent:
		return idempotent(method)
	}
	return h == HedgeAll
}

const (
	// hedgeLeast is the least time before a hedge: below it the clock is too coarse.
	hedgeLeast = time.Millisecond
	// hedgeConnect bounds connecting for a hedge: what takes longer wins no race, and the exchange
	// cannot end before it does.
	hedgeConnect = 200 * time.Millisecond
)

// mayHedge reports whether the request may be sent to two endpoints at once: the route allows it
// for the method, it asks for no tunnel, and the client's connection is not bound to a connection of
// this service, and will not be.
func (x *Exchange) mayHedge() bool {
	q := &x.Request
	return x.tries == 0 && x.route.Hedge.Covers(q.Method) && q.Upgrade == nil &&
		!x.forward.login && !x.service.Announces && x.peer.Bonds.Endpoint(x.service.Service) == nil
}

// hedgeAfter is how long the response head may take before a hedge is due; 0: it is not known.
func (x *Exchange) hedgeAfter() time.Duration { return x.service.Hedge.Wait(x.service.HedgeDue()) }

// awaitHedge sets x.hedgeAt, when a hedge beside a is due, and returns the earlier of that and look.
func (a *attempt) awaitHedge(look time.Duration) time.Duration {
	x := a.x
	after := x.hedgeAfter()
	if after == 0 || a.race != nil {
		return look
	}
	x.hedgeAt = a.began + after
	return min(look, x.hedgeAt)
}

// hedge begins a second attempt beside a, if that is due at the instant now and allowed. sent is the
// instant at which the content was sent; over false: it is still being sent. It returns the earlier
// of look and the instant at which a hedge is due.
func (a *attempt) hedge(look, now, sent time.Duration, over bool) time.Duration {
	x := a.x
	if over {
		x.hedgeAt = max(x.hedgeAt, sent+x.hedgeAfter())
	} else {
		x.hedgeAt = now + max(x.hedgeAfter(), hedgeLeast)
	}
	if now < x.hedgeAt {
		return min(look, x.hedgeAt)
	}
	x.hedgeAt = 0
	if !a.replayable() {
		x.service.Hedged(service.HedgeNoContent)
		return look
	}
	if !x.service.TakeExtra(now, extra.Hedge, x.service.Retry.Extra) {
		x.service.Hedged(service.HedgeNoBudget)
		return look
	}
	x.choice.Rand, x.choice.Now = x.rt.Rand(), now
	other := spare.Get().(*attempt)
	if e := x.service.PickHedge(&x.choice); e == nil || !other.begin(x, e) {
		spare.Put(other)
		x.service.ReturnExtra(extra.Hedge)
		x.service.Hedged(service.HedgeNoEndpoint)
		return look
	}
	r := &race{x: x, other: other, changed: x.rt.NewSignal(), asking: 2}
	if x.rpc.is && x.route.Whole {
		x.deadline = x.rpcDeadline(now) // which none of both changes from now on
	}
	x.client.Unwatch(a.call)
	r.calls = append(r.calls, a.call)
	a.race = r
	other.race = r
	x.client.Watch(r)
	x.racing, r.task = r, x.rt.Fork(r.run)
	return look
}

// replayable reports whether all of the request is at hand: it has no content, or the content has
// been sent to its end and kept.
func (a *attempt) replayable() bool {
	p, x := &a.upload, a.x
	if x.Request.Body == message.NoBody {
		return true
	}
	sentAll := p.task == nil && p.state == sent && p.err == nil && p.fault.Load() == nil || p.task != nil && p.ended.Load()
	return sentAll && !x.content.lost()
}

// sendKept sends the content that was kept, which is all of it: see replayable.
func (a *attempt) sendKept() {
	p, x := &a.upload, a.x
	if len(x.content.kept) > 0 {
		p.err = a.call.Write(x.content.kept)
	}
	if err := a.call.End(x.client.Trailers()); err != nil {
		p.err = err
	}
}

// timed tells the service how long the first attempt of an exchange that may be hedged took, or, if
// it was overtaken or timed out, that it took so long at least.
func (x *Exchange) timed(a *attempt) {
	from := a.began
	if at := time.Duration(a.upload.over.Load()); at > from {
		from = at
	}
	switch f := a.fault; {
	case a.headed != 0:
		x.service.Timed(x.slot, a.headed-from)
	case f == errOvertaken, f != nil && f.Class == Timeout:
		x.service.Timed(x.slot, a.began+a.log.Time-from)
	}
}
