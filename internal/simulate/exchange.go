package simulate

// The life of a request in a proxy: pick, attempt, settle, and again. It follows
// internal/exchange step by step, without what carries bytes: which failure may be repeated, and
// where, is the table at the top of internal/exchange/retry.go, and the picks are those of package
// service. An attempt is a value of its own, because a request may have two under way: see hedge.go.

import (
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/policy"
)

// classes are the results of attempts as package exchange knows them.
var classes = [...]exchange.Class{
	refused: exchange.Connect, reset: exchange.Reset, rescued: exchange.Ejected, timedOut: exchange.Timeout, failed: exchange.Status,
}

// A proxy is one load balancer.
type proxy struct {
	service *service.Service
	retry   *exchange.Retry
	hedge   *exchange.Hedge // nil: none
	ranks   bool            // requests have priorities in the queue
}

// A request is one of a client, until it is answered.
type request struct {
	proxy      *proxy
	choice     policy.Attempt
	arrived    time.Duration
	deadline   time.Duration
	lot        uint64
	took       time.Duration // how long it takes as a log has it; 0: its lot decides
	repeatable bool
	class      service.Priority // as the load has it
	tries      int              // attempts so far
	attempts   int              // those that have reached an endpoint
	pauses     int
	why        result // of the attempt before a pause
	own        result // of its own attempt, if a hedge beside that goes on

	// The queue of the service.
	waited bool          // it was there
	again  bool          // it is there for an attempt after a failure
	joined time.Duration // instant at which it came there
	queued time.Duration // for how long it was
}

// An attempt is one try of a request at one endpoint.
type attempt struct {
	gen      uint32 // of this slot
	request  int32
	endpoint *endpoint.Endpoint // nil: the slot is free
	server   *server
	began    time.Duration
	fate     fate

	// Hedges.
	timed  bool  // the service learns how long it takes
	hedge  bool  // it is one
	alone  bool  // the other attempt of its request has failed while both were under way
	beside int32 // slot of that other attempt, from 1; 0: there is none
}

// An outcome is what became of a request.
type outcome uint8

// The outcomes of requests.
const (
	Served      outcome = iota
	Unavailable         // 503: no endpoint could be picked
	Failed              // 502 or 503 of an endpoint, and nothing was left to try
	TimedOut            // 504
	Dropped             // 503: there was no place for it, nor in the queue, or not in time
	outcomes    = iota
)

// arrive is the beginning of a request.
func (w *world) arrive(a *arrival) {
	p := &w.proxies[0]
	if len(w.proxies) > 1 {
		p = &w.proxies[mix(a.lot^0x5851f42d4c957f2d)%uint64(len(w.proxies))]
	}
	n := w.requests.take()
	r := &w.requests.all[n]
	*r = request{proxy: p, arrived: w.now, deadline: w.now + w.scenario.Timeout, lot: a.lot, took: a.took, repeatable: a.repeatable, class: w.scenario.Load.class(a.lot)}
	if !w.keyed {
		a.key = 0
	}
	r.choice = policy.Attempt{Key: a.key, Rand: w.tasks.Rand(), Seq: p.service.Seq(), Now: w.now}
	e := p.service.Pick(&r.choice)
	switch {
	case e == nil:
		w.finish(n, Unavailable, nil)
	case e != policy.Wait:
		w.begin(n, e)
	case !w.wait(n, false):
		w.finish(n, Dropped, nil)
	}
}

// begin makes an attempt of request n at e, and a hedge beside the first one if that takes long.
func (w *world) begin(n int32, e *endpoint.Endpoint) {
	i, ok := w.start(n, e)
	switch {
	case !ok:
		w.finish(n, Failed, nil)
	case w.requests.all[n].tries == 1:
		w.awaitHedge(i)
	}
}

// start makes an attempt of request n at e, and returns its slot; false: there is no place for it.
func (w *world) start(n int32, e *endpoint.Endpoint) (int32, bool) {
	r := &w.requests.all[n]
	if !r.proxy.service.Begin(e, w.now) {
		return 0, false
	}
	r.tries++
	r.choice.Tried.Add(e)
	s := service.Of(e).Attached.(*server)
	s.count(w.now, 1)
	i := w.attempts.take()
	a := &w.attempts.all[i]
	*a = attempt{gen: a.gen + 1, request: n, endpoint: e, server: s, began: w.now, fate: s.take(w.now, w.scenario.Network, r)}
	if r.arrived >= w.from {
		w.report.Attempts++
	}
	by := r.deadline
	if most := r.proxy.retry.AttemptTimeout; most > 0 {
		by = min(by, w.now+most)
	}
	if a.fate.at > by {
		a.fate.at, a.fate.result = by, timedOut
	}
	w.events.add(event{at: a.fate.at, kind: evEnd, n: i, gen: a.gen})
	if a.fate.at > w.now+exchange.LookEvery {
		w.events.add(event{at: w.now + exchange.LookEvery, kind: evLook, n: i, gen: a.gen})
	}
	return i, true
}

