package exchange

// Connections that are bound to one client. Some schemes authenticate a connection once rather than
// each request (RFC 4559 §6). A connection to an endpoint that uses one belongs to the client's
// connection from then on: no other client may send on it, since it would act as the first one's
// user, and the client's next requests must use it, or the handshake would never be completed:
//
//	client    GET /                            endpoint   401 WWW-Authenticate: NTLM      bind
//	client    GET /, Authorization: NTLM <1>   endpoint   401 ... NTLM <2>    same connection
//	client    GET /, Authorization: NTLM <3>   endpoint   200                 same connection
//	client closes its connection               the bound connection is closed too

import (
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/policy"
)

// connectionSchemes authenticate connections. CredSSP and Kerberos are what WinRM uses.
var connectionSchemes = [...]string{"Negotiate", "NTLM", "Kerberos", "CredSSP"}

// bindsConnection reports whether one of the comma-separated challenges or credentials in value
// uses such a scheme. It does not parse quoted strings: a comma within quotes may make it report
// a scheme that is none, which binds without need, but it never misses one.
func bindsConnection(value []byte) bool {
	for one, rest := message.NextToken(value); one != nil; one, rest = message.NextToken(rest) {
		scheme := one[:message.NameLen(one)]
		for _, s := range connectionSchemes {
			if message.EqualFold(scheme, s) {
				return true
			}
		}
	}
	return false
}

// challenged reports whether the endpoint asks for authentication of the connection.
func challenged(r *message.Response) bool {
	if r.Status != 401 && r.Status != 407 {
		return false
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Kind == message.ProxyAuthenticate || f.Kind == message.Other && message.EqualFold(f.Name, "WWW-Authenticate") {
			if bindsConnection(f.Value) {
				return true
			}
		}
	}
	return false
}

// bind makes the call's connection belong to the client's connection. In protocols that cannot
// authenticate connections it does nothing.
func (a *attempt) bind() {
	if b, ok := a.call.(upstream.Binder); ok {
		b.Bind(a.x.peer.Bonds, a.x.service.Service)
	}
}

// bound is the endpoint of this service that the client's connection is bound to; nil: there is
// none, or it may not be used now; policy.Wait: it has no place. As after pick, an attempt must follow.
func (x *Exchange) bound() *endpoint.Endpoint {
	if x.peer.Bonds.Empty() {
		return nil
	}
	return x.kept(x.peer.Bonds.Endpoint(x.service.Service))
}

// kept is e, to which the client belongs; nil: there is none, or it may not be used now; policy.Wait: it
// has no place. It looks for room first, because Keep may take a trial of e.
func (x *Exchange) kept(e *endpoint.Endpoint) *endpoint.Endpoint {
	s := x.service
	switch {
	case e == nil:
		return nil
	case !s.HasRoom(), x.waiter == nil && s.Bounded() && s.Crowded():
		return policy.Wait
	}
	return s.Keep(&x.choice, e)
}
