package exchange

// A race is two attempts of one exchange that ask side by side: the exchange's own one, and a hedge
// that was begun because the first took long (hedge.go), in a task of its own. The attempt whose
// response head comes first wins, unless that head is a failure that the other one may not have.
// The exchange's own task delivers the response. The other attempt is interrupted and does not
// count for or against its endpoint.
//
//	own task:   open, send, await ...... overtaken, hang up, settle; finish of the hedge, join
//	hedge:                      open, send, await, wins
//
// What becomes of the two:
//
//	first               hedge               the client gets
//	200                 -                   200 of the first; the hedge is interrupted
//	-                   200                 200 of the hedge; the first is interrupted
//	503                 200, later          200: the 503 waits for the other one
//	broken connection   200, later          200
//	503                 broken connection   503, or that of another attempt, as without a race
//
// While both ask, neither changes anything in the exchange that the other's task uses: they decide
// nothing about further attempts, and write nothing to the client but interim responses, of one of
// them (speaks): of the one whose interim response comes first, as long as it may win.

import (
	"errors"
	"sync"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/reason"
	"github.com/poise-lb/poise/internal/service"
)

// A race is the state that both attempts share.
type race struct {
	x       *Exchange
	other   *attempt      // the hedge
	task    engine.Join   // in which it asks
	changed engine.Signal // set when asking or winner has changed

	mu     sync.Mutex           // guards what follows; held for some instructions
	asking int                  // attempts that may still win
	winner *attempt             // nil: none has won
	voice  *attempt             // whose interim responses the client gets; nil: none has had one
	writes bool                 // the hedge is writing an interim response
	held   *attempt             // the hedge, if its head is a failure; it is not ended yet
	calls  []engine.Interrupter // the calls under way
	why    error                // the client left, or the proxy stops; nil: neither
}

// errOvertaken is the fault of the attempt that has lost a race.
var errOvertaken = &Error{Reason: reason.Overtaken, Side: BySelf}

// spare has attempts for use beside an exchange's own one.
var spare = sync.Pool{New: func() any { return new(attempt) }}

// run is the task of the hedge. It asks and, unless its head may be delivered, ends the attempt;
// otherwise that is left to the exchange's own task.
func (r *race) run() {
	a, kept := r.other, false
	defer func() { // also when something panics
		if !kept {
			a.end()
		}
		r.asked(a)
	}()
	fault := a.ask()
	if fault == nil {
		if kept = r.offers(a) != overtaken; kept {
			return
		}
	}
	switch {
	case r.decided(), unhurried(fault):
		fault = errOvertaken
	case a.x.rpc.is:
		fault = a.overdue(fault)
	}
	a.fault = fault
}

// unhurried reports whether the hedge has got no connection in the short time that it has for it,
// which is no fault of the endpoint.
func unhurried(fault *Error) bool {
	return fault != nil && fault.Class == Connect && errors.Is(fault.Err, engine.ErrTimeout)
}

// An offer is what becomes of a response head.
type offer uint8

const (
	overtaken offer = iota // the other attempt has won
	wins
	waits // it is a failure, and the other attempt may do better
)

// offers says what becomes of a, whose response head has come. If it has won, it interrupts the
// other call.
func (r *race) offers(a *attempt) offer {
	failed := a.headFails()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.winner != nil:
		return overtaken
	case failed && r.asking > 1:
		if a == r.other {
			r.held = a
		}
		return waits
	}
	r.win(a)
	return wins
}

// win makes a the winner. Called with mu held.
func (r *race) win(a *attempt) {
	r.winner = a
	for _, call := range r.calls {
		if call != engine.Interrupter(a.call) {
			call.Interrupt(errOvertaken)
		}
	}
	r.changed.Set()
}

// headFails reports whether the response head is a failure that other endpoints may not have.
func (a *attempt) headFails() bool {
	fault, asked := a.failure()
	return fault != nil && (asked || failing(a.response.Status) || fault == errUnavailable)
}

// firstAsked is called by the exchange's own task when its attempt a has asked, with fault or, if
// nil, with a response head. It returns nil if that head is to be delivered, and otherwise the fault
// of a.
func (r *race) firstAsked(a *attempt, fault *Error) *Error {
	if fault != nil {
		if r.decided() {
			fault = errOvertaken
		}
		r.asked(a)
		return fault
	}
	was := r.offers(a)
	r.asked(a)
	if was == waits {
		was = r.awaitHedge(a)
	}
	switch was {
	case overtaken:
		return errOvertaken
	case waits:
		fault, _ = a.failure()
		a.whole = a.discard()
		return fault
	}
	r.adopt(a)
	return nil
}

// awaitHedge waits for the hedge, since the head of a is a failure: wins if the hedge has no head
// that could be delivered.
func (r *race) awaitHedge(a *attempt) offer {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner != nil {
		return waits
	}
	r.win(a)
	return wins
}

// adopt has the client watched for a alone, which has won, and returns when nothing of the other
// attempt is being written to the client.
func (r *race) adopt(a *attempt) {
	r.silence()
	r.x.client.Unwatch(r)
	a.race = nil
	r.x.client.Watch(a.call)
}

// end is called by the exchange's own task when its attempt own is over. It delivers the response of
// the hedge, if that has won, whose outcome own then has, and returns when both attempts are over.
func (r *race) end(own *attempt) {
	x, other, end := r.x, r.other, service.HedgeLost
	defer func() {
		x.took(other)
		x.service.Hedged(end)
		if end == service.HedgeWon {
			own.fault, own.next = other.fault, other.next
		}
		other.race, other.x = nil, nil
		spare.Put(other)
	}()
	defer r.task.Wait() // a panic of the task surfaces here
	if own.fault == errPanic {
		r.abandon(own)
	}
	w := r.wait()
	if w == own {
		if own.race != nil { // it has panicked
			x.client.Unwatch(r)
		}
		r.drop()
		return
	}
	if w == nil {
		if w = r.held; w == nil {
			x.client.Unwatch(r)
			end = service.HedgeFailed
			return
		}
	}
	end = service.HedgeWon
	r.adopt(other)
	defer other.end()
	other.fault = errPanic // stays if finish panics
	other.fault = other.finish()
}

// abandon makes own, in which something has panicked, the winner, so that the hedge ends. One that
// has won is ended by drop.
func (r *race) abandon(own *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner == r.other {
		r.held = r.other
	}
	r.win(own)
}

// drop ends a hedge whose head has come and is of no use.
func (r *race) drop() {
	r.mu.Lock()
	a := r.held
	r.mu.Unlock()
	if a == nil {
		return
	}
	if a.fault, _ = a.failure(); a.fault == nil {
		a.fault = errOvertaken
	}
	a.end()
}

// asked records that a has won or cannot win any more. Then the other attempt may be heard.
func (r *race) asked(a *attempt) {
	r.mu.Lock()
	r.asking--
	if r.voice == a && r.winner != a {
		r.voice = nil
	}
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

// decidedFor reports whether a has won.
func (r *race) decidedFor(a *attempt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.winner == a
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
