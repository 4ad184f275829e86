package exchange

// What an exchange would do with a request: Explain takes the steps of Run by the same functions,
// up to where an endpoint would be picked, and leaves out what has an effect:
//
//	Run               Explain
//	admit             -                     counts the exchange
//	match: find       find
//	  begunOn         -                     counts it for its route
//	  enter           the caller's look     would start a service that the path names
//	hop               hop
//	prepare: fields   fields
//	  filters         -                     may wait, count, or ask others
//	  choose          explainSplit
//	  rewrite         rewrite
//	again: mayRepeat  Repeats

import (
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/service"
)

// Explained is how far a request would get. Its slices are valid as long as the request.
type Explained struct {
	// Refused is the reply that the proxy gives by itself; nil: an endpoint would be picked.
	Refused *Error
	Text    string // of Refused, as the client gets it
	Allow   string // of 405
	Normal  []byte // normal form of the path; nil: it has none
	Route   *Route // nil: none was found
	Service *Service
	Split   *SplitExplained // nil: the route has no split
	Segment []byte          // of a route with a Directory: the segment that names the service
	Key     []byte          // value of the key, if Service has one; nil: the request has none
	Hash    uint64          // of Key; 0: there is none
	Lane    uint64          // as policy.Attempt.Lane
	Token   uint64          // of the cookie of a service that is sticky; 0: there is none
	Wants   []byte          // value by which the request names its lane; nil: it names none, or its route has labels
	// Priority is that of the request in the queue of the service.
	Priority service.Priority
}

// Explain says what would become of q, which it changes as an exchange would. enter finds the
// service of a route with a Directory without an effect; it may return nil. rt is only asked for
// the time.
func (t *Table) Explain(rt engine.Runtime, q *message.Request, peer *Peer, enter func(r *Route, segment []byte) (*Service, *Error)) Explained {
	x := &Exchange{rt: rt, table: t, peer: peer, Request: *q, deadline: never}
	var out Explained
	refuse := func(err *Error) Explained {
		if out.Refused, out.Text = err, TextOf(err.Status, err.Reason); err.Status == 405 {
			out.Allow = string(t.Tree.AllowedAt(nil, peer.Listener, q.Host, out.Normal))
		}
		return out
	}
	err := x.find()
	out.Normal, out.Route = x.forward.norm, x.route
	if err != nil {
		return refuse(err)
	}
	if x.service = x.route.Service; x.route.Directory != nil {
		out.Segment = segment(x.forward.norm, x.route.Segment)
		if x.service, err = enter(x.route, out.Segment); err != nil {
			return refuse(err)
		}
	}
	out.Service = x.service
	if err := x.hop(); err != nil {
		return refuse(err)
	}
	clientIP := x.forward.fields(&x.Request, peer, t)
	if out.Split = x.explainSplit(clientIP); out.Split != nil {
		x.service = out.Split.Variants[out.Split.Chosen].Service
		out.Service = x.service
	}
	if x.service == nil {
		x.service = &Service{}
	}
	if k := x.service.Key; k != nil {
		out.Key, _ = k.Of(&x.Request, x.forward.norm, clientIP)
	}
	if x.service.Lanes != nil {
		_, out.Wants = x.wants(clientIP)
	}
	x.rewrite(clientIP)
	out.Hash, out.Lane, out.Token, out.Priority = x.choice.Key, x.choice.Lane, x.token, x.priority
	*q = x.Request
	return out
}

// ExplainRefusal is Explained for a request whose head cannot be accepted because of err, which
// is or wraps an *http1.Error.
func ExplainRefusal(err *http1.Error) Explained {
	return Explained{Refused: clientError(err), Text: TextOf(err.Status, err.Reason)}
}

// TextOf is what the body of a reply with that status and reason says to people.
func TextOf(status int, reason string) string {
	if text := explanations[reason]; text != "" {
		return text
	}
	return statusText(status)
}

// A Repeat says whether an exchange makes another attempt after a first one has failed.
type Repeat struct {
	Class  Class
	Status int // of the class Status
	Again  bool
	Why    string // for people
}

// Repeats says what a service's Retry does for a method after each kind of failure, if the content
// of the request is still at hand and time is left.
func (r *Retry) Repeats(rt engine.Runtime, method string) []Repeat {
	x := &Exchange{rt: rt, deadline: never, service: &Service{Retry: *r}, tries: 1}
	x.client.ResponseWriter = unsent{}
	x.Request.Method = []byte(method)
	out := []Repeat{{Class: Connect}, {Class: Reset}, {Class: Timeout}}
	for status := range r.Statuses {
		if r.Statuses[status] {
			out = append(out, Repeat{Class: Status, Status: status})
		}
	}
	if r.Unavailable {
		out = append(out, Repeat{Class: Unavailable})
	}
	for i := range out {
		one := &out[i]
		x.attempts = 0
		if !one.Class.harmless() && !one.Class.decided() { // see counted
			x.attempts = 1
		}
		one.Again = x.mayRepeat(&Error{Status: one.Status, Class: one.Class})
		one.Why = r.why(one, method)
	}
	return out
}

// unsent is the side of a client that has been sent nothing.
type unsent struct{ downstream.ResponseWriter }

// Sent implements downstream.ResponseWriter.
func (unsent) Sent() bool { return false }

// why says what decides about another attempt.
func (r *Retry) why(one *Repeat, method string) string {
	switch {
	case one.Again && one.Class.harmless():
		return "no byte of the request was sent"
	case one.Again && one.Class == Unavailable:
		return "retry.on names it: the endpoint has answered with that status and nothing else"
	case one.Again:
		return method + " is idempotent"
	case r.Attempts == 1:
		return "retry.attempts is 1"
	case !r.Names(one.Class, one.Status):
		return "retry.on does not name it"
	}
	return method + " may have been carried out, and must not be twice"
}

// Most is how many attempts of an exchange may reach an endpoint. sure: those after the second
// only endpoints whose latest attempt did not fail.
func (r *Retry) Most() (most int, sure bool) { return r.most(), r.Attempts <= 0 }
