package exchange

// The call of an attempt: which connection carries it, what its request says, and what interrupts
// it while it is open.
//
//	newCall      the endpoint's pool gives a call: on an idle connection, or on a new one
//	watch        a client that leaves interrupts it, until unwatch
//	request      what is sent: the exchange's request, or a copy with what is the attempt's own
//
// speak (attempt.go) uses them in this order, and hangUp gives the call back.

import (
	"net/netip"
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// newCall asks the pool of the endpoint for a call.
func (a *attempt) newCall(fresh bool) (upstream.Call, error) {
	x, pool := a.x, connections(a.endpoint)
	if !x.service.Announces {
		if x.Request.Upgrade != nil {
			return a.newTunnel(pool, fresh)
		}
		return pool.Call(x.rt, a.connectedBy(), fresh, x.peer.Bonds)
	}
	if p, ok := pool.(upstream.Announcer); ok {
		return p.CallFor(x.rt, a.connectedBy(), fresh, x.peer.Bonds, netip.AddrPortFrom(x.peer.Addr, x.peer.Port))
	}
	return pool.Call(x.rt, a.connectedBy(), fresh, x.peer.Bonds)
}

// connectedBy is the instant by which there must be a connection: the deadline of the exchange, or
// the limit of the attempt if that is earlier. A hedge has little time.
func (a *attempt) connectedBy() time.Duration {
	if r := a.race; r != nil && r.other == a {
		return min(a.x.deadline, a.began+hedgeConnect)
	}
	if t := a.x.service.Retry.AttemptTimeout; t > 0 {
		return min(a.x.deadline, a.began+t)
	}
	return a.x.deadline
}

// newTunnel is newCall for a request that asks for another protocol.
func (a *attempt) newTunnel(pool upstream.Pool, fresh bool) (upstream.Call, error) {
	x := a.x
	if p, ok := pool.(upstream.Opener); ok && message.WebSocketKey(&x.Request) != nil {
		return p.CallTunnel(x.rt, a.connectedBy(), fresh, x.peer.Bonds)
	}
	return pool.Call(x.rt, a.connectedBy(), fresh, x.peer.Bonds)
}

// open opens a call to the endpoint: on an idle connection, unless fresh is set, or on a new
// one. It waits for connecting, at most until the exchange's deadline.
func (a *attempt) open(fresh bool) error {
	x := a.x
	call, err := a.newCall(fresh)
	if err != nil {
		return err
	}
	a.call = call
	x.opened(a.endpoint, call)
	if x.forward.login {
		a.bind()
	}
	return nil
}

// watch arranges that the call is interrupted when the client leaves, until unwatch. It
// returns false if another attempt of a race has won, so that the call is not needed.
func (a *attempt) watch() bool {
	if a.race != nil {
		return a.race.enter(a.call)
	}
	a.x.client.Watch(a.call)
	return true
}

// unwatch ends watch: when it returns, no interrupt is still to come.
func (a *attempt) unwatch() {
	if a.race != nil {
		a.race.leave(a.call)
		return
	}
	a.x.client.Unwatch(a.call)
}

// request returns the request to send: that of the exchange, or, if the route says
// `host: endpoint`, a copy with the endpoint's own host; in a race, one with the attempt's own span
// and with what is left of grpc-timeout. The copy shares all other slices.
func (a *attempt) request() *message.Request {
	x := a.x
	named, traced := x.route.Rules.HostOfEndpoint(), a.race != nil && x.traced
	limited := a.race != nil && x.rpc.is && x.rpc.timed
	if !named && !traced && !limited {
		return &x.Request
	}
	if a.named == nil {
		a.named = new(message.Request)
	}
	*a.named = x.Request
	if named {
		a.host = append(a.host[:0], a.endpoint.Spec().Authority()...)
		a.named.Host = a.host
	}
	if traced || limited {
		a.named.Fields = slices.Clone(a.named.Fields)
	}
	if traced {
		a.resendTrace(a.named)
	}
	if limited {
		resendTimeout(a.named, x.rpc.by-x.rt.Now())
	}
	return a.named
}
