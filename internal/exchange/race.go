package exchange

// A race is two attempts of one exchange that ask side by side, each in a task of its own. The
// attempt whose response head comes first wins, and the exchange's own task delivers that
// response. The other attempt is interrupted and does not count for or against its endpoint.
//
//	own task:   begin, begin, wait ............ finish, join
//	attempt 1:  open, send, await ........ overtaken, hang up, settle
//	attempt 2:  open, send, await, wins
//
// While they ask, attempts change nothing in the exchange that another task uses: they decide
// nothing about further attempts, write nothing to the client, and pass no interim responses on.
// mayRace says which requests allow that. Nothing in the configuration starts a race yet:
// hedging will.

import (
	"sync"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// A race is the state that both attempts and the exchange's own task share.
type race struct {
	x       *Exchange
	changed engine.Signal // set when asking or winner has changed

	mu     sync.Mutex           // guards what follows; held for some instructions
	asking int                  // attempts that may still win
	winner *attempt             // nil: none has won
	calls  []engine.Interrupter // the calls under way
	why    error                // the client left, or the proxy stops; nil: neither
}

// errOvertaken is the fault of the attempt that has lost a race.
var errOvertaken = &Error{Reason: reason.Overtaken, Side: BySelf}

// spare has attempts for use beside an exchange's own one.
var spare = sync.Pool{New: func() any { return new(attempt) }}

// mayRace reports whether the request may be sent to two endpoints at once: it is idempotent, has
// no content (the client sends that once only), asks for no tunnel, and the client's connection
// is not bound to a connection of this service, and will not be.
func (x *Exchange) mayRace() bool {
	q := &x.Request
	return q.Body == message.NoBody && idempotent(q.Method) && q.Upgrade == nil &&
		!x.forward.login && !x.service.Announces && x.peer.Bonds.Endpoint(x.service.Service) == nil && !x.client.Sent()
}

// race makes an attempt at each of two endpoints side by side. When both are over it returns the
// exchange's own attempt, with the outcome of the winner, or with its own if neither has won.
// The caller has checked mayRace and picked both endpoints, as for try.
func (x *Exchange) race(first, second *endpoint.Endpoint) *attempt {
	own, other := &x.own, spare.Get().(*attempt)
	r := &race{x: x, changed: x.rt.NewSignal(), asking: 2}
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
		w.fault = errPanic // stays if finish panics
		w.fault = w.finish()
	}
	return own
}

// run is the task of one attempt. It asks and, unless a has won, ends the attempt; the winner is
// left to the exchange's own task.
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

// headed reports whether a has won: came says whether its response head came, and no other came
// before. If so it interrupts the other call.
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
	r.changed.Set()
	return true
}

// asked records that an attempt has won or cannot win any more.
func (r *race) asked() {
	r.mu.Lock()
	r.asking--
	r.mu.Unlock()
	r.changed.Set()
}

// wait waits until an attempt has won, and returns it; nil: neither can win any more.
func (r *race) wait() *attempt {
	for {
		r.mu.Lock()
		w, asking := r.winner, r.asking
		r.mu.Unlock()
		if w != nil || asking == 0 {
			return w
		}
		r.changed.Wait(0)
	}
}

// decided reports whether an attempt has won. Any task of the race may call it.
func (r *race) decided() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.winner != nil
}

// Interrupt implements engine.Interrupter for the watch of the client: it interrupts all calls,
// also those that enter later.
func (r *race) Interrupt(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = err
	for _, call := range r.calls {
		call.Interrupt(err)
	}
}

// enter registers call, which is interrupted if the other attempt wins or the client leaves;
// leave must follow. false: the race is decided, and call is not needed.
func (r *race) enter(call engine.Interrupter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	if r.why != nil {
		call.Interrupt(r.why)
	}
	return r.winner == nil
}

// leave removes call: after it no interrupt is still to come.
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