// end is the end of attempt i, whose fate has come.
func (w *world) end(i int32) {
	a := w.attempts.all[i]
	r := &w.requests.all[a.request]
	if a.beside > 0 && a.fate.result != answered {
		w.outlive(i)
		return
	}
	why := a.fate.result // what decides about another attempt
	if a.hedge && a.alone {
		why = r.own
	}
	var next *endpoint.Endpoint
	if why == failed && w.mayRepeat(r, failed, 1) && w.affords(r, failed) {
		if next = w.elsewhere(r, failed, 1); next == nil { // while the attempt is under way, as in exchange.attempt.unwanted
			w.spares(r, failed)
		}
	}
	w.settle(&a, r)
	w.release(i)
	if a.fate.result != refused {
		r.attempts++
	}
	switch {
	case a.beside > 0:
		w.overtake(&a)
	case a.alone:
		w.hedged(r, &a)
	}
	if a.fate.result == answered {
		w.finish(a.request, Served, &a)
		return
	}
	pauses := false
	if why != failed {
		next, pauses = w.again(a.request, why)
	}
	switch {
	case next != nil:
		w.begin(a.request, next)
	case pauses:
	case why == timedOut:
		w.finish(a.request, TimedOut, &a)
	default:
		w.finish(a.request, Failed, &a)
	}
}

// settle reports the outcome of an attempt, as exchange.attempt.settle does.
func (w *world) settle(a *attempt, r *request) {
	o := endpoint.Outcome{Now: w.now, Began: a.began}
	switch a.fate.result {
	case answered, failed:
		o.Latency = w.now - a.began
	case refused:
		o.Unreached, o.Refused = true, true
	}
	counts := a.fate.result != overtaken
	o.Failed = counts && a.fate.result != answered
	r.proxy.service.Settle(a.endpoint, o, counts)
	a.server.count(w.now, -1)
	if a.timed && (a.fate.result == answered || a.fate.result == timedOut || !counts) {
		r.proxy.service.Timed(0, w.now-a.began)
	}
	if r.arrived >= w.from {
		a.server.report.Attempts++
		if o.Failed {
			a.server.report.Failures++
		}
	}
}

// look is a look at attempt i, which has waited for a second or more: if its endpoint was ejected
// meanwhile and there is another one, the request goes there.
func (w *world) look(i int32) {
	a := &w.attempts.all[i]
	r := &w.requests.all[a.request]
	if a.beside == 0 && r.proxy.service.Ejected(a.endpoint) && w.mayRepeat(r, rescued, 1) && w.affords(r, rescued) {
		if next := w.elsewhere(r, rescued, 1); next == nil {
			w.spares(r, rescued)
		} else {
			a.fate.result, a.fate.at = rescued, w.now
			old := *a
			w.settle(&old, r)
			w.release(i)
			r.attempts++
			w.begin(old.request, next)
			return
		}
	}
	if w.now+exchange.LookEvery < a.fate.at {
		w.events.add(event{at: w.now + exchange.LookEvery, kind: evLook, n: i, gen: a.gen})
	}
}

// again returns the endpoint of the next attempt of request n after a failure; nil: there is none.
// pauses: the request pauses, and resume goes on with it.
func (w *world) again(n int32, why result) (next *endpoint.Endpoint, pauses bool) {
	r := &w.requests.all[n]
	if !w.mayRepeat(r, why, 0) || !w.affords(r, why) {
		return nil, false
	}
	switch next = w.another(r, why, 0); next {
	case nil:
	case policy.Wait:
		if r.why = why; w.wait(n, true) {
			return nil, true
		}
		w.spares(r, why)
		return nil, false
	default:
		return next, false
	}
	pause := r.proxy.retry.SameAfter << r.pauses
	if pause <= 0 || r.pauses >= exchange.PausesMax || why != refused && why != reset || w.now+pause >= r.deadline {
		w.spares(r, why)
		return nil, false
	}
	r.pauses++
	r.why = why
	w.events.add(event{at: w.now + pause, kind: evAgain, n: n})
	return nil, true
}

// resume is the end of a pause of request n.
func (w *world) resume(n int32) {
	r := &w.requests.all[n]
	r.choice.Tried = policy.Tried{}
	switch next := w.another(r, r.why, 0); {
	case next == policy.Wait && w.wait(n, true):
		return
	case next != nil && next != policy.Wait:
		w.begin(n, next)
		return
	}
	w.spares(r, r.why)
	w.finish(n, Failed, nil)
}

// affords is exchange.Exchange.affords: it takes an attempt after a failure out of the budget.
func (w *world) affords(r *request, why result) bool {
	return why == refused || r.proxy.service.TakeExtra(w.now, extra.Retry, r.proxy.retry.Extra)
}

// spares is exchange.Exchange.spares: it gives back what affords has taken.
func (w *world) spares(r *request, why result) {
	if why != refused {
		r.proxy.service.ReturnExtra(extra.Retry)
	}
}

// mayRepeat is exchange.Exchange.mayRepeat. under is 1 while the attempt that failed is still
// under way, so that r.attempts does not have it.
func (w *world) mayRepeat(r *request, why result, under int) bool {
	c := r.proxy.retry
	if w.now >= r.deadline || r.tries >= exchange.TriesMax {
		return false
	}
	if !c.Names(classes[why], 503) {
		return false
	}
	if why == refused {
		return c.Attempts != 1
	}
	most, _ := c.Most()
	return r.attempts+under < most && r.repeatable
}

// elsewhere is another for an attempt that is decided while the one before is under way: it does not
// wait.
func (w *world) elsewhere(r *request, why result, under int) *endpoint.Endpoint {
	if e := w.another(r, why, under); e != policy.Wait {
		return e
	}
	return nil
}

// another is exchange.Exchange.another. It may be policy.Wait.
func (w *world) another(r *request, why result, under int) *endpoint.Endpoint {
	full := r.choice.Tried.Len() >= policy.AttemptsMax
	r.choice.Rand, r.choice.Now = w.tasks.Rand(), w.now
	sure := r.proxy.retry.Attempts > 0 || why == refused
	return r.proxy.service.PickAgain(&r.choice, full || !sure && r.attempts+under >= exchange.AttemptsSure)
}
