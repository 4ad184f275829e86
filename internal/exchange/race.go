package exchange

import (
	"sync"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// A race is two attempts of one exchange that ask side by side, each in a task of its own.
// The first one whose response head comes wins, and the exchange's own task delivers that
// response; the other one is interrupted, and says nothing about its endpoint.
//
//	own task:   begin, begin, wait ............ finish, join
//	attempt 1:  open, send, await ........ overtaken, hang up, settle
//	attempt 2:  open, send, await, wins
//
// While they ask, attempts touch nothing of the exchange that another task changes: they
// neither decide about further attempts nor write to the client, and interim responses are
// not passed on. mayRace says which requests allow that.
type race struct {
	x    *Exchange
	news engine.Signal // something below has changed

	mu     sync.Mutex // where tasks are goroutines they run at once
	asking int        // attempts that may still win
	winner *attempt
	calls  []engine.Interrupter // under way
	why    error                // the client left, or the proxy stops
}

// errOvertaken is the fault of an attempt beside which another one was faster.
var errOvertaken = &Error{Reason: reason.Overtaken, Side: BySelf}

// spare are attempts to run beside an exchange's own.
var spare = sync.Pool{New: func() any { return new(attempt) }}

// mayRace reports whether the request may be sent to two endpoints at once: twice does no
// harm, it has no content of which there is one only, and no connection of the client's own
// leads to an endpoint.
func (x *Exchange) mayRace() bool {
	q := &x.Request
	return q.Body == message.NoBody && idempotent(q.Method) && q.Upgrade == nil &&
		!x.forward.login && x.peer.Bonds.Endpoint(x.service.Service) == nil && !x.client.Sent()
}

// race makes an attempt at each of two endpoints side by side, and returns the exchange's own
// when both are over: with the outcome of the winner, or with its own if neither has won. It
// is for requests that mayRace; the endpoints were picked, as for try.
func (x *Exchange) race(first, second *endpoint.Endpoint) *attempt {
	own, other := &x.own, spare.Get().(*attempt)
	r := &race{x: x, news: x.rt.NewSignal(), asking: 2}
	own.begin(x, first)
	other.begin(x, second)
	own.race, other.race = r, r
	defer func() {
		x.took(own)
		x.took(other)
		if other == r.winner {
			own.fault, own.next = other.fault, other.next
		}
		other.race, other.x = nil, nil
		spare.Put(other)
	}()
	x.client.Watch(r)
	one, two := x.rt.Fork(func() { r.run(own) }), x.rt.Fork(func() { r.run(other) })
	defer two.Wait() // also when the other one's task has panicked
	defer one.Wait()
	w := r.wait()
	x.client.Unwatch(r)
	if w != nil {
		w.race = nil
		x.client.Watch(w.call)
		defer w.end()
		w.fault = errPanic // until it is known
		w.fault = w.finish()
	}
	return own
}

// run is the task of one attempt: up to its response head, and to its end unless it wins.
func (r *race) run(a *attempt) {
	won := false
	defer func() { // also when something panics
		if !won {
			a.end()
		}
		r.asked()
	}()
	fault := a.ask()
	if won = r.headed(a, fault == nil); won {
		return
	}
	if r.decided() {
		fault = errOvertaken
	}
	a.fault = fault
}

// headed notes that a's response head has come, if it has, and reports whether it was the
// first. Then the other calls are interrupted.
func (r *race) headed(a *attempt, came bool) (won bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !came || r.winner != nil {
		return false
	}
	r.winner = a
	for _, call := range r.calls {
		if call != engine.Interrupter(a.call) {
			call.Interrupt(errOvertaken)
		}
	}
	r.news.Set()
	return true
}

// asked notes that an attempt cannot win any more, or has won.
func (r *race) asked() {
	r.mu.Lock()
	r.asking--
	r.mu.Unlock()
	r.news.Set()
}

// wait returns when an attempt has won, or with nil when none can.
func (r *race) wait() *attempt {
	for {
		r.mu.Lock()
		w, asking := r.winner, r.asking
		r.mu.Unlock()
		if w != nil || asking == 0 {
			return w
		}
		r.news.Wait(0)
	}
}

func (r *race) decided() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.winner != nil
}

// Interrupt passes on that the client has left.
func (r *race) Interrupt(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = err
	for _, call := range r.calls {
		call.Interrupt(err)
	}
}

// enter has call interrupted with the race. false: it is decided, and call is not needed.
func (r *race) enter(call engine.Interrupter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	if r.why != nil {
		call.Interrupt(r.why)
	}
	return r.winner == nil
}

// leave ends enter: after it no interrupt is to come.
func (r *race) leave(call engine.Interrupter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.calls {
		if c == call {
			r.calls = append(r.calls[:i], r.calls[i+1:]...)
			return
		}
	}
}
